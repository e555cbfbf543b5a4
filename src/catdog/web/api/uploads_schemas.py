"""What the routes of pictures for retraining take and give, for the OpenAPI document."""

import copy
from collections.abc import Sequence
from typing import Any, Final

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String

from catdog.data.labels import probability_key
from catdog.retraining.uploads.storage import MAX_ID, STATES
from catdog.web.requests.limits import MAX_IDS
from catdog.web.schemas import PICTURES, Problem, answers, described

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"


class Rejected(Schema):
    """A file that was not kept."""

    name = String(**described("as the client called it"))
    reason = String(**described("what was wrong, what is allowed, what was received"))


class Uploaded(Schema):
    """What became of an upload."""

    message = String(**described("the same in words"))
    files = Integer(**described("files in all, those in archives too"))
    category = String(**described("folder name of the class", example="cats"))
    batch = String(**described("names this upload, to remove or restore it as a whole"))
    accepted = Integer(**described("pictures that are now used and were not before"))
    duplicates = Integer(**described("pictures that were there before"))
    rejected = List(Nested(Rejected), **described("files that were not kept, and why"))


class Feedback(Schema):
    """What became of feedback."""

    message = String(**described("the same in words"))
    id = Integer(**described("number of the picture"))
    state = String(**described("`pending` until it is confirmed", enum=list(STATES)))
    category = String(**described("folder name of the right class"))
    was_right = Boolean(**described("whether the model's answer is the right class"))
    answered = String(**described("what the model answers, as shown to people"))


class Image(Schema):
    """A picture for retraining."""

    id = Integer(**described("its number"))
    file = String(**described("where to see it"))
    sha256 = String(**described("hash of the file that is kept"))
    category = String(**described("folder name of its class"))
    batch = String(**described("pictures that came together"))
    uploader = String(**described("address of the client that sent it, `cli`, or `recovered`"))
    name = String(**described("as the client called it"))
    bytes = Integer(**described("of the file that is kept"))
    created_at = String(**described("when it came, UTC"))
    state = String(**described("`active`, `removed`, or `pending` until it is confirmed", enum=list(STATES)))
    origin = String(**described("`upload` or `feedback`"))
    held_out = Boolean(**described("tested on and never trained on"))
    checked = Boolean(**described("whether a person has confirmed its class"))
    problem = String(allow_none=True, **described("why it is kept out of training"))
    predicted = String(allow_none=True, **described("folder name of the class that a model answered"))
    verdict = String(allow_none=True, **described("a class key, `neither` or `unsure`"))
    confidence = Float(allow_none=True, **described("of that answer, 0 to 1"))
    novelty = Float(allow_none=True, **described("0 to 1; from 0.5 on unlike anything seen"))
    model_version = Integer(allow_none=True, **described("the version that answered"))


class Images(Schema):
    """A page of pictures."""

    images = List(Nested(Image), **described("what most needs a look first, or the newest first"))
    total = Integer(**described("how many there are on all pages"))
    page = Integer(**described("this one, from 1 on"))
    per_page = Integer(**described("most pictures a page"))


class Changed(Schema):
    """What a change was done to."""

    changed = Integer(**described("how many pictures are now as was asked for"))


class Report(Schema):
    """What there is, and what is doubtful about it."""

    counts = Dict(**described("total, bytes, held_out, kept_out, and by state and class"))
    batches = List(Dict(), **described("batch, pictures, share, since; the largest first"))
    uploaders = List(Dict(), **described("uploader, pictures, share, since; the largest first"))
    review = Dict(
        allow_none=True,
        **described(
            "of the last review: at, is_current, pictures, near_copies of test pictures, pairs that are alike, doubted "
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
"""Numbers of pictures in a query: no more than a page shows."""

_TEXT: Final = {"type": "string", "pattern": "^[^\\x00]*$"}  # no database keeps a NUL
_PICTURE: Final = {"type": "string", "format": "binary"}
_BATCH: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]{0,32}$", "description": "empty: a new one"}
_RIGHT: Final = {"type": "string", "enum": ["true", "false"]}  # a form and a query have text alone
_QUERY: Final[dict[str, dict[str, Any]]] = {
    "page": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
    "per_page": {"type": "integer", "minimum": 1, "maximum": MAX_PER_PAGE},
    "order": {"type": "string", "enum": ["review", "newest"]},
    "state": {"type": "string", "enum": list(STATES)},
    "ids": {"type": "string", "pattern": IDS},
    **dict.fromkeys(("category", "batch", "origin", "uploader"), _TEXT),
}


def problems(*statuses: int) -> dict[int, Any]:
    """Describe the problems that a route may answer with."""
    return {status: about for status, about in answers(Problem, *statuses).items() if status != 200}


def add_bodies(spec: dict[Any, Any] | str) -> dict[Any, Any] | str:
    """Add to an OpenAPI document what these routes take."""
    if isinstance(spec, str):  # YAML, which is not asked for
        return spec
    number = {"type": "integer", "minimum": 1, "maximum": MAX_ID}
    ids = {"type": "array", "minItems": 1, "maxItems": MAX_IDS, "items": number}
    form = {"files[]": {"type": "array", "minItems": 1, "items": _PICTURE}, "category": _text(), "batch": _BATCH}
    told = {"class": _text(), "right": _RIGHT}
    paths = spec["paths"]
    upload, feedback = (paths[path]["post"] for path in ("/api/retrain/upload", "/api/feedback"))
    _body(upload, MULTIPART, form, ["files[]", "category"])
    _body(feedback, MULTIPART, {"image": _PICTURE, **told}, ["image"])
    pictures, text = {"contentType": ", ".join(PICTURES)}, {"contentType": "text/plain"}
    upload["requestBody"]["content"][MULTIPART]["encoding"] = {"files[]": pictures, "category": text}
    feedback["requestBody"]["content"][MULTIPART]["encoding"] = {"image": pictures}
    feedback["requestBody"]["content"].update({kind: {"schema": _PICTURE} for kind in PICTURES})
    feedback["parameters"] = [_parameter(*item) for item in told.items()]
    paths["/api/retrain/images"]["get"]["parameters"] = [_parameter(*item) for item in _QUERY.items()]
    _body(paths["/api/retrain/images/relabel"]["post"], JSON, {"ids": ids, "category": _text()}, None)
    for action in ("remove", "restore", "confirm"):
        _body(paths[f"/api/retrain/images/{action}"]["post"], JSON, {"ids": ids}, None)
    return spec


def name_classes(spec: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Give a copy of an OpenAPI document in which a class is one of those of the champion, by folder or key."""
    named = copy.deepcopy(spec)
    names = list(dict.fromkeys([*classes, *map(probability_key, classes)]))
    paths = named["paths"]
    told = paths["/api/feedback"]["post"]
    told["parameters"][0]["schema"]["enum"] = names
    for operation, kind, field in (
        (told, MULTIPART, "class"),
        (paths["/api/retrain/upload"]["post"], MULTIPART, "category"),
        (paths["/api/retrain/images/relabel"]["post"], JSON, "category"),
    ):
        operation["requestBody"]["content"][kind]["schema"]["properties"][field]["enum"] = names
    return named


def _text() -> dict[str, Any]:
    """Make a schema of its own, which the classes go into."""
    return {"type": "string", "description": "folder name or key of a class"}


def _body(operation: dict[str, Any], kind: str, properties: dict[str, Any], required: list[str] | None) -> None:
    schema = {"type": "object", "required": required or list(properties), "properties": properties}
    operation["requestBody"] = {"required": True, "content": {kind: {"schema": schema}}}


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}
