"""Forms, queries and JSON bodies of the routes for uploads."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from flask import request
from werkzeug.datastructures import FileStorage

from catdog.data.labels import match_class
from catdog.errors import RequestError, UploadTooLargeError
from catdog.prediction.predictor import Prediction
from catdog.retraining.uploads.intake import require_free
from catdog.retraining.uploads.storage import MAX_ID, STATES, Order
from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings
from catdog.text import listed
from catdog.web.api import uploads_schemas as shapes
from catdog.web.requests.bodies import read_document
from catdog.web.requests.limits import MAX_IDS

FILE_FIELDS: Final = ("files[]", "files", "file")
_BOOLEANS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
_FILTERS: Final = {"state": "state", "category": "folder", "batch": "batch", "origin": "origin", "uploader": "uploader"}
_CLASSES_SHOWN: Final = 20


@dataclass(frozen=True)
class StatedClass:
    """The correct class of an image as stated by feedback: a class by name, or the predicted one."""

    name: str | None
    index: int | None
    is_predicted: bool

    def resolve(self, prediction: Prediction) -> str:
        """Return the name of the correct class.

        Raises:
            RequestError: feedback states both that the prediction is correct and another class.
        """
        if not self.is_predicted:
            return self.name or ""
        if self.index not in (None, prediction.class_id):
            raise _several_classes([self.name or "", prediction.class_name])
        return prediction.class_name


def read_stated_class(classes: Sequence[str]) -> StatedClass:
    """Return the class that feedback states to be correct, from the query or the form.

    Raises:
        RequestError: a class or `right` is invalid, or there isn't exactly one class.
    """
    named: dict[int, str] = {}
    for name in (name for field in ("class", "category") for name in request.values.getlist(field) if name):
        index = match_class(name, classes)
        if index is None:
            known = listed(classes, most=_CLASSES_SHOWN)
            raise RequestError(f"`class` must be one of {known}, not {name[:100]!r}.")
        named[index] = name
    is_predicted = True in [_boolean("right", value) for value in request.values.getlist("right")]  # checks each
    if not named and not is_predicted:
        known = listed(classes, most=_CLASSES_SHOWN)
        raise RequestError(f"The correct class is missing. Name one of {known} as `class`, or send `right=true`.")
    if len(named) > 1:
        raise _several_classes(named.values())
    first = next(iter(named.items()), (None, None))
    return StatedClass(first[1], first[0], is_predicted)


def _boolean(name: str, value: str) -> bool:
    if value.casefold() not in _BOOLEANS:
        raise RequestError(f"`{name}` must be true or false, not {value[:100]!r}.")
    return _BOOLEANS[value.casefold()]


def _several_classes(names: Iterable[str]) -> RequestError:
    return RequestError(f"An image has one correct class, but several are named: {', '.join(names)[:200]}.")


def read_files(settings: Settings) -> list[FileStorage]:
    """Return the files of an upload, which are spooled to disk.

    Raises:
        RequestError: there are none.
        UploadTooLargeError: there are too many.
        DiskFullError: there is no room for them.
    """
    require_free(settings, request.content_length or 0)
    files = [file for name in FILE_FIELDS for file in request.files.getlist(name) if file.filename]
    if not files:
        fields = ", ".join(sorted({*request.files, *request.form}))[:200]
        raise RequestError(
            "The request contains no image. Send images as the field `files[]` of multipart/form-data, with their "
            f"class as `category`. {f'The fields sent are: {fields}.' if fields else 'No field was sent.'}"
        )
    if len(files) > settings.max_upload_files:
        raise UploadTooLargeError(
            f"{len(files):,} files are too many for one upload. Send at most {settings.max_upload_files:,} at a time, "
            "or raise CATDOG_MAX_UPLOAD_FILES."
        )
    return files


def read_ids() -> tuple[list[int], dict[str, Any]]:
    """Return the ids of uploads in a JSON body, and the whole body.

    Raises:
        RequestError: there are none, too many, or one is not valid.
    """
    document = read_document(request)
    document = document if isinstance(document, dict) else {}
    ids = document.get("ids")
    if not isinstance(ids, list) or not 0 < len(ids) <= MAX_IDS or not all(map(_is_id, ids)):
        sent = f"`ids` is {str(ids)[:100]}" if document else "the body is not a JSON object"
        raise RequestError(
            f'The body must be JSON such as {{"ids": [1, 2]}}, with 1 to {MAX_IDS:,} ids of uploads; {sent}.'
        )
    return [int(number) for number in ids], document


def _is_id(value: object) -> bool:
    """Return whether a JSON value can be an id; 1.0 is an integer in JSON Schema (6.1.1)."""
    is_integer = type(value) is int or (isinstance(value, float) and value.is_integer())
    return is_integer and 0 < cast(float, value) <= MAX_ID


def read_filters() -> dict[str, str]:
    """Return the filters of a list, by column.

    Raises:
        RequestError: one is not valid.
    """
    filters = {name: request.args[name] for name in _FILTERS if request.args.get(name)}
    if nul := next((name for name, value in filters.items() if "\0" in value), None):
        raise RequestError(f"`{nul}` must not contain NUL, as {filters[nul][:100]!r} does.")
    if filters.get("state") not in (None, *STATES):
        raise RequestError(f"`state` must be one of {', '.join(STATES)}, not {filters['state'][:100]!r}.")
    return {_FILTERS[name]: value for name, value in filters.items()}


def read_order() -> Order:
    """Return the order of a list.

    Raises:
        RequestError: there is no such order.
    """
    order = request.args.get("order", "review")
    if order not in ("review", "newest"):
        raise RequestError(f"`order` must be review or newest, not {order[:100]!r}.")
    return cast(Order, order)


def read_number(name: str, default: int, most: int) -> int:
    """Return a number of the query from 1 to `most`.

    Raises:
        RequestError: it is not such a number.
    """
    given = request.args.get(name, str(default))
    if not (given.isascii() and given.isdecimal() and len(given) < 10 and 1 <= int(given) <= most):
        raise RequestError(f"`{name}` must be a number from 1 to {most:,}, not {given[:100]!r}.")
    return int(given)


def read_id_list(name: str) -> list[int] | None:
    """Return ids in the query, separated by commas; None if there is no such field.

    Raises:
        RequestError: it is not such a list.
    """
    if (given := request.args.get(name)) is None:
        return None
    if not re.fullmatch(shapes.IDS, given):
        raise RequestError(f"`{name}` must be 1 to {shapes.MAX_PER_PAGE} ids, such as 3,14, not {given[:100]!r}.")
    return [int(number) for number in given.split(",")]


def require_category(category: str, uploads: Uploads) -> None:
    """Check that a class is named.

    Raises:
        RequestError: it is not.
    """
    if not category.strip():
        raise RequestError(f"The field `category` is missing; it must be one of {', '.join(uploads.classes)}.")
