"""Structure and decoding cost of a WebP, read without decoding it.

Source: https://developers.google.com/speed/webp/docs/riff_container
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from catdog.data.images import vp8l
from catdog.data.images.encoded import Encoded, Limits, Span, broken, join, over_budget, require_size

_MOST_LOSSLESS: Final = 4
"""Maximum lossless streams per image, for its pixels or their transparency."""

MOST_CHUNKS: Final = 16_384
"""Maximum number of chunks; each frame of an animation is one."""

_PEAK: Final = 12.1
"""Bytes per pixel: two canvases of 4 bytes, and a copy or the decoder's own buffer."""

_METADATA_FLAGS: Final = 0x20 | 0x08 | 0x04
"""Profile, EXIF and XMP."""


@dataclass
class _Chunks:
    kept: list[Span] = field(default_factory=list)
    metadata: dict[bytes, bytes] = field(default_factory=dict)
    is_animated: bool = False
    end: int = 12


def inspect(data: bytes, limits: Limits) -> Encoded:
    """Read the chunks of a WebP, or of the first frame of an animation.

    Raises:
        PictureTooLargeError: it exceeds a limit, or would take too long to decode.
        PictureBrokenError: it is truncated or damaged.
    """
    size = _read_size(data)
    if size is None or 0 in size:
        raise broken("WebP", "invalid header")
    require_size(*size, limits)
    chunks = _read(data)
    if not chunks.kept:
        raise broken("WebP", "its header is incomplete")
    kept = data
    if chunks.kept != [(12, len(data))]:
        kept = _rebuild(data, chunks)
    # Both the decoder and Pillow keep a copy of the bytes.
    return Encoded(
        "WEBP", *size, kept, _PEAK, 4, "WebP", buffers=2 * len(kept) + _tables_bytes(data, chunks, size),
        exif=chunks.metadata.get(b"EXIF"), xmp=chunks.metadata.get(b"XMP "),
    )  # fmt: skip


def _read_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if len(data) < 30:
        return None
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return None


def _read(data: bytes) -> _Chunks:
    found = _Chunks()
    limit = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    is_extended = data[12:16] == b"VP8X"
    at = 12
    for _ in range(MOST_CHUNKS):
        if at + 8 > limit:
            return found
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + (length & 1)
        if not is_extended:  # the decoder reads only the first chunk
            found.kept = [(12, len(data))]
            return found
        if kind in (b"EXIF", b"XMP "):
            found.metadata.setdefault(kind, data[at + 8 : at + 8 + length])
        elif kind in (b"VP8X", b"ANIM", b"ALPH", b"VP8 ", b"VP8L") or (kind == b"ANMF" and not found.is_animated):
            found.is_animated |= kind == b"ANMF"
            found.kept.append((at, min(end, len(data))))
        at = end
    raise over_budget("WebP", f"it has more than {MOST_CHUNKS:,} chunks")


def _tables_bytes(data: bytes, chunks: _Chunks, size: tuple[int, int]) -> int:
    """Return the bytes a decoder needs for the code tables of lossless parts."""
    found = list(_lossless(data, chunks.kept, size))
    if len(found) > _MOST_LOSSLESS:
        raise over_budget("WebP", f"it has more than {_MOST_LOSSLESS} lossless parts")
    return max((vp8l.tables_bytes(data, *stream) for stream in found), default=0)


def _lossless(
    data: bytes, spans: Sequence[Span], size: tuple[int, int]
) -> Iterator[tuple[int, int, tuple[int, int] | None]]:
    """Yield the begin and end of each lossless stream, and its size unless it has its own header."""
    for begin, end in spans:
        kind, length = struct.unpack_from("<4sI", data, begin)
        start, stop = begin + 8, min(end, begin + 8 + length)
        if kind == b"VP8L":
            yield start, stop, None
        elif kind == b"ALPH" and start < stop and data[start] & 3 == 1:
            yield start + 1, stop, size
        elif kind == b"ANMF" and stop - start > 16:
            frame = (1 + int.from_bytes(data[start + at : start + at + 3], "little") for at in (6, 9))
            yield from _lossless(data, list(_frame_chunks(data, start + 16, stop)), (next(frame), next(frame)))


def _frame_chunks(data: bytes, at: int, end: int) -> Iterator[Span]:
    """Yield the chunks of an animation's frame."""
    for _ in range(MOST_CHUNKS):
        if at + 8 > end:
            return
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield at, min(end, at + 8 + length)
        at += 8 + length + (length & 1)
    raise over_budget("WebP", f"it has more than {MOST_CHUNKS:,} chunks")


def _rebuild(data: bytes, chunks: _Chunks) -> bytes:
    """Return a WebP with only the chunks that the pixels of its first frame need."""
    body = bytearray(join(data, chunks.kept))
    body[8] &= ~_METADATA_FLAGS & 0xFF
    length = struct.pack("<I", _declared_length(data, chunks, len(body)))
    return b"RIFF" + length + b"WEBP" + bytes(body)


def _declared_length(data: bytes, chunks: _Chunks, length: int) -> int:
    """Return the length for the new file's header, which exceeds the file if the old one was truncated."""
    begin, end = chunks.kept[-1]
    size = int.from_bytes(data[begin + 4 : begin + 8], "little")
    return 4 + length + max(0, begin + 8 + size - end)
