"""What the API takes and returns, for its OpenAPI document. `test_web_api.py` checks responses against it."""

import copy
from typing import Any, Final

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, Raw, String

KEYS: Final[list[str | dict[str, list[Any]]]] = ["ApiKey", "Bearer"]
SECURITY_SCHEMES: Final = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}
PICTURES: Final = ("image/jpeg", "image/png", "image/webp", "image/avif", "application/octet-stream")


def described(text: str, **more: Any) -> dict[str, Any]:
    """Give what every field that is always there is made with: its description, and more of its JSON schema."""
    return {"required": True, "metadata": {"description": text, **more}}


class Problem(Schema):
    """Any error, as RFC 9457 has it."""

    type = String(**described("kind of problem, such as urn:catdog:problem:image-format, or about:blank"))
    title = String(**described("name of the status"))
    status = Integer(**described("the status"))
    error = String(**described("what is wrong and what to do"))
    request_id = String(**described("name of the request, in the log and in X-Request-ID"))


class PredictionFields(Schema):
    """The answer of a model for one picture."""

    class_ = String(data_key="class", **described("the class, as shown to people", example="Cat"))
    class_id = Integer(**described("its number"))
    confidence = Float(**described("its probability, 0 to 1"))
    probabilities = Dict(keys=String(), values=Float(), **described("one for each class, by key; they sum to 1"))
    verdict = String(**described("a class key, `neither` (unlike anything seen), or `unsure`", example="cat"))
    novelty = Float(**described("0 to 1; from 0.5 on the verdict is `neither`"))
    model_version = Integer(**described("the version that answered"))


class Prediction(PredictionFields):
    """The answer for one picture, and how long it took."""

    latency_ms = Float(**described("milliseconds for decoding and the network"))


class Batch(Schema):
    """Answers in the order of the pictures."""

    results = List(
        Raw(metadata={"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Prediction", "Problem")]}),
        **described("for each picture what /api/predict answers, or a problem"),
    )


class Explained(Schema):
    """The class that is explained."""

    class_ = String(data_key="class", **described("as shown to people"))
    class_id = Integer(**described("its number"))


class Similar(Schema):
    """A training picture."""

    class_ = String(data_key="class", **described("its class"))
    distance = Float(**described("cosine distance of the features, 0 to 2"))
    sha256 = String(**described("hash of its bytes"))
    file = String(
        allow_none=True, **described("address of a thumbnail; null where the file has gone or is not yours to see")
    )


class Explanation(PredictionFields):
    """Why a picture got its answer."""

    explained = Nested(Explained, **described("the class that the heat map is for"))
    heat_map = String(**described("a PNG with transparency to lay over the upright picture, as a data URL"))
    heat_map_width = Integer(**described("its pixels across"))
    heat_map_height = Integer(**described("its pixels down"))
    contributions = List(List(Float()), **described("what speaks for the class, by row and column, 0 to 1"))
    similar = List(Nested(Similar), **described("the nearest training pictures, nearest first"))


class Health(Schema):
    """Whether the server works."""

    status = String(**described("`healthy`, or `unhealthy` without a model"))
    model_status = String(**described("`loaded` or `not_loaded`"))
    uptime_seconds = Float(**described("since the server started"))
    total_predictions = Integer(**described("over all processes and restarts"))


class Version(Schema):
    """A version."""

    version = Integer(**described("its number"))
    champion = Boolean(**described("whether it answers"))
    created_at = String(metadata={"description": "when it was made"})
    classes = List(String(), metadata={"description": "folder names of its classes"})
    backbone = String(metadata={"description": "the backbone it is on"})
    accuracy = Float(metadata={"description": "on its test pictures"})
    n = Integer(metadata={"description": "how many test pictures"})
    error = String(metadata={"description": "what is wrong with a damaged one"})


class Models(Schema):
    """All versions."""

    champion = Integer(allow_none=True, **described("the version that answers"))
    versions = List(Nested(Version), **described("lowest number first"))


class Promoted(Schema):
    """The champion after a change."""

    champion = Integer(**described("the version that answers from now on"))


class Session(Schema):
    """Whether the browser is signed in."""

    key_needed = Boolean(**described("whether the server has a key, which changing something needs"))
    signed_in = Boolean(**described("whether the request came with a cookie that stands for it"))
    csrf_token = String(allow_none=True, **described("what a signed-in page must send as X-CSRF-Token"))


class Probe(Schema):
    """The state of the process."""

    status = String(**described("`alive`, `ready`, or `degraded` while predictions work but something else does not"))
    version = Integer(metadata={"description": "the version that answers"})
    faults = List(String(), metadata={"description": "what does not work besides, and what to do"})


class RetrainingAccepted(Schema):
    """A retraining that was queued."""

    message = String(**described("what happens next"))
    job_id = String(**described("names the job"))
    new = Integer(**described("pictures that the champion was not trained on"))


class RetrainingStatus(Schema):
    """A retraining; where there was none so far, most is null."""

    in_progress = Boolean(**described("whether it is queued or running"))
    state = String(allow_none=True, **described("`queued`, `running`, `succeeded`, `failed` or `cancelled`"))
    progress = Float(**described("0 to 100"))
    message = String(**described("what it is doing, or how it ended"))
    stage = String(allow_none=True, **described("`queued`, the step at which it is, or `done`"))
    eta_seconds = Float(allow_none=True, **described("seconds to go, estimated"))
    job_id = String(allow_none=True, **described("names the job"))
    log = List(String(), **described("what happened when, the last lines"))
    result = Dict(
        allow_none=True,
        **described("version, decision, reason, metrics of both models, which test pictures changed, what was added"),
    )
    created_at = String(allow_none=True, **described("when it was queued"))
    started_at = String(allow_none=True, **described("when it began"))
    finished_at = String(allow_none=True, **described("when it ended"))


_REASONS: Final = {
    400: "No picture, or an unusable parameter",
    401: "The key is missing or wrong",
    403: "Not allowed from here without a key",
    404: "No such version, picture or job",
    409: "Damaged, or nothing to go back to, or not possible as things are",
    413: "Over a limit, which the problem names",
    415: "Not JPEG, PNG, WebP or AVIF",
    422: "The picture cannot be decoded, or has too many pixels",
    429: "Too many requests; Retry-After says when to come again",
    500: "The server failed",
    503: "No model to answer with, or the database is busy",
    507: "The disk is full, or fuller than the limits allow",
}


_ANYWHERE: Final = (429, 500, 507)


def answers(schema: type[Schema], *problems: int, success: int = 200) -> dict[int, Any]:
    """Describe what a route answers: `schema` with the status of success, or a problem with one of the others."""
    content = {"application/problem+json": {"schema": Problem}}
    return {
        success: {
            "description": "Done" if success == 200 else "Accepted",
            "content": {"application/json": {"schema": schema}},
        },
        **{status: {"description": _REASONS[status], "content": content} for status in (*problems, *_ANYWHERE)},
    }


def add_bodies(spec: dict[Any, Any] | str) -> dict[Any, Any] | str:
    """Add to an OpenAPI document what it takes to send pictures and keys, which APIFlask has no words for."""
    if isinstance(spec, str):  # YAML, which is not asked for
        return spec
    picture = {"type": "string", "format": "binary"}
    several = {"type": "array", "items": picture, "minItems": 1}
    raw = {kind: {"schema": picture} for kind in PICTURES}
    for path, field in {"/predict": picture, "/predict/batch": several, "/explain": picture}.items():
        form = {"type": "object", "required": ["image"], "properties": {"image": field}}
        encoding = {"image": {"contentType": ", ".join(PICTURES)}}
        content = {"multipart/form-data": {"schema": form, "encoding": encoding}, **raw}
        spec["paths"][f"/api{path}"]["post"]["requestBody"] = {"required": True, "content": content}
    key = {"type": "object", "required": ["key"], "properties": {"key": {"type": "string", "minLength": 1}}}
    kinds = ("application/json", "application/x-www-form-urlencoded")
    spec["paths"]["/session"]["post"]["requestBody"] = {
        "required": True, "content": {kind: {"schema": key} for kind in kinds}
    }  # fmt: skip
    spec["paths"]["/api/explain"]["post"]["parameters"] = [
        {"name": "class", "in": "query", "schema": {"type": "string"}, "description": "class to explain"}
    ]
    return spec


def name_classes(spec: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """Give a copy of an OpenAPI document in which the class to explain is one of those that the model knows now."""
    named = copy.deepcopy(spec)
    named["paths"]["/api/explain"]["post"]["parameters"][0]["schema"]["enum"] = keys
    return named
