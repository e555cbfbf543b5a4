"""Schemas of the routes for uploads."""

from collections.abc import Mapping
from typing import Any, Final

from apiflask import Schema
from apiflask.fields import Boolean, Dict, File, Float, Integer, List, Nested, String
from apiflask.validators import Length, OneOf, Regexp
from marshmallow import pre_load

from catdog.retraining.uploads.storage import MAX_ID, STATES
from catdog.web.inputs import ClassName, Ids, Input, Number, TextIds
from catdog.web.requests.limits import MAX_IDS
from catdog.web.schemas import described

BOOLEANS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
"""Truth values in forms and queries, which hold only text."""

_CLASS: Final = {"description": "folder name or key of a class"}
_ONE_OF: Final = "must be one of {choices}, not {input!r:.100}."


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


MAX_PAGE: Final = 1_000_000
MAX_PER_PAGE: Final = 200
FILTERS: Final = ("state", "category", "batch", "origin", "uploader")


class _Text(String):
    """Text without NUL, which databases can't store."""

    def __init__(self, **more: Any) -> None:
        super().__init__(validate=Regexp(r"^[^\x00]*$", error="must not contain NUL, as {input!r:.100} does."), **more)


class UploadForm(Input):
    """Images of one class."""

    files = List(File(), data_key="files[]", required=True, validate=Length(min=1))
    category = ClassName(required=True, metadata=_CLASS)
    batch = String(
        validate=Regexp(
            "^[A-Za-z0-9_-]{0,32}$", error="must be at most 32 of A-Z, a-z, 0-9, _ and -, not {input!r:.100}."
        ),
        metadata={"description": "id of the batch; a new one if empty"},
    )


class Stated(Input):
    """The correct class of an image."""

    class_ = ClassName(data_key="class", metadata=_CLASS)
    right = String(validate=OneOf([text for text in BOOLEANS if text]))


class FeedbackForm(Stated):
    """An image and its correct class."""

    image = File(required=True)


class UploadsQuery(Input):
    """Which uploads to list; `category` is a column of another name."""

    page = Number(1, MAX_PAGE)
    per_page = Number(50, MAX_PER_PAGE)
    order = String(load_default="review", validate=OneOf(["review", "newest"], error=_ONE_OF))
    state = String(validate=OneOf(STATES, error=_ONE_OF))
    ids = TextIds(MAX_PER_PAGE)
    category = _Text(attribute="folder")
    batch = _Text()
    origin = _Text()
    uploader = _Text()

    @pre_load
    def _ignore_empty_filters(self, query: Mapping[str, str], **_: Any) -> dict[str, str]:
        return {name: value for name, value in query.items() if value or name not in FILTERS}


class UploadIds(Input):
    """Ids of uploads."""

    ids = Ids(MAX_IDS, MAX_ID)


class Relabelling(UploadIds):
    """Ids of uploads, and their new class."""

    category = ClassName(required=True, metadata=_CLASS)
