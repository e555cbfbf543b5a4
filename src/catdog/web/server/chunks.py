"""Decodes a chunked body (RFC 9112, section 7.1) as it arrives; gunicorn's reader parses its lines."""

from typing import Final

from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize, ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

LINE_BYTES: Final = 1024
"""Maximum length of a line with a chunk's size and extensions."""

TRAILER_BYTES: Final = 8192
FREE_CHUNKS: Final = 1000
LEAST_CHUNK: Final = 128
"""Minimum average size of the chunks after the first 1,000, as each costs the event loop microseconds."""

MOST_CHUNK: Final = 2**63
"""Chunks must be smaller than this, the largest size of a file."""


class TinyChunksError(ParseException):  # type: ignore[misc]  # gunicorn has no types
    """A body has too many small chunks."""


class IncompleteError(Exception):
    """More data must arrive first."""


class Received(Unreader):  # type: ignore[misc]
    """Arrived data for gunicorn's parsers, which raise `IncompleteError` where they would wait for more."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.unread(data)

    def chunk(self, _size_hint: int | None = None) -> bytes:
        """Report the end of the data.

        Raises:
            IncompleteError: always.
        """
        raise IncompleteError


class Chunks:
    """The state of a chunked body."""

    def __init__(self, request: Request) -> None:
        """Start a body; `left` is what remains of the current chunk, `is_complete` whether the body has ended."""
        self._lines = ChunkedReader(request, Received(b""))
        self._lines.limit_chunk_size_line, self._lines.limit_trailer_section = LINE_BYTES, TRAILER_BYTES
        self.left = 0
        self._needs_end = False
        self._count = self._bytes = 0
        self.is_complete = False

    def take(self, data: bytearray) -> bytes:
        """Remove the body's chunks from the front of `data`, and return their contents.

        Raises:
            ParseException: the chunks are invalid.
        """
        contents = []
        position = 0
        view = bytes(data)
        while not self.is_complete and position < len(view):
            if self.left:
                piece = view[position : position + self.left]
                contents.append(piece)
                self.left -= len(piece)
                position += len(piece)
                self._needs_end = not self.left
            else:
                after = self._next(view, position)
                if after == position:
                    break
                position = after
        del data[:position]
        return b"".join(contents)

    def _next(self, view: bytes, position: int) -> int:
        """Parse the end of a chunk and the next size line; return the position after them."""
        start = position + 2 * self._needs_end
        if self._needs_end and len(view) >= start and view[position:start] != b"\r\n":
            raise ChunkMissingTerminator(view[position:start])
        end = view.find(b"\r\n", start, start + LINE_BYTES + 2)
        if end < 0:
            if len(view) - start > LINE_BYTES:
                self._size(view[start:])
            return position
        is_last = not view[start:end].split(b";")[0].strip(b"0 \t")
        line = view[start:] if is_last else view[start : end + 2]
        try:
            left, rest = self._size(line)
        except IncompleteError:
            return position
        self.left, self._needs_end = left, False
        self.is_complete = not left
        return len(view) - len(rest) if is_last else end + 2

    def _size(self, line: bytes) -> tuple[int, bytes]:
        """Parse a size line, and after the last chunk the trailers; return the size and the rest of the data."""
        source = Received(b"")
        size, _ = self._lines.parse_chunk_size(source, data=line)
        if size >= MOST_CHUNK:
            raise InvalidChunkSize(line[:20])
        if size:
            self._count += 1
            self._bytes += size
            if self._count > FREE_CHUNKS + self._bytes / LEAST_CHUNK:
                raise TinyChunksError
        return size, source.take_buffered()
