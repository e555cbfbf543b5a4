"""The images of a request, as bytes. File names are never used."""

import io
from typing import IO, Any, Final, NoReturn, TypeVar

from flask import Request

from catdog.errors import CatdogError, MediaTypeError, RequestError, UploadTooLargeError
from catdog.settings import Settings
from catdog.text import counted
from catdog.web.requests.bodies import read_body, wrap
from catdog.web.requests.forms import BoundedFormParser, read_form
from catdog.web.requests.spool import Spool

E = TypeVar("E", bound=CatdogError)

FIELDS: Final = ("image", "file", "images", "files")
MULTIPART: Final = "multipart/form-data"
MAX_PARTS: Final = 1000
"""Maximum parts of a form if the application sets no limit."""

_HOW: Final = "Send an image as the field `image` of multipart/form-data, or as the body with Content-Type image/jpeg."


class ImageRequest(Request):
    """A request whose files stay in memory, unless `spool` is set to take them."""

    # The size of a request is bounded, so a disk would only cost time; uploads of hundreds of images are spooled.
    spool: Spool | None = None
    form_data_parser_class = BoundedFormParser

    def __init__(self, environ: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        wrap(environ)
        super().__init__(environ, *args, **kwargs)

    def _get_file_stream(self, *_args: Any, **_kwargs: Any) -> IO[bytes]:
        return self.spool.part() if self.spool else io.BytesIO()

    def close(self) -> None:
        """Close the files."""
        super().close()
        if self.spool:
            self.spool.close()


def read_one(request: Request, settings: Settings) -> bytes:
    """Return the image of a request.

    Raises:
        RequestError: there is none, or more than one.
        MediaTypeError: the body is of another kind.
        UploadTooLargeError: it has too many bytes.
    """
    images = _read_images(request)
    if len(images) > 1:
        raise RequestError(f"Send one image, not {len(images)}, or use /api/predict/batch.")
    if not images[0]:
        raise RequestError(f"The image is empty. {_HOW}")
    if error := too_large(images[0], settings):
        raise error
    return images[0]


def read_many(request: Request, settings: Settings) -> list[bytes]:
    """Return the images of a request, in order, including empty and too large ones.

    Raises:
        RequestError: there is none.
        MediaTypeError: the body is of another kind.
        UploadTooLargeError: there are too many.
    """
    images = _read_images(request)
    if len(images) > settings.max_batch:
        raise too_many(len(images), settings)
    return images


def too_large(image: bytes, settings: Settings) -> UploadTooLargeError | None:
    """Return the error for an image that has too many bytes, otherwise None."""
    if len(image) <= settings.max_upload_bytes:
        return None
    return UploadTooLargeError(
        f"The image has {counted(len(image), 'byte')}; the limit is {settings.max_upload_bytes:,} "
        "(CATDOG_MAX_UPLOAD_BYTES)."
    )


def too_many(count: int, settings: Settings) -> UploadTooLargeError:
    """Return the error for a request with too many images."""
    return UploadTooLargeError(
        f"The request has {count:,} images; the limit is {settings.max_batch:,} per request (CATDOG_MAX_BATCH)."
    )


def numbered(error: E, number: int, count: int) -> E:
    """Return an error that names the image it is about, as number `number` of `count`, from 1."""
    return error if count == 1 else type(error)(f"Image {number} of {count}: {error}")


def _read_images(request: Request) -> list[bytes]:
    kind = request.mimetype
    if kind == MULTIPART:
        return _images_of_form(request)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [read_body(request)]
    if not kind and not request.content_length:
        raise RequestError(f"The request has no body. {_HOW}")
    raise MediaTypeError(
        f"The Content-Type {kind[:100]!r} isn't supported. {_HOW}" if kind else f"The Content-Type is missing. {_HOW}"
    )


def _images_of_form(request: Request) -> list[bytes]:
    """Return the files in the image fields of a form, in the order of the form."""
    if "files" in vars(request):  # Werkzeug has parsed the form already, to find the session's token
        return _images_of_parsed_form(request)
    most = request.max_form_parts or MAX_PARTS
    try:
        parts = read_form(read_body(request), request.mimetype_params.get("boundary", ""), most)
    except ValueError as error:
        raise RequestError(f"The form can't be read: {error}. {_HOW}") from error
    files = [part.content for part in parts if part.is_file and part.name in FIELDS]
    return files or _refuse_form({part.name for part in parts})


def _images_of_parsed_form(request: Request) -> list[bytes]:
    files = [file.read() for name, file in request.files.items(multi=True) if name in FIELDS]
    return files or _refuse_form({*request.files, *request.form})


def _refuse_form(fields: set[str]) -> NoReturn:
    sent = f"no image in its fields ({', '.join(sorted(fields))[:200]})" if fields else "no fields"
    raise RequestError(f"The form has {sent}. {_HOW}")
