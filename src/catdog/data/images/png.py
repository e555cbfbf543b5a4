"""Structure and decoding cost of a PNG, read without decoding it.

Source: https://www.w3.org/TR/png-3/
"""

import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

from catdog.data.images.encoded import MOST_PIECES, Encoded, Limits, Span, broken, join, over_budget, require_size
from catdog.data.images.orientation import read_raw_profile

MOST_PIXEL_CHUNKS: Final = 16_384
"""Maximum chunks of pixels: 134 MB at libpng's 8 KiB each."""

_SIGNATURE: Final = 8
_HEADER: Final = 33
_STRIPS: Final = 0.5
"""Bytes per pixel for the reduced copy."""

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST_RATIO: Final = 1032
"""Maximum compression ratio (https://zlib.net/zlib_tech.html)."""

_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")
_MOST_TEXT: Final = 1 << 20
"""Maximum bytes decompressed from a text that may contain the orientation."""

_MODES: Final = {0: "grey", 2: "colour", 3: "palette", 4: "grey with transparency", 6: "colour with transparency"}


Text = tuple[bytes, bytes]
"""A chunk's type and stored contents. Of several with one name, the last is used, as in Pillow."""


@dataclass
class _Chunks:
    """The chunks of a PNG that are used."""

    before: list[Span] = field(default_factory=lambda: [(0, _HEADER)])
    pixels: list[Span] = field(default_factory=list)
    texts: dict[bytes, Text] = field(default_factory=dict)
    exif: Text | None = None
    others: int = 0
    end: int = 0

    def read_exif(self) -> bytes | None:
        """Return EXIF from its own chunk, or from ImageMagick's text."""
        if self.exif is not None and (exif := _read_text(self.exif)):
            return exif
        profile = self.texts.get(b"Raw profile type exif")
        return read_raw_profile(_read_text(profile)) if profile else None

    def read_xmp(self) -> bytes | None:
        """Return the XMP packet."""
        packet = self.texts.get(b"XML:com.adobe.xmp")
        return _read_text(packet) if packet else None


def inspect(data: bytes, limits: Limits) -> Encoded:
    """Read the chunks of a PNG.

    Raises:
        PictureTooLargeError: it exceeds a limit, or would take too long to decode.
        PictureBrokenError: it is truncated or damaged.
    """
    if data[8:16] != b"\0\0\0\rIHDR" or len(data) < _HEADER:
        raise broken("PNG", "no header")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if not width or not height or colour not in _MODES:
        raise broken("PNG", "invalid header")
    require_size(width, height, limits)
    chunks = _read(data)
    if not chunks.pixels:
        raise broken("PNG", "no pixels")
    packed = sum(end - begin for begin, end in chunks.pixels)
    if width * height * depth * _CHANNELS[colour] // 8 > _MOST_RATIO * packed:
        raise broken("PNG", "its pixels are incomplete")
    held = (2 if depth == 16 else 1) if colour in (0, 3) else 4
    label = f"PNG ({_MODES[colour]}{', 16 bits per channel' if depth == 16 else ''})"
    return Encoded(
        "PNG", width, height, _rebuild(data, chunks), held + _STRIPS, held, label,
        exif=chunks.read_exif(), xmp=chunks.read_xmp(),
    )  # fmt: skip


def _read(data: bytes) -> _Chunks:
    found = _Chunks()
    at, is_behind = _SIGNATURE, False
    size = len(data)
    while at + 8 <= size:
        length, kind = struct.unpack_from(">I4s", data, at)
        begin, at = at, at + 12 + length
        if kind == b"IDAT":
            if not is_behind:
                found.pixels.append((begin, min(at, size)))
                found.end = min(at, size)
                if len(found.pixels) > MOST_PIXEL_CHUNKS:
                    raise over_budget("PNG", f"it has more than {MOST_PIXEL_CHUNKS:,} chunks of pixels")
                continue
        elif not kind.isalpha() and not found.pixels:
            raise broken("PNG", "invalid chunk")
        elif kind == b"IEND" or not kind.isalpha():
            break
        is_behind = bool(found.pixels)
        found.others += 1
        if found.others > MOST_PIECES:
            raise over_budget("PNG", f"it has more than {MOST_PIECES:,} chunks besides its pixels")
        _keep_chunk(data, kind, begin, begin + 8 + length, found)
    return found


def _keep_chunk(data: bytes, kind: bytes, begin: int, end: int, found: _Chunks) -> None:
    if kind in (b"PLTE", b"tRNS"):
        if end - begin > 8 + 768:
            raise broken("PNG", f"a {kind.decode()} chunk of {end - begin - 8:,} bytes")
        if not found.pixels:
            found.before.append((begin, end + 4))
    elif kind == b"eXIf":
        found.exif = kind, data[begin + 8 : end]
    elif kind in _TEXTS:
        _keep_text(kind, data, begin + 8, end, found)


def _keep_text(kind: bytes, data: bytes, begin: int, end: int, found: _Chunks) -> None:
    """Keep a text that may contain the orientation, and ignore others."""
    name, separator, _ = data[begin : min(end, begin + 80)].partition(b"\0")
    if not separator or name not in (b"Raw profile type exif", b"XML:com.adobe.xmp", b"exif"):
        return
    at = begin + len(name) + 1
    text = kind, data[at : min(end, at + _MOST_TEXT)]
    if name == b"exif":
        found.exif = text
    else:
        found.texts[name] = text


def _read_text(given: Text) -> bytes:
    kind, text = given
    if kind == b"zTXt":
        return _decompress(text[1:])
    if kind == b"iTXt":
        is_packed, inner = text[:1] == b"\1", text[2:].split(b"\0", 2)[-1]
        return _decompress(inner) if is_packed else inner
    return text


def _decompress(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, _MOST_TEXT)
    except zlib.error:
        return b""


def _rebuild(data: bytes, chunks: _Chunks) -> bytes:
    """Return a PNG with only the chunks its pixels need, joined, as Pillow reads each chunk in Python."""
    if len(chunks.pixels) < 16:
        is_ended = data.startswith(_END, chunks.end)
        spans = [*chunks.before, *chunks.pixels, *([(chunks.end, chunks.end + len(_END))] if is_ended else [])]
        return join(data, spans)
    view = memoryview(data)
    contents = [view[begin + 8 : min(begin + 8 + _length(data, begin), len(data))] for begin, _ in chunks.pixels]
    start = struct.pack(">I", sum(map(len, contents))) + b"IDAT"
    # The checksum of pixel chunks isn't checked, as zlib has its own.
    return b"".join([*(view[begin:end] for begin, end in chunks.before), start, *contents, bytes(4), _END])


def _length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
