"""Structure and decoding cost of an AVIF, read without decoding it.

An item is an AV1 stream, in which a few bytes can declare any number of hidden frames of any size. So the units of each
item are counted, and the size is also read from the sequence header.

Sources: https://aomediacodec.github.io/av1-avif/ and https://aomediacodec.github.io/av1-spec/ (5.3 to 5.5)
"""

import re
import struct
from collections.abc import Iterator
from typing import Final

from catdog.data.images.encoded import Encoded, Limits, broken, over_budget, require_size

MOST_ITEMS: Final = 512
"""Maximum items per file: a grid has up to 256 tiles, each with its transparency."""

MOST_UNITS: Final = 8192
"""Maximum units of all items, which have about 3 each. Also the maximum number of extents."""

MOST_FRAMES: Final = 4
"""Maximum frames per item: the layers of a progressive one."""

_OPAQUE, _TRANSPARENT = 7.0, 10.0
"""Bytes per pixel for RGB or RGBA, a copy, and buffers."""

_SUBSAMPLED, _FULL = 3.0, 6.0
"""Bytes per pixel for the planes at more than 8 bits, with 4:2:0 or 4:4:4 chroma."""

_WORST_AREA: Final = 4.5
"""Maximum pixels of all frames relative to the image: two layers with transparency, and tiles over the edge."""

Box = tuple[bytes, int, int]
_LARGE: Final = 1 << 40


def inspect(data: bytes, limits: Limits) -> Encoded:
    """Read the boxes of an AVIF.

    Raises:
        PictureTooLargeError: it exceeds a limit, or would take too long to decode.
        PictureBrokenError: it is truncated or damaged.
    """
    try:
        return _inspect(data, limits)
    except (struct.error, IndexError, KeyError, ValueError, OverflowError) as error:
        raise broken("AVIF", "damaged boxes") from error


def _inspect(data: bytes, limits: Limits) -> Encoded:
    begin, end = _within(data, (0, len(data)), b"meta")
    inner = {kind: (start, stop) for kind, start, stop in _boxes(data, begin + 4, end)}
    if not {b"iloc", b"iinf", b"iprp"} <= set(inner):
        raise broken("AVIF", "no still image")
    sizes = [
        struct.unpack_from(">II", data, begin + 4)
        for kind, begin, _ in _boxes(data, *_within(data, inner[b"iprp"], b"ipco"))
        if kind == b"ispe"
    ]
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    if not width or not height:
        raise broken("AVIF", "invalid header")
    require_size(width, height, limits)
    kinds = _read_kinds(data, *inner[b"iinf"])
    area, planes, units = 0, _SUBSAMPLED, 0
    for number, payload in _read_items(data, inner):
        if kinds.get(number) == b"av01":
            pixels, profile, units = _measure(payload, units)
            area += pixels
            planes = _FULL if profile else planes
            if area > _WORST_AREA * width * height + 3_000_000:
                raise over_budget("AVIF", f"its frames have more pixels than an image of {width:,} x {height:,} needs")
    begin, end = inner[b"iinf"]
    # Of an animation, the still image is used. EXIF is removed, as the container has the rotation.
    plain = b"".join([data[:8], b"avif", data[12:begin], data[begin:end].replace(b"Exif", b"skip"), data[end:]])
    xmp = re.search(rb"tiff:Orientation(?:=\"|>)[0-9]", data)
    return Encoded(
        "AVIF",
        width,
        height,
        plain,
        planes + (_TRANSPARENT if b"auxC" in data else _OPAQUE),
        4,
        "AVIF",
        buffers=2 * len(data),
        xmp=xmp[0] if xmp else None,
    )


def _boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    """Yield each box in a range: its type, and where its contents begin and end."""
    count = 0
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, begin)
            begin += 8
        stop = end if length == 0 else at + length
        if stop < begin or stop > end:
            stop = end
        count += 1
        if count > 4 * MOST_ITEMS:
            raise over_budget("AVIF", f"it has more than {4 * MOST_ITEMS:,} boxes")
        yield kind, begin, stop
        at = stop


def _within(data: bytes, parent: tuple[int, int], kind: bytes) -> tuple[int, int]:
    for found, begin, end in _boxes(data, *parent):
        if found == kind:
            return begin, end
    raise KeyError(kind)


def _read_kinds(data: bytes, begin: int, end: int) -> dict[int, bytes]:
    """Return each item's type by number."""
    at = begin + (6 if data[begin] == 0 else 8)
    kinds = {}
    for kind, start, _ in _boxes(data, at, end):
        if kind == b"infe":
            width = 4 if data[start] == 3 else 2
            number = int.from_bytes(data[start + 4 : start + 4 + width], "big")
            kinds[number] = data[start + 6 + width : start + 10 + width]
    return kinds


class _Fields:
    """Reader of consecutive big-endian numbers of any width."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self._at, self._end = data, at, end

    def take(self, width: int) -> int:
        if self._at + width > self._end:
            raise IndexError
        self._at += width
        return int.from_bytes(self._data[self._at - width : self._at], "big")


def _read_items(data: bytes, inner: dict[bytes, tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """Yield each item's number and bytes."""
    begin, end = inner[b"iloc"]
    version = data[begin]
    fields = _Fields(data, begin + 4, end)
    sizes = fields.take(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in (1, 2) else 0
    count = fields.take(4 if version == 2 else 2)
    if count > MOST_ITEMS:
        raise over_budget("AVIF", f"it has more than {MOST_ITEMS} items")
    total = all_parts = 0
    for _ in range(count):
        number = fields.take(4 if version == 2 else 2)
        method = fields.take(2) & 15 if version in (1, 2) else 0
        fields.take(2)
        base = fields.take(base_size)
        start = base + (inner[b"idat"][0] if method == 1 else 0)
        parts = []
        number_of_parts = fields.take(2)
        all_parts += number_of_parts
        if all_parts > MOST_UNITS:
            raise over_budget("AVIF", f"its items have more than {MOST_UNITS:,} parts")
        for _ in range(number_of_parts):
            fields.take(index_size)
            offset, length = fields.take(offset_size), fields.take(length_size)
            part = data[start + offset : start + offset + (length or _LARGE)]
            total += len(part) + 64
            if total > 2 * len(data) + 100_000:
                raise over_budget("AVIF", "its items share bytes")
            parts.append(part)
        yield number, b"".join(parts)


def _measure(payload: bytes, units: int) -> tuple[int, int, int]:
    """Return the pixels of all frames of an item, its profile (0 for subsampled chroma), and the units so far."""
    at, frames, largest, profile = 0, 0, 0, 0
    while at < len(payload):
        head = payload[at]
        kind, has_extension, has_size = head >> 3 & 15, head >> 2 & 1, head >> 1 & 1
        at += 1 + has_extension
        size = len(payload) - at
        if has_size:
            size, at = _leb128(payload, at)
        if kind == 1:
            profile = max(profile, payload[at] >> 5)
            largest = max(largest, _sequence_area(payload[at : at + min(size, 64)]))
        frames += kind in (3, 6)
        units += 1
        if units > MOST_UNITS:
            raise over_budget("AVIF", f"it has more than {MOST_UNITS:,} units")
        if frames > MOST_FRAMES:
            raise over_budget("AVIF", f"an item has more than {MOST_FRAMES} frames")
        at += size
    return frames * largest, profile, units


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 56, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError


def _sequence_area(header: bytes) -> int:
    """Return the pixels of the largest frame from a sequence header."""
    bits = int.from_bytes(header.ljust(64, b"\0"), "big")
    at = 0

    def take(width: int) -> int:
        nonlocal at
        at += width
        return bits >> 512 - at & (1 << width) - 1

    take(4)  # the profile, and whether it is a still
    if take(1):  # a reduced header
        take(5)
    else:
        if take(1):
            raise over_budget("AVIF", "its still image has video timing")
        has_delay = take(1)
        for _ in range(take(5) + 1):
            take(12)
            if take(5) > 7:
                take(1)
            if has_delay and take(1):
                take(4)
    across, down = take(4) + 1, take(4) + 1
    return (take(across) + 1) * (take(down) + 1)
