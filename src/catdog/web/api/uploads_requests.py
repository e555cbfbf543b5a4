"""Forms of the routes for uploads: what their schemas can't check."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apiflask import Schema
from apiflask.schema_adapters.marshmallow import parser
from flask import Request
from werkzeug.datastructures import MultiDict

from catdog.data.labels import match_class
from catdog.errors import RequestError, UploadTooLargeError
from catdog.prediction.predictor import Prediction
from catdog.retraining.uploads.intake import require_free
from catdog.text import listed
from catdog.web.api.uploads_schemas import BOOLEANS
from catdog.web.service import current_settings

FILE_FIELDS: Final = ("files[]", "files", "file")
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


def read_stated_class(classes: Sequence[str], *given: MultiDict[str, str]) -> StatedClass:
    """Return the class that feedback states to be correct, from the query and the form.

    Raises:
        RequestError: a class or `right` is invalid, or there isn't exactly one class.
    """
    named: dict[int, str] = {}
    for name in (name for field in ("class", "category") for name in _all(field, given) if name):
        index = match_class(name, classes)
        if index is None:
            known = listed(classes, most=_CLASSES_SHOWN)
            raise RequestError(f"`class` must be one of {known}, not {name[:100]!r}.")
        named[index] = name
    is_predicted = True in [_boolean("right", value) for value in _all("right", given)]  # checks each
    if not named and not is_predicted:
        known = listed(classes, most=_CLASSES_SHOWN)
        raise RequestError(f"The correct class is missing. Name one of {known} as `class`, or send `right=true`.")
    if len(named) > 1:
        raise _several_classes(named.values())
    first = next(iter(named.items()), (None, None))
    return StatedClass(first[1], first[0], is_predicted)


def _all(field: str, given: Iterable[MultiDict[str, str]]) -> list[str]:
    return [value for values in given for value in values.getlist(field)]


def _boolean(name: str, value: str) -> bool:
    if value.casefold() not in BOOLEANS:
        raise RequestError(f"`{name}` must be true or false, not {value[:100]!r}.")
    return BOOLEANS[value.casefold()]


def _several_classes(names: Iterable[str]) -> RequestError:
    return RequestError(f"An image has one correct class, but several are named: {', '.join(names)[:200]}.")


@parser.location_loader("form_and_files")
def load_upload(received: Request, _schema: Schema) -> dict[str, Any]:
    """Return the fields of an upload; its files are spooled to disk.

    Raises:
        RequestError: there are no files.
        UploadTooLargeError: there are too many.
        DiskFullError: there is no room for them.
    """
    settings = current_settings()
    require_free(settings, received.content_length or 0)
    files = [file for name in FILE_FIELDS for file in received.files.getlist(name) if file.filename]
    if not files:
        fields = ", ".join(sorted({*received.files, *received.form}))[:200]
        raise RequestError(
            "The request contains no image. Send images as the field `files[]` of multipart/form-data, with their "
            f"class as `category`. {f'The fields sent are: {fields}.' if fields else 'No field was sent.'}"
        )
    if len(files) > settings.max_upload_files:
        raise UploadTooLargeError(
            f"{len(files):,} files are too many for one upload. Send at most {settings.max_upload_files:,} at a time, "
            "or raise CATDOG_MAX_UPLOAD_FILES."
        )
    return {**received.form.to_dict(), "files[]": files}
