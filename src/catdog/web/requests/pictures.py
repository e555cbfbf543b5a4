"""From a request to the bytes of its pictures. Names of files are never used for anything."""

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
"""Most parts of a form, where the application sets no limit."""

_HOW: Final = "send one as the field `image` of multipart/form-data, or as the body with Content-Type image/jpeg"


class PictureRequest(Request):
    """A request whose files stay in memory: its size is bounded, and the disk would only cost time.

    Where it may bring hundreds of pictures, `spool` takes them.
    """

    spool: Spool | None = None
    form_data_parser_class = BoundedFormParser

    def __init__(self, environ: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        wrap(environ)
        super().__init__(environ, *args, **kwargs)

    def _get_file_stream(self, *_args: Any, **_kwargs: Any) -> IO[bytes]:
        return self.spool.part() if self.spool else io.BytesIO()

    def close(self) -> None:
        """Let the files go."""
        super().close()
        if self.spool:
            self.spool.close()


def read_one(request: Request, settings: Settings) -> bytes:
    """Read the picture of a request.

    Raises:
        RequestError: there is none, or more than one.
        MediaTypeError: the body is of another kind.
        UploadTooLargeError: it has too many bytes.
    """
    pictures = _bodies(request)
    if len(pictures) > 1:
        raise RequestError(f"One picture is needed; /api/predict/batch takes more. Received: {len(pictures)}.")
    if not pictures[0]:
        raise RequestError(f"There is no picture; {_HOW}. Received: 0 bytes.")
    if problem := too_large(pictures[0], settings):
        raise problem
    return pictures[0]


def read_many(request: Request, settings: Settings) -> list[bytes]:
    """Read the pictures of a request, in order; empty and too large ones are the caller's.

    Raises:
        RequestError: there is none.
        MediaTypeError: the body is of another kind.
        UploadTooLargeError: there are too many.
    """
    pictures = _bodies(request)
    if len(pictures) > settings.max_batch:
        raise UploadTooLargeError(
            f"There are too many pictures; at most {settings.max_batch} a request are allowed (CATDOG_MAX_BATCH). "
            f"Received: {len(pictures)}."
        )
    return pictures


def too_large(picture: bytes, settings: Settings) -> UploadTooLargeError | None:
    """Give the error of a picture that has too many bytes, else None."""
    if len(picture) <= settings.max_upload_bytes:
        return None
    return UploadTooLargeError(
        f"The picture is too large; at most {settings.max_upload_bytes:,} bytes are allowed "
        f"(CATDOG_MAX_UPLOAD_BYTES). Received: {counted(len(picture), 'byte')}."
    )


def numbered(error: E, number: int, count: int) -> E:
    """Give the same error, with which of `count` pictures it is of, counted from 1."""
    return error if count == 1 else type(error)(f"Picture {number} of {count}: {error}")


def _bodies(request: Request) -> list[bytes]:
    kind = request.mimetype
    if kind == MULTIPART:
        return _pictures(request)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [read_body(request)]
    if not kind and not request.content_length:
        raise RequestError(f"There is no picture; {_HOW}. Received: no body.")
    raise MediaTypeError(f"A body of this kind is not read; {_HOW}. Received: {kind[:100] or 'no Content-Type'}.")


def _pictures(request: Request) -> list[bytes]:
    """Take the files of the picture fields out of a form, in the order in which they stand there."""
    if "files" in vars(request):  # Werkzeug has read the body, since the token of a session stands in the form
        return _files_of(request)
    most = request.max_form_parts or MAX_PARTS
    try:
        parts = read_form(read_body(request), request.mimetype_params.get("boundary", ""), most)
    except ValueError as error:
        raise RequestError(f"The form cannot be read; {_HOW}. Received: {error}.") from error
    files = [part.content for part in parts if part.is_file and part.name in FIELDS]
    return files or _refuse({part.name for part in parts})


def _files_of(request: Request) -> list[bytes]:
    files = [file.read() for name, file in request.files.items(multi=True) if name in FIELDS]
    return files or _refuse({*request.files, *request.form})


def _refuse(fields: set[str]) -> NoReturn:
    received = ", ".join(sorted(fields)) or "no field"
    raise RequestError(f"There is no picture; {_HOW}. Received: {received[:200]}, and no file in these fields.")
