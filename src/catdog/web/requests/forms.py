"""Forms, with what they may cost counted before they are parsed.

`read_form` cuts multipart/form-data that is in memory already at its boundaries (RFC 7578, RFC 2046). Werkzeug's parser
reads from a stream, and looks for line ends all through a photograph: of a form with one photograph of 16 kB it takes
270 microseconds, this takes 25. What it does not know, because nobody sends it with pictures, is refused: a part inside
a part, an encoding of its own, header lines that are folded.

`BoundedFormParser` takes forms off the wire, where files go to the disk or the token of a session stands in a field.
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
"""Most characters of a boundary: RFC 2046 says 70, but clients such as Werkzeug's own send one or two more."""

MAX_HEADER_BYTES: Final = 8192
"""Most bytes of the header lines of a part; names of files are at most a few hundred."""

MAX_FIELDS: Final = 100
"""Most fields of an urlencoded form; the longest that the page sends has three."""

MAX_TEXT_BYTES: Final = 64 * 1024
"""Most bytes of the text fields of a form together; files count apart."""

_READ_BYTES: Final = 64 * 1024
_BROKEN: Final = "The form cannot be read, since it ends early or is not multipart/form-data as RFC 7578 has it."


class FormTooLargeError(RequestEntityTooLarge):
    """A form over a limit of its own, whatever its bytes: the description says which."""


@dataclass(frozen=True)
class Part:
    """A field of a form: its name, whether it is a file, its bytes."""

    name: str
    is_file: bool
    content: bytes


def read_form(body: bytes, boundary: str, most: int) -> list[Part]:
    """Cut a form into its parts, in their order.

    Args:
        body: all of it.
        boundary: as the Content-Type names it, 1 to `MAX_BOUNDARY` characters.
        most: parts that it may have.

    Raises:
        ValueError: it is cut off, or not such a form; says where.
        RequestEntityTooLarge: it has more parts than `most`.
    """
    if not 1 <= len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise ValueError(f"a boundary of {len(boundary)} characters")
    delimiter = b"--" + boundary.encode()
    at = body.find(delimiter)
    if at < 0 or (at > 0 and body[at - 2 : at] != b"\r\n"):
        raise ValueError(f"{len(body):,} bytes in which the boundary does not begin")
    parts: list[Part] = []
    while True:
        at += len(delimiter)
        after = body[at : at + 2]
        if after == b"--":
            return parts
        if after != b"\r\n":
            raise ValueError(f"{after!r} behind a boundary at byte {at:,}")
        if len(parts) == most:
            raise RequestEntityTooLarge
        begin = body.find(b"\r\n\r\n", at, at + MAX_HEADER_BYTES)
        if begin < 0:
            raise ValueError(f"a part whose header does not end within {MAX_HEADER_BYTES:,} bytes, at byte {at:,}")
        # The line end before a boundary belongs to it; of a part without content it is that of the header.
        end = body.find(b"\r\n" + delimiter, begin + 2)
        if end < 0:
            raise ValueError(f"a part without an end, which begins at byte {at:,}")
        name, is_file = _disposition(body[at + 2 : begin])
        parts.append(Part(name, is_file, body[begin + 4 : end]))
        at = end + 2


def _disposition(header: bytes) -> tuple[str, bool]:
    """Read the header lines of a part: the name of its field, and whether it is a file.

    It is where it has a file name, which it should have but need not (RFC 7578, 4.2), or says that it is a picture.
    """
    lines = {key.strip().lower(): value.strip() for key, _, value in (x.partition(b":") for x in header.split(b"\r\n"))}
    kind, options = parse_options_header(lines.get(b"content-disposition", b"").decode(errors="replace"))
    if kind != "form-data" or "name" not in options:
        raise ValueError(f"a part whose header names no field: {header[:100]!r}")
    return options["name"], "filename" in options or lines.get(b"content-type", b"").lower().startswith(b"image/")


class BoundedFormParser(FormDataParser):
    """Werkzeug's parser, which bounds neither the fields of a form nor the headers of a part.

    Faults are a `RequestError`; Werkzeug would go on with an empty form.
    """

    def _parse_urlencoded(self, stream: IO[bytes], mimetype: str, content_length: int | None, options: Any) -> Any:
        body = stream.read()  # no more than the route's limit
        if body.count(b"&") >= MAX_FIELDS:
            raise FormTooLargeError(f"The form has too many fields; at most {MAX_FIELDS} are allowed.")
        return super()._parse_urlencoded(io.BytesIO(body), mimetype, content_length, options)

    def _parse_multipart(
        self, stream: IO[bytes], _mimetype: str, content_length: int | None, options: dict[str, str]
    ) -> Any:
        boundary = options.get("boundary", "")
        if not 1 <= len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
            raise RequestError(f"{_BROKEN} Its Content-Type must name a boundary of 1 to {MAX_BOUNDARY} characters.")
        decoder = MultipartDecoder(boundary.encode(), 4 * _READ_BYTES, max_parts=self.max_form_parts)
        parts = _Parts(lambda: self.stream_factory(content_length, None, None, None))
        try:
            for event in _events(decoder, stream):
                parts.take(event)
        except (ValueError, AttributeError) as error:  # the decoder meets None where a line does not end
            raise RequestError(_BROKEN) from error
        return stream, self.cls(parts.texts), self.cls(parts.files)


class _Parts:
    """The parts of a form as they come off the wire."""

    def __init__(self, make_file: Callable[[], IO[bytes]]) -> None:
        self.texts: list[tuple[str, str]] = []
        self.files: list[tuple[str, FileStorage]] = []
        self._make_file = make_file
        self._room = MAX_TEXT_BYTES
        self._part: Field | File | None = None
        self._content: IO[bytes] = io.BytesIO()

    def take(self, event: Event) -> None:
        """Take what the decoder found next.

        Raises:
            ValueError: a part names no field, or its header is too long.
            FormTooLargeError: the text fields are too long.
        """
        if isinstance(event, Field | File):
            if event.name is None or sum(len(name) + len(value) for name, value in event.headers) > MAX_HEADER_BYTES:
                raise ValueError("a part whose header names no field, or is too long")
            self._part, self._content = event, self._make_file() if isinstance(event, File) else io.BytesIO()
        elif isinstance(event, Data):
            self._add(event.data, is_last=not event.more_data)

    def _add(self, data: bytes, *, is_last: bool) -> None:
        part = self._part
        if isinstance(part, Field):
            self._room -= len(data)
            if self._room < 0:
                raise FormTooLargeError(f"The text fields of a form may have {MAX_TEXT_BYTES:,} bytes together.")
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
