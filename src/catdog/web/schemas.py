"""Schemas of predictions, models, sessions and problems."""

import json
from typing import Any, Final

from apiflask import Schema
from apiflask.fields import Boolean, Dict, File, Float, Integer, List, Nested, Raw, String
from apiflask.schemas import FileSchema
from apiflask.validators import Length
from marshmallow import ValidationError, pre_load
from webargs.multidictproxy import MultiDictProxy

from catdog.web.inputs import ClassName, Input

KEYS: Final[list[str | dict[str, list[Any]]]] = ["ApiKey", "Bearer"]
SECURITY_SCHEMES: Final = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}
THUMBNAIL: Final = FileSchema()
MISSING_KEY: Final = "is missing. Send the API key in it."
IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/webp", "image/avif", "application/octet-stream")


def described(text: str, **more: Any) -> dict[str, Any]:
    """Return the arguments of a required field: its description, and more of its JSON schema."""
    return {"required": True, "metadata": {"description": text, **more}}


class Problem(Schema):
    """Any error (RFC 9457)."""

    type = String(**described("kind of problem, such as urn:catdog:problem:image-format, or about:blank"))
    title = String(**described("name of the HTTP status"))
    status = Integer(**described("HTTP status"))
    error = String(**described("what is wrong and what to do"))
    request_id = String(**described("id of the request, as in the log and X-Request-ID"))


class PredictionFields(Schema):
    """The prediction for an image."""

    class_ = String(data_key="class", attribute="class", **described("display name of the class", example="Cat"))
    class_id = Integer(**described("number of the class"))
    confidence = Float(**described("probability of the class, 0 to 1"))
    probabilities = Dict(keys=String(), values=Float(), **described("probability of each class, by key; they sum to 1"))
    verdict = String(**described("a class key, `neither` (unlike the training images) or `unsure`", example="cat"))
    novelty = Float(**described("0 to 1; from 0.5 on the verdict is `neither`"))
    model_version = Integer(**described("version that predicted"))


class Prediction(PredictionFields):
    """The prediction for an image, and its latency."""

    latency_ms = Float(**described("milliseconds for decoding and inference"))


class Batch(Schema):
    """Predictions in the order of the images."""

    results = List(
        Raw(metadata={"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Prediction", "Problem")]}),
        **described("for each image a prediction as from /api/predict, or a problem"),
    )


class Explained(Schema):
    """The explained class."""

    class_ = String(data_key="class", attribute="class", **described("display name of the class"))
    class_id = Integer(**described("number of the class"))


class Similar(Schema):
    """A training image."""

    class_ = String(data_key="class", attribute="class", **described("class of the image"))
    distance = Float(**described("cosine distance of the features, 0 to 2"))
    sha256 = String(**described("SHA-256 of the file"))
    file = String(allow_none=True, **described("URL of a thumbnail; null if the file is gone or the key is needed"))


class Explanation(PredictionFields):
    """An explanation of a prediction."""

    explained = Nested(Explained, **described("class that the heat map explains"))
    heat_map = String(**described("a transparent PNG to lay over the upright image, as a data URL"))
    heat_map_width = Integer(**described("width in pixels"))
    heat_map_height = Integer(**described("height in pixels"))
    contributions = List(List(Float()), **described("evidence for the class by row and column, 0 to 1"))
    similar = List(Nested(Similar), **described("most similar training images, nearest first"))


class Health(Schema):
    """Health of the server."""

    status = String(**described("`healthy`, or `unhealthy` without a model"))
    model_status = String(**described("`loaded` or `not_loaded`"))
    uptime_seconds = Float(**described("seconds since the server started"))
    total_predictions = Integer(**described("predictions of all processes, across restarts"))


class Version(Schema):
    """A version of the model."""

    version = Integer(**described("number of the version"))
    champion = Boolean(**described("whether it is the champion"))
    created_at = String(metadata={"description": "creation time"})
    classes = List(String(), metadata={"description": "folder names of its classes"})
    backbone = String(metadata={"description": "its backbone"})
    accuracy = Float(metadata={"description": "accuracy on its test images"})
    n = Integer(metadata={"description": "number of test images"})
    error = String(metadata={"description": "why it can't be used"})


class Models(Schema):
    """All versions."""

    champion = Integer(allow_none=True, **described("number of the champion"))
    versions = List(Nested(Version), **described("lowest number first"))


class Promoted(Schema):
    """The champion after a change."""

    champion = Integer(**described("number of the champion"))


class Session(Schema):
    """Whether the browser is signed in."""

    key_needed = Boolean(**described("whether the server has a key, which changes need"))
    signed_in = Boolean(**described("whether the request has a valid session"))
    csrf_token = String(allow_none=True, **described("token that a signed-in page must send as X-CSRF-Token"))


class Probe(Schema):
    """The state of the process."""

    status = String(**described("`alive`, `ready`, or `degraded` if predictions work but something else doesn't"))
    version = Integer(metadata={"description": "version in use"})
    faults = List(String(), metadata={"description": "what doesn't work, and what to do"})


class RetrainingAccepted(Schema):
    """A queued retraining."""

    message = String(**described("what happens next"))
    job_id = String(**described("id of the job"))
    new = Integer(**described("images that the champion wasn't trained on"))


class RetrainingStatus(Schema):
    """A retraining; most fields are null if there has been none."""

    in_progress = Boolean(**described("whether it is queued or running"))
    state = String(allow_none=True, **described("`queued`, `running`, `succeeded`, `failed` or `cancelled`"))
    progress = Float(**described("0 to 100"))
    message = String(**described("what it is doing, or how it ended"))
    stage = String(allow_none=True, **described("`queued`, the current step, or `done`"))
    eta_seconds = Float(allow_none=True, **described("estimated seconds left"))
    job_id = String(allow_none=True, **described("id of the job"))
    log = List(String(), **described("last lines of its log"))
    result = Dict(
        allow_none=True,
        **described(
            "version, decision, reason, metrics of both models, changed predictions on test images, added images"
        ),
    )
    created_at = String(allow_none=True, **described("time it was queued"))
    started_at = String(allow_none=True, **described("time it started"))
    finished_at = String(allow_none=True, **described("time it ended"))


_REASONS: Final = {
    400: "No image, or an invalid parameter",
    401: "The API key is missing or wrong",
    403: "Not allowed from here without a key",
    404: "No such version, image or job",
    409: "Not possible in the current state, for example because a version is damaged",
    413: "Over a limit, which the error names",
    415: "Not JPEG, PNG, WebP or AVIF",
    422: "The image can't be decoded or has too many pixels",
    429: "Too many requests; Retry-After says when to try again",
    500: "Internal error",
    503: "No model in use, or the database is busy",
    507: "The disk is full, or the quota for uploads is used up",
}

_ANYWHERE: Final = (429, 500, 507)


class ImageForm(Input):
    """A form with an image."""

    image = File(required=True)


class ImagesForm(Input):
    """A form with several images."""

    image = List(File(), required=True, validate=Length(min=1))


class ExplainQuery(Input):
    """Options of an explanation."""

    class_ = ClassName(
        only_keys=True, data_key="class", attribute="class", metadata={"description": "class to explain"}
    )


class JobQuery(Input):
    """Which retraining."""

    job = String(metadata={"description": "id of the job; the last one by default"})


class _OnlyFalse(Boolean):
    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> bool:
        if value is not False:
            raise ValidationError(
                f'must be false or missing, as in {{"promote": false}}, not {json.dumps(value)[:100]}.'
            )
        return value


class RetrainingOptions(Input):
    """Options of a retraining."""

    promote = _OnlyFalse(
        load_default=None,
        metadata={
            "description": "false keeps the new version as a challenger, even if it passes the gate",
            "enum": [False, None],
        },
    )

    @pre_load
    def _read_form(self, given: Any, **_: Any) -> Any:
        """Return the values of a form, which are text, as in JSON."""
        if not isinstance(given, MultiDictProxy):
            return given
        return {name: {"false": False, "null": None, "": None}.get(value, value) for name, value in given.items()}


class SignIn(Input):
    """The API key."""

    key = String(
        required=True,
        validate=Length(min=1, error=MISSING_KEY),
        error_messages=dict.fromkeys(("required", "null", "invalid"), MISSING_KEY),
    )


def problems(*statuses: int) -> dict[int, Any]:
    """Return the problem responses of a route, with those that any route may have."""
    content = {"application/problem+json": {"schema": Problem}}
    return {status: {"description": _REASONS[status], "content": content} for status in (*statuses, *_ANYWHERE)}


def image_body(form: type[Schema], *, is_form_only: bool = False) -> dict[str, Any]:
    """Return the `extensions` of a route whose body is a form with images, or an image by itself.

    APIFlask's `input` has neither a schema for each kind of body nor the kinds of a form's files, and its parser of
    forms takes ten times as long as `read_form`.
    """
    encoding = {
        field.data_key or name: {
            "contentType": "text/plain" if isinstance(field, ClassName) else ", ".join(IMAGE_TYPES)
        }
        for name, field in form().fields.items()
        if isinstance(field, ClassName | File | List)
    }
    raw = {} if is_form_only else {kind: {"schema": {"type": "string", "format": "binary"}} for kind in IMAGE_TYPES}
    content = {"multipart/form-data": {"schema": form, "encoding": encoding}, **raw}
    return {"requestBody": {"required": True, "content": content}}
