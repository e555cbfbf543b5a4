"""What the API takes and gives, for its OpenAPI document. `tests/test_web_api.py` holds answers to it."""

import copy
from typing import Any, Final

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, Raw, String

KEYS: Final[list[str | dict[str, list[Any]]]] = ["ApiKey", "Bearer"]
SECURITY_SCHEMES: Final = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}
PICTURES: Final = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


def _about(text: str, **more: Any) -> dict[str, Any]:
    return {"required": True, "metadata": {"description": text, **more}}


class Problem(Schema):
    """Any error, as RFC 9457 has it."""

    type = String(**_about("always about:blank: the status says it all"))
    title = String(**_about("name of the status"))
    status = Integer(**_about("the status"))
    error = String(**_about("what was wrong, what is allowed, what was received"))
    request_id = String(**_about("name of the request, in the log and in X-Request-ID"))


class PredictionFields(Schema):
    """The answer of a model for one picture."""

    class_ = String(data_key="class", **_about("the class, as shown to people", example="Cat"))
    class_id = Integer(**_about("its number"))
    confidence = Float(**_about("its probability, 0 to 1"))
    probabilities = Dict(keys=String(), values=Float(), **_about("one for each class, by key; they sum to 1"))
    verdict = String(**_about("a class key, `neither` (unlike anything seen), or `unsure`", example="cat"))
    novelty = Float(**_about("0 to 1; from 0.5 on the verdict is `neither`"))
    model_version = Integer(**_about("the version that answered"))


class Prediction(PredictionFields):
    """The answer for one picture, and how long it took."""

    latency_ms = Float(**_about("milliseconds for decoding and the network"))


class Batch(Schema):
    """Answers in the order of the pictures."""

    results = List(
        Raw(metadata={"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Prediction", "Problem")]}),
        **_about("for each picture what /api/predict answers, or a problem"),
    )


class Explained(Schema):
    """The class that is explained."""

    class_ = String(data_key="class", **_about("as shown to people"))
    class_id = Integer(**_about("its number"))


class Similar(Schema):
    """A training picture."""

    class_ = String(data_key="class", **_about("its class"))
    distance = Float(**_about("cosine distance of the features, 0 to 2"))
    sha256 = String(**_about("hash of its bytes"))
    file = String(
        allow_none=True, **_about("address of a thumbnail; null where the file has gone or is not yours to see")
    )


class Explanation(PredictionFields):
    """Why a picture got its answer."""

    explained = Nested(Explained, **_about("the class that the heat map is for"))
    heat_map = String(**_about("a PNG with transparency to lay over the upright picture, as a data URL"))
    heat_map_width = Integer(**_about("its pixels across"))
    heat_map_height = Integer(**_about("its pixels down"))
    contributions = List(List(Float()), **_about("what speaks for the class, by row and column, 0 to 1"))
    similar = List(Nested(Similar), **_about("the nearest training pictures, nearest first"))


class Health(Schema):
    """Whether the server works."""

    status = String(**_about("`healthy`, or `unhealthy` without a model"))
    model_status = String(**_about("`loaded` or `not_loaded`"))
    uptime_seconds = Float(**_about("since the server started"))
    total_predictions = Integer(**_about("over all processes and restarts"))


class Promotion(Schema):
    """A change of champion."""

    version = Integer(**_about("the version that was promoted"))
    at = String(**_about("when, in UTC, as ISO 8601"))
    reason = String(**_about("why"))


class Latency(Schema):
    """How long answers took, in milliseconds, each within 2.5 %; without answers `n` alone."""

    n = Integer(**_about("how many answers"))
    p50 = Float(metadata={"description": "median"})
    p95 = Float(metadata={"description": "95th percentile"})
    p99 = Float(metadata={"description": "99th percentile"})


class RecentLatency(Latency):
    """The same of the last 24 hours, and of all time."""

    all_time = Nested(Latency, **_about("since the beginning"))


class Drift(Schema):
    """How far the answers of the last 6 hours are from those on the version's test pictures."""

    version = Integer(**_about("the version that answered"))
    at = String(**_about("when it was measured, UTC, ISO 8601"))
    n = Integer(**_about("how many answers were compared"))
    score = Float(**_about("largest Kolmogorov-Smirnov distance, 0 to 1"))
    p_value = Float(**_about("chance of one as large without drift"))
    measure = String(**_about("what differs most: confidence, novelty, or a projection of the features"))
    warning = Boolean(**_about("whether the score is over CATDOG_DRIFT_THRESHOLD, and not by chance"))


class Refusal(Schema):
    """A champion that could not be loaded."""

    version = Integer(allow_none=True, **_about("its number, where that can be read"))
    error = String(**_about("why"))


class ModelStatus(Schema):
    """The model that answers."""

    status = String(**_about("`ready` or `no_model`"))
    version = Integer(allow_none=True, **_about("the version that answers"))
    precision = String(allow_none=True, **_about("`bf16` or `f32`"))
    process = Integer(**_about("number of the process that answers this; each takes a new version into use itself"))
    uptime_seconds = Float(**_about("since the server started"))
    uptime_hours = Float(**_about("the same in hours"))
    memory_bytes = Integer(allow_none=True, **_about("what all processes of the server take; null where not known"))
    total_predictions = Integer(**_about("over all processes and restarts"))
    last_training = String(allow_none=True, **_about("when the newest version was made"))
    metadata = Dict(**_about("classes, metrics, parameters of the version"))
    history = List(Nested(Promotion), **_about("promotions; the last is in force"))
    latency_ms = Nested(RecentLatency, **_about("of the last 24 hours, over all processes and restarts"))
    drift = Nested(Drift, allow_none=True, **_about("null where there is too little to compare"))
    refused = Nested(Refusal, allow_none=True, **_about("a champion that could not be loaded"))


class Predictions(Schema):
    """How many predictions there were."""

    total = Integer(**_about("all of them"))
    by_class = Dict(keys=String(), values=Integer(), **_about("by class, as shown to people"))
    by_verdict = Dict(keys=String(), values=Integer(), **_about("by verdict"))
    by_version = Dict(keys=String(), values=Integer(), **_about("by the number of the version"))


class ErrorCount(Schema):
    """How often a problem occurred, on any route; each picture of a batch counts."""

    status = Integer(**_about("its status"))
    kind = String(**_about("its class", example="PictureFormatError"))
    count = Integer(**_about("how often"))


class Hour(Predictions):
    """What was done in an hour."""

    hour = String(**_about("its beginning, UTC, ISO 8601"))
    latency_ms = Nested(Latency, **_about("how long answers took"))
    errors = List(Nested(ErrorCount), **_about("the most frequent first"))


class Histogram(Schema):
    """Counts of values in equal bins."""

    edges = List(Float(), **_about("one more than there are bins, from 0 to 1"))
    counts = List(Integer(), **_about("how many lie in each bin"))


class Histograms(Schema):
    """A histogram of the last 24 hours and one of all time."""

    recent = Nested(Histogram, **_about("of the last 24 hours"))
    all_time = Nested(Histogram, **_about("since the beginning"))


class Accuracy(Schema):
    """How good a version was when it was made."""

    version = Integer(**_about("its number"))
    created_at = String(**_about("when it was made, UTC, ISO 8601"))
    accuracy = Float(**_about("on its test pictures"))
    accuracy_ci = List(Float(), **_about("Wilson's 95 % interval"))
    n = Integer(**_about("how many test pictures"))


class Stats(Schema):
    """What there is and what was done, over all processes and restarts."""

    dataset = Dict(keys=String(), values=Integer(), **_about("files by split and class, such as train_cats"))
    model_metrics = Dict(
        allow_none=True, **_about("measured on the test pictures when the version was made, with confusion_matrix")
    )
    predictions = Nested(Predictions, **_about("since the beginning"))
    hours = List(Nested(Hour), **_about("the last 48 hours, oldest first, without those in which nothing was done"))
    confidence = Nested(Histograms, **_about("how sure the answers were"))
    novelty = Nested(Histograms, **_about("how novel the pictures were"))
    errors = List(Nested(ErrorCount), **_about("since the beginning, the most frequent first"))
    drift = Nested(Drift, allow_none=True, **_about("null where there is too little to compare"))
    versions = List(Nested(Accuracy), **_about("accuracy over versions, lowest number first"))


class Version(Schema):
    """A version."""

    version = Integer(**_about("its number"))
    champion = Boolean(**_about("whether it answers"))
    created_at = String(metadata={"description": "when it was made"})
    classes = List(String(), metadata={"description": "folder names of its classes"})
    backbone = String(metadata={"description": "the backbone it is on"})
    accuracy = Float(metadata={"description": "on its test pictures"})
    n = Integer(metadata={"description": "how many test pictures"})
    error = String(metadata={"description": "what is wrong with a damaged one"})


class Models(Schema):
    """All versions."""

    champion = Integer(allow_none=True, **_about("the version that answers"))
    versions = List(Nested(Version), **_about("lowest number first"))


class Promoted(Schema):
    """The champion after a change."""

    champion = Integer(**_about("the version that answers from now on"))


class Session(Schema):
    """Whether the browser is signed in."""

    key_needed = Boolean(**_about("whether the server has a key, which changing something needs"))
    signed_in = Boolean(**_about("whether the request came with a cookie that stands for it"))
    csrf_token = String(allow_none=True, **_about("what a signed-in page must send as X-CSRF-Token"))


class Probe(Schema):
    """The state of the process."""

    status = String(**_about("`alive` or `ready`"))
    version = Integer(metadata={"description": "the version that answers"})


class RetrainingAccepted(Schema):
    """A retraining that was queued."""

    message = String(**_about("what happens next"))
    job_id = String(**_about("names the job"))
    new = Integer(**_about("pictures that the champion was not trained on"))


class RetrainingStatus(Schema):
    """A retraining; where there was none so far, most is null."""

    in_progress = Boolean(**_about("whether it is queued or running"))
    state = String(allow_none=True, **_about("`queued`, `running`, `succeeded`, `failed` or `cancelled`"))
    progress = Float(**_about("0 to 100"))
    message = String(**_about("what it is doing, or how it ended"))
    stage = String(allow_none=True, **_about("`queued`, the step at which it is, or `done`"))
    eta_seconds = Float(allow_none=True, **_about("seconds to go, estimated"))
    job_id = String(allow_none=True, **_about("names the job"))
    log = List(String(), **_about("what happened when, the last lines"))
    result = Dict(
        allow_none=True,
        **_about("version, decision, reason, metrics of both models, which test pictures changed, what was added"),
    )
    created_at = String(allow_none=True, **_about("when it was queued"))
    started_at = String(allow_none=True, **_about("when it began"))
    finished_at = String(allow_none=True, **_about("when it ended"))


_REASONS: Final = {
    400: "No picture, or an unusable parameter",
    401: "The key is missing or wrong",
    403: "Not allowed from here without a key",
    404: "No such version, picture or job",
    409: "Damaged, or nothing to go back to, or not possible as things are",
    413: "Over a limit, which the problem names",
    415: "Not JPEG, PNG or WebP",
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
