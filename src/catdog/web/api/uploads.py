"""Routes that add uploads and manage them."""

from functools import partial
from typing import Any, Final, cast

from apiflask import APIBlueprint
from flask import Response, current_app, request
from werkzeug.datastructures import MultiDict

from catdog.data.images.pixels import encode_thumbnail
from catdog.errors import UploadNotFoundError
from catdog.monitoring.counts import Counts
from catdog.retraining.uploads import review
from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings
from catdog.storage.contention import FIRST_SECONDS, OPENING, Opening, WaitLimit
from catdog.text import counted
from catdog.web.api import uploads_schemas as shapes
from catdog.web.api.predict import Document
from catdog.web.api.uploads_requests import read_stated_class
from catdog.web.requests.bodies import read_body
from catdog.web.requests.images import read_one
from catdog.web.routes import Body, Lane, handled_in, takes
from catdog.web.schemas import KEYS, THUMBNAIL, image_body, problems
from catdog.web.security.permissions import needs_permission
from catdog.web.service import LOCK_SECONDS, counts, current_settings, live_model

_OPENING: Final = "catdog.uploads"

collect = APIBlueprint("collect", __name__, tag="Retraining", url_prefix="/api")


def uploads() -> Uploads:
    """Return the uploads; the first call in a process repairs them."""
    known: dict[str, Any] = current_app.extensions
    if _OPENING not in known:
        known.setdefault(_OPENING, Opening(partial(_open, current_settings(), counts()), OPENING))
    return cast(Opening[Uploads], known[_OPENING]).get()


def _open(settings: Settings, counted: Counts) -> Uploads:
    engine = counted.engine()
    first = WaitLimit(FIRST_SECONDS)  # another process may be repairing them
    return Uploads.open(settings, engine, WaitLimit(LOCK_SECONDS), first=first)


def add_uploads(form: Document) -> Document:
    """Store the images of a form, and describe the result."""
    sent = ((file.filename or "", file.stream) for file in form["files"])
    added = uploads().add(sent, form["category"], form.get("batch") or None, request.remote_addr or "unknown")
    return {
        "message": f"{added}, {counted(len(added.rejected), 'file')} rejected.",
        "files": added.files,
        "category": added.folder,
        "batch": added.batch,
        "accepted": added.accepted,
        "duplicates": added.duplicates,
        "rejected": [vars(file) for file in added.rejected],
    }


@collect.post("/retrain/upload")
@collect.doc(
    responses=problems(400, 401, 403, 413, 503, 507),
    security=KEYS,
    extensions=image_body(shapes.UploadForm, is_form_only=True),
)
@collect.input(shapes.UploadForm, location="form_and_files", arg_name="form")
@collect.output(shapes.Uploaded)
@needs_permission
@takes(Body.UPLOAD)
@handled_in(Lane.UPLOADS)
def upload(form: Document) -> Document:
    """Upload images of one class for the next training, as files or zip archives.

    Accepted images are safely on disk. Sending an image again adds nothing.
    """
    return add_uploads(form)


@collect.post("/feedback")
@collect.doc(
    responses=problems(400, 401, 403, 409, 413, 415, 422, 503, 507),
    security=KEYS,
    extensions=image_body(shapes.FeedbackForm),
)
@collect.input(shapes.Stated, location="query", arg_name="query", validation=False)
@collect.output(shapes.Feedback)
@needs_permission
@takes(Body.IMAGES)
@handled_in(Lane.UPLOADS)
def feedback(query: MultiDict[str, str]) -> Document:
    """Report the correct class of an image, for training after a person has confirmed it.

    Send the image as for /api/predict. `class` names the correct class; `right=true` confirms the prediction.
    """
    read_body(request, keep=True)  # the form's other fields are read from it too
    image = read_one(request, current_settings())
    stated = read_stated_class(uploads().classes, query, request.form)  # checked before the image is decoded
    prediction = live_model().predict_uncounted(image)
    right_class = stated.resolve(prediction)
    kept = uploads().feedback(image, right_class, prediction, request.remote_addr or "unknown")
    was_right = kept.folder == uploads().classes[prediction.class_id]
    return {
        "message": "The prediction was correct." if was_right else "The image awaits confirmation of its class.",
        "id": kept.id,
        "state": kept.state,
        "category": kept.folder,
        "was_right": was_right,
        "answered": prediction.class_name,
    }


@collect.get("/retrain/images")
@collect.doc(responses=problems(400, 401, 403, 503), security=KEYS)
@collect.input(shapes.UploadsQuery, location="query", arg_name="query")
@collect.output(shapes.Images)
@needs_permission
def images(query: Document) -> Document:
    """List uploads page by page; by default those that most need a review come first."""
    page, size = query.pop("page"), query.pop("per_page")
    found, total = uploads().page(offset=(page - 1) * size, limit=size, **query)
    rows = [{**one.as_dict(), "file": f"/api/retrain/images/{one.id}/file"} for one in found]
    return {"images": rows, "total": total, "page": page, "per_page": size}


@collect.get("/retrain/images/<int:number>/file")
@collect.doc(responses=problems(401, 403, 404, 503), security=KEYS)
@collect.output(THUMBNAIL, content_type="image/jpeg")
@needs_permission
def image_file(number: int) -> Response:
    """Return the image as a JPEG of at most 320 by 320 pixels."""
    stored = uploads().storage.get([number])[0]
    try:
        thumbnail = encode_thumbnail(stored.path.read_bytes(), live_model().predictor.limits)
    except OSError as error:
        raise UploadNotFoundError(f"The file of upload {number} can't be read: {error.strerror}.") from error
    return Response(thumbnail, content_type="image/jpeg")


@collect.post("/retrain/images/relabel")
@collect.doc(responses=problems(400, 401, 403, 404, 413, 415, 503), security=KEYS)
@collect.input(shapes.Relabelling, arg_name="body")
@collect.output(shapes.Changed)
@needs_permission
@takes(Body.IDS)
def relabel(body: Document) -> Document:
    """Move uploads to another class."""
    return _changed(uploads().relabel(body["ids"], body["category"]))


@collect.post("/retrain/images/remove")
@collect.doc(responses=problems(400, 401, 403, 404, 413, 415, 503), security=KEYS)
@collect.input(shapes.UploadIds, arg_name="body")
@collect.output(shapes.Changed)
@needs_permission
@takes(Body.IDS)
def remove(body: Document) -> Document:
    """Remove uploads from training; they can be restored until they are purged."""
    return _changed(uploads().remove(body["ids"]))


@collect.post("/retrain/images/restore")
@collect.doc(responses=problems(400, 401, 403, 404, 413, 415, 503), security=KEYS)
@collect.input(shapes.UploadIds, arg_name="body")
@collect.output(shapes.Changed)
@needs_permission
@takes(Body.IDS)
def restore(body: Document) -> Document:
    """Restore removed uploads."""
    return _changed(uploads().restore(body["ids"]))


@collect.post("/retrain/images/confirm")
@collect.doc(responses=problems(400, 401, 403, 404, 409, 413, 415, 503), security=KEYS)
@collect.input(shapes.UploadIds, arg_name="body")
@collect.output(shapes.Changed)
@needs_permission
@takes(Body.IDS)
def confirm(body: Document) -> Document:
    """Confirm the class of uploads; this makes pending and excluded ones available for training."""
    return _changed(uploads().confirm(body["ids"]))


@collect.post("/retrain/batches/<batch>/remove")
@collect.doc(responses=problems(401, 403, 404, 503), security=KEYS)
@collect.output(shapes.Changed)
@needs_permission
def remove_batch(batch: str) -> Document:
    """Remove all uploads of a batch from training."""
    return _changed(uploads().remove_batch(batch))


@collect.post("/retrain/batches/<batch>/restore")
@collect.doc(responses=problems(401, 403, 404, 503), security=KEYS)
@collect.output(shapes.Changed)
@needs_permission
def restore_batch(batch: str) -> Document:
    """Restore all removed uploads of a batch."""
    return _changed(uploads().restore_batch(batch))


@collect.get("/retrain/report")
@collect.doc(responses=problems(401, 403, 503), security=KEYS)
@collect.output(shapes.Report)
@needs_permission
def report() -> Document:
    """Count uploads by class, batch and uploader, with the findings of the last review and its date."""
    return review.report(uploads())


def _changed(count: int) -> dict[str, Any]:
    return {"changed": count}
