"""Routes through which pictures for retraining come in and are looked after."""

import io
import re
from collections.abc import Iterator
from functools import partial
from typing import IO, Any, Final, cast

from apiflask import APIBlueprint
from flask import Response, current_app, request
from PIL import Image
from werkzeug.datastructures import FileStorage

from catdog import review
from catdog.collection import Collection
from catdog.errors import RequestError, UploadNotFoundError, UploadTooLargeError
from catdog.intake import require_free
from catdog.labels import match_class
from catdog.patience import FIRST_SECONDS, OPENING, Opening, Patience
from catdog.prediction import Prediction
from catdog.preprocessing import decode_upright
from catdog.uploads import MAX_ID, STATES, Order
from catdog.web import collect_schemas as shapes
from catdog.web.api import Document, service
from catdog.web.bodies import read_body, read_document
from catdog.web.permissions import needs_permission
from catdog.web.routes import Body, Lane, answered_in, takes
from catdog.web.schemas import KEYS, answers
from catdog.web.service import LOCK_SECONDS, Service
from catdog.web.uploads import read_one
from catdog.wording import counted, listed

FILE_FIELDS: Final = ("files[]", "files", "file")
THUMBNAIL_SIDE: Final = 320
_OPENING: Final = "catdog.collection"
_SAID: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
_FILTERS: Final = {"state": "state", "category": "folder", "batch": "batch", "origin": "origin", "uploader": "uploader"}

collect = APIBlueprint("collect", __name__, tag="Retraining", url_prefix="/api")


def collection() -> Collection:
    """Give the pictures for retraining; the first call of a process opens them and puts them in order."""
    known: dict[str, Any] = current_app.extensions
    if _OPENING not in known:
        known.setdefault(_OPENING, Opening(partial(_open, service()), OPENING))
    return cast(Opening[Collection], known[_OPENING]).get()


def _open(of: Service) -> Collection:
    engine = of.counts.engine()
    Collection(of.settings, engine, Patience(FIRST_SECONDS)).repair()  # another process may be at it
    return Collection(of.settings, engine, Patience(LOCK_SECONDS))


@collect.post("/retrain/upload")
@collect.doc(responses=answers(shapes.Uploaded, 400, 401, 403, 413, 503, 507), security=KEYS)
@needs_permission
@takes(Body.UPLOAD)
@answered_in(Lane.UPLOADS)
def upload() -> Document:
    """Keep pictures of one class for the next training; a zip stands for the pictures in it.

    What is answered as accepted is on the disk. Sending the same again adds nothing.
    """
    files = _read_files()
    category = request.form.get("category", "")
    batch = request.form.get("batch") or None
    _require_category(category)
    added = collection().add(_named(files), category, batch, request.remote_addr or "unknown")
    return {
        "message": f"{added}, {counted(len(added.rejected), 'was refused', 'were refused')}.",
        "files": added.files,
        "category": added.folder,
        "batch": added.batch,
        "accepted": added.accepted,
        "duplicates": added.duplicates,
        "rejected": [vars(refused) for refused in added.rejected],
    }


@collect.post("/feedback")
@collect.doc(responses=answers(shapes.Feedback, 400, 401, 403, 409, 413, 415, 422, 503, 507), security=KEYS)
@needs_permission
@takes(Body.IMAGES)
@answered_in(Lane.UPLOADS)
def feedback() -> Document:
    """Say which class is right for a picture; it is kept, and trained on once a person has confirmed it.

    The picture comes as for /api/predict; `class` names the right class, or `right=true` says that the answer is.
    """
    read_body(request, keep=True)  # kept, so that the fields beside the picture can be read, too
    picture = read_one(request, service().settings)
    named, is_right = _said_class()  # before a picture is decoded for nothing
    prediction = service().look(picture)
    kept = collection().feedback(
        picture, _right_class(named, is_right, prediction), prediction, request.remote_addr or "unknown"
    )
    was_right = kept.folder == collection().classes[prediction.class_id]
    return {
        "message": "The answer was right." if was_right else "The picture is kept until its class is confirmed.",
        "id": kept.id,
        "state": kept.state,
        "category": kept.folder,
        "was_right": was_right,
        "answered": prediction.class_name,
    }


@collect.get("/retrain/images")
@collect.doc(responses=answers(shapes.Images, 400, 401, 403, 503), security=KEYS)
@needs_permission
def images() -> Document:
    """List the pictures for retraining, a page at a time; by default what most needs a look comes first."""
    filters = {column: request.args[name] for name, column in _FILTERS.items() if request.args.get(name)}
    if nul := next((name for name, column in _FILTERS.items() if "\0" in filters.get(column, "")), None):
        raise RequestError(f"`{nul}` must be text without NUL. Received: {filters[_FILTERS[nul]][:100]!r}")
    if filters.get("state") not in (None, *STATES):
        raise RequestError(f"`state` must be one of {', '.join(STATES)}. Received: {filters['state'][:100]!r}")
    order = request.args.get("order", "review")
    if order not in ("review", "newest"):
        raise RequestError(f"`order` must be review or newest. Received: {order[:100]!r}")
    page, size = _number("page", 1, shapes.MAX_PAGE), _number("per_page", 50, shapes.MAX_PER_PAGE)
    ids = _listed("ids")
    found, total = collection().page(offset=(page - 1) * size, limit=size, order=cast(Order, order), ids=ids, **filters)
    rows = [{**picture.as_dict(), "file": f"/api/retrain/images/{picture.id}/file"} for picture in found]
    return {"images": rows, "total": total, "page": page, "per_page": size}


@collect.get("/retrain/images/<int:number>/file")
@collect.doc(responses={200: shapes.THUMBNAIL, **shapes.problems(401, 403, 404, 503)}, security=KEYS)
@needs_permission
def image_file(number: int) -> Response:
    """Show a picture: a JPEG of at most 320 pixels a side."""
    picture = collection().shelf.get([number])[0]
    try:
        pixels = decode_upright(picture.path.read_bytes(), THUMBNAIL_SIDE, service().predictor.limits)
    except OSError as error:
        raise UploadNotFoundError(f"The file of picture {number} cannot be read. Received: {error.strerror}") from error
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return Response(buffer.getvalue(), content_type="image/jpeg")


@collect.post("/retrain/images/relabel")
@collect.doc(responses=answers(shapes.Changed, 400, 401, 403, 404, 413, 415, 503), security=KEYS)
@needs_permission
@takes(Body.IDS)
def relabel() -> Document:
    """Move pictures to another class."""
    ids, document = _ids()
    category = document.get("category", "")
    if not isinstance(category, str):
        raise RequestError(f"`category` must be a string, the name of a class. Received: {str(category)[:100]}")
    _require_category(category)
    return _changed(collection().relabel(ids, category))


@collect.post("/retrain/images/remove")
@collect.doc(responses=answers(shapes.Changed, 400, 401, 403, 404, 413, 415, 503), security=KEYS)
@needs_permission
@takes(Body.IDS)
def remove() -> Document:
    """Take pictures out of use; they can be restored until they are purged."""
    return _changed(collection().remove(_ids()[0]))


@collect.post("/retrain/images/restore")
@collect.doc(responses=answers(shapes.Changed, 400, 401, 403, 404, 413, 415, 503), security=KEYS)
@needs_permission
@takes(Body.IDS)
def restore() -> Document:
    """Bring removed pictures back."""
    return _changed(collection().restore(_ids()[0]))


@collect.post("/retrain/images/confirm")
@collect.doc(responses=answers(shapes.Changed, 400, 401, 403, 404, 409, 413, 415, 503), security=KEYS)
@needs_permission
@takes(Body.IDS)
def confirm() -> Document:
    """Say that the class of pictures is right; feedback, and what the review keeps out, comes into use by it."""
    return _changed(collection().confirm(_ids()[0]))


@collect.post("/retrain/batches/<batch>/remove")
@collect.doc(responses=answers(shapes.Changed, 401, 403, 404, 503), security=KEYS)
@needs_permission
def remove_batch(batch: str) -> Document:
    """Take all pictures of a batch out of use."""
    return _changed(collection().remove_batch(batch))


@collect.post("/retrain/batches/<batch>/restore")
@collect.doc(responses=answers(shapes.Changed, 401, 403, 404, 503), security=KEYS)
@needs_permission
def restore_batch(batch: str) -> Document:
    """Bring all removed pictures of a batch back."""
    return _changed(collection().restore_batch(batch))


@collect.get("/retrain/report")
@collect.doc(responses=answers(shapes.Report, 401, 403, 503), security=KEYS)
@needs_permission
def report() -> Document:
    """Count the pictures, by class, batch and uploader, and give what the last review found; it says its date."""
    return review.report(collection())


def _said_class() -> tuple[dict[int, str], bool]:
    """Read what is said to be right, in the query or the form; whatever is said there must make sense.

    Returns:
        The class that is named, by its number, and whether the answer is said to be right.

    Raises:
        RequestError: a name of a class or `right` is none, two classes are named, or nothing is said.
    """
    classes = collection().classes
    named: dict[int, str] = {}
    is_right = False
    for name in (name for field in ("class", "category") for name in request.values.getlist(field) if name):
        index = match_class(name, classes)
        if index is None:
            raise RequestError(f"`class` must be one of {listed(classes, most=20)}. Received: {name[:100]!r}")
        named[index] = name
    for said in request.values.getlist("right"):
        if said.casefold() not in _SAID:
            raise RequestError(f"`right` must be true or false. Received: {said[:100]!r}")
        is_right |= _SAID[said.casefold()]
    if not named and not is_right:
        raise RequestError(f"The class must be one of {listed(classes, most=20)}. Received: ''")
    _require_one(named)
    return named, is_right


def _right_class(named: dict[int, str], is_right: bool, prediction: Prediction) -> str:
    """Name the class that is right; raises RequestError if the answer is said to be right, and another class too."""
    if is_right:
        named = {**named, prediction.class_id: prediction.class_name}
        _require_one(named)
    return "".join(named.values())


def _require_one(named: dict[int, str]) -> None:
    if len(named) > 1:
        raise RequestError(f"One class can be right for a picture. Received: {', '.join(named.values())[:200]}.")


def _read_files() -> list[FileStorage]:
    """Receive the files of an upload over the disk.

    Raises:
        RequestError: there is none.
        UploadTooLargeError: there are too many.
        DiskFullError: there is no room for them.
    """
    settings = service().settings
    require_free(settings, request.content_length or 0)
    files = [file for name in FILE_FIELDS for file in request.files.getlist(name) if file.filename]
    if not files:
        raise RequestError(
            "There is no picture; send some as the field `files[]` of multipart/form-data, with their class in "
            f"`category`. Received: {', '.join(sorted({*request.files, *request.form}))[:200] or 'no field'}."
        )
    if len(files) > settings.max_upload_files:
        raise UploadTooLargeError(
            f"There are too many files; at most {settings.max_upload_files:,} an upload are allowed "
            f"(CATDOG_MAX_UPLOAD_FILES). Received: {len(files):,}."
        )
    return files


def _named(files: list[FileStorage]) -> Iterator[tuple[str, IO[bytes]]]:
    for file in files:
        yield file.filename or "", file.stream


def _ids() -> tuple[list[int], Document]:
    document = read_document(request)
    document = document if isinstance(document, dict) else {}
    ids = document.get("ids")
    if not isinstance(ids, list) or not 0 < len(ids) <= shapes.MAX_IDS or not all(map(_is_number, ids)):
        raise RequestError(
            f'A JSON body is needed, {{"ids": [1, 2]}}, with 1 to {shapes.MAX_IDS:,} numbers of pictures. '
            f"Received: {str(ids)[:100] if document else 'no JSON'}."
        )
    return [int(number) for number in ids], document


def _is_number(value: object) -> bool:
    """Tell whether a JSON value is the number of a picture; 1.0 is an integer there (JSON Schema, 6.1.1)."""
    is_integer = type(value) is int or (isinstance(value, float) and value.is_integer())
    return is_integer and 0 < cast(float, value) <= MAX_ID


def _number(name: str, default: int, most: int) -> int:
    given = request.args.get(name, str(default))
    if not (given.isascii() and given.isdecimal() and len(given) < 10 and 1 <= int(given) <= most):
        raise RequestError(f"`{name}` must be a number from 1 to {most:,}. Received: {given[:100]!r}")
    return int(given)


def _listed(name: str) -> list[int] | None:
    if (given := request.args.get(name)) is None:
        return None
    if not re.fullmatch(shapes.IDS, given):
        most = shapes.MAX_PER_PAGE
        raise RequestError(f"`{name}` must be 1 to {most} numbers of pictures, as in 3,14. Received: {given[:100]!r}")
    return [int(number) for number in given.split(",")]


def _changed(count: int) -> dict[str, Any]:
    return {"changed": count}


def _require_category(category: str) -> None:
    if not category.strip():
        raise RequestError(f"The field `category` is missing; it must be one of {', '.join(collection().classes)}.")
