"""OpenAPI schemas of the routes for uploads."""

import copy
from collections.abc import Sequence
from typing import Any, Final

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String

from catdog.data.labels import probability_key
from catdog.retraining.uploads.storage import MAX_ID, STATES
from catdog.web.requests.limits import MAX_IDS
from catdog.web.schemas import IMAGE_TYPES, Problem, described, responses

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"


class Rejected(Schema):
    """A rejected file."""

    name = String(**described("file name sent by the client"))
    reason = String(**described("what is wrong with it"))


class Uploaded(Schema):
    """The result of an upload."""

    message = String(**described("summary"))
    files = Integer(**described("number of files, including those in archives"))
    category = String(**described("folder name of the class", example="cats"))
    batch = String(**described("id of the batch, to remove or restore it as a whole"))
    accepted = Integer(**described("images that are now used and weren't before"))
    duplicates = Integer(**described("images that existed already"))
    rejected = List(Nested(Rejected), **described("rejected files, with reasons"))


class Feedback(Schema):
    """The result of feedback."""

    message = String(**described("summary"))
    id = Integer(**described("id of the image"))
    state = String(**described("`pending` until it is confirmed", enum=list(STATES)))
    category = String(**described("folder name of the correct class"))
    was_right = Boolean(**described("whether the prediction is correct"))
    answered = String(**described("display name of the predicted class"))


class Image(Schema):
    """An image uploaded for retraining."""

    id = Integer(**described("id"))
    file = String(**described("URL of a thumbnail"))
    sha256 = String(**described("SHA-256 of the stored file"))
    category = String(**described("folder name of its class"))
    batch = String(**described("id of its batch: images uploaded together"))
    uploader = String(**described("client's IP address, `cli` or `recovered`"))
    name = String(**described("file name sent by the client"))
    bytes = Integer(**described("size of the stored file"))
    created_at = String(**described("time of the upload, UTC"))
    state = String(**described("`active`, `removed`, or `pending` until it is confirmed", enum=list(STATES)))
    origin = String(**described("`upload` or `feedback`"))
    held_out = Boolean(**described("used for tests, never for training"))
    checked = Boolean(**described("whether a person has confirmed its class"))
    problem = String(allow_none=True, **described("why it is excluded from training"))
    predicted = String(allow_none=True, **described("folder name of the predicted class"))
    verdict = String(allow_none=True, **described("a class key, `neither` or `unsure`"))
    confidence = Float(allow_none=True, **described("confidence of that prediction, 0 to 1"))
    novelty = Float(allow_none=True, **described("0 to 1; from 0.5 on unlike the training images"))
    model_version = Integer(allow_none=True, **described("version that predicted"))


class Images(Schema):
    """A page of images."""

    images = List(Nested(Image), **described("those that most need a review first, or newest first"))
    total = Integer(**described("number of images on all pages"))
    page = Integer(**described("number of this page, from 1"))
    per_page = Integer(**described("maximum number of images per page"))


class Changed(Schema):
    """The result of a change."""

    changed = Integer(**described("number of images in the requested state"))


class Report(Schema):
    """Counts of uploads, and the findings of the last review."""

    counts = Dict(**described("total, bytes, held_out, kept_out, and by state and class"))
    batches = List(Dict(), **described("batch, pictures, share, since; largest first"))
    uploaders = List(Dict(), **described("uploader, pictures, share, since; largest first"))
    review = Dict(
        allow_none=True,
        **described(
            "the last review: at, is_current, pictures, near_copies of test images, pairs of near-duplicates, doubted "
            "labels, and a verdict for each batch"
        ),
    )


THUMBNAIL: Final = {
    "description": "Done",
    "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
}

MAX_PAGE: Final = 1_000_000
MAX_PER_PAGE: Final = 200

IDS: Final = f"^[1-9][0-9]{{0,8}}(,[1-9][0-9]{{0,8}}){{0,{MAX_PER_PAGE - 1}}}$"
"""Ids in a query, at most as many as a page has."""

_TEXT: Final = {"type": "string", "pattern": "^[^\\x00]*$"}  # databases can't store NUL
_IMAGE: Final = {"type": "string", "format": "binary"}
_BATCH: Final = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]{0,32}$",
    "description": "id of the batch; a new one if empty",
}
_RIGHT: Final = {"type": "string", "enum": ["true", "false"]}  # forms and queries hold only text
_QUERY: Final[dict[str, dict[str, Any]]] = {
    "page": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
    "per_page": {"type": "integer", "minimum": 1, "maximum": MAX_PER_PAGE},
    "order": {"type": "string", "enum": ["review", "newest"]},
    "state": {"type": "string", "enum": list(STATES)},
    "ids": {"type": "string", "pattern": IDS},
    **dict.fromkeys(("category", "batch", "origin", "uploader"), _TEXT),
}


def problems(*statuses: int) -> dict[int, Any]:
    """Return the problem responses of a route."""
    return {status: about for status, about in responses(Problem, *statuses).items() if status != 200}


def add_bodies(spec: dict[Any, Any] | str) -> dict[Any, Any] | str:
    """Add the bodies and parameters of these routes to an OpenAPI document."""
    if isinstance(spec, str):  # YAML, which isn't used
        return spec
    number = {"type": "integer", "minimum": 1, "maximum": MAX_ID}
    ids = {"type": "array", "minItems": 1, "maxItems": MAX_IDS, "items": number}
    form = {"files[]": {"type": "array", "minItems": 1, "items": _IMAGE}, "category": _text(), "batch": _BATCH}
    stated = {"class": _text(), "right": _RIGHT}
    paths = spec["paths"]
    upload, feedback = (paths[path]["post"] for path in ("/api/retrain/upload", "/api/feedback"))
    _body(upload, MULTIPART, form, ["files[]", "category"])
    _body(feedback, MULTIPART, {"image": _IMAGE, **stated}, ["image"])
    images, text = {"contentType": ", ".join(IMAGE_TYPES)}, {"contentType": "text/plain"}
    upload["requestBody"]["content"][MULTIPART]["encoding"] = {"files[]": images, "category": text}
    feedback["requestBody"]["content"][MULTIPART]["encoding"] = {"image": images}
    feedback["requestBody"]["content"].update({kind: {"schema": _IMAGE} for kind in IMAGE_TYPES})
    feedback["parameters"] = [_parameter(*item) for item in stated.items()]
    paths["/api/retrain/images"]["get"]["parameters"] = [_parameter(*item) for item in _QUERY.items()]
    _body(paths["/api/retrain/images/relabel"]["post"], JSON, {"ids": ids, "category": _text()}, None)
    for action in ("remove", "restore", "confirm"):
        _body(paths[f"/api/retrain/images/{action}"]["post"], JSON, {"ids": ids}, None)
    return spec


def name_classes(spec: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Return a copy of an OpenAPI document with the champion's classes as enums, by folder name and key."""
    named = copy.deepcopy(spec)
    names = list(dict.fromkeys([*classes, *map(probability_key, classes)]))
    paths = named["paths"]
    feedback = paths["/api/feedback"]["post"]
    feedback["parameters"][0]["schema"]["enum"] = names
    for operation, kind, field in (
        (feedback, MULTIPART, "class"),
        (paths["/api/retrain/upload"]["post"], MULTIPART, "category"),
        (paths["/api/retrain/images/relabel"]["post"], JSON, "category"),
    ):
        operation["requestBody"]["content"][kind]["schema"]["properties"][field]["enum"] = names
    return named


def _text() -> dict[str, Any]:
    """Return a new schema, to which the classes are added later."""
    return {"type": "string", "description": "folder name or key of a class"}


def _body(operation: dict[str, Any], kind: str, properties: dict[str, Any], required: list[str] | None) -> None:
    schema = {"type": "object", "required": required or list(properties), "properties": properties}
    operation["requestBody"] = {"required": True, "content": {kind: {"schema": schema}}}


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}
