"""Memory for the code tables of a lossless WebP, computed without decoding it.

Each region of an image may use its own group of codes, up to 65,536 in all, and decoders keep tables of about 12 kB per
group. The groups of all regions are stored as a small image before the pixels, after those of the transforms. These
small images are parsed here. Their back-references need not be followed, as they add no new group.

Source: https://datatracker.ietf.org/doc/html/rfc9649#name-specification
"""

from dataclasses import dataclass, field
from typing import Final

from catdog.data.images.encoded import broken, over_budget

_GROUP_BYTES: Final = 12_500
"""Maximum bytes of a group's tables, without a colour cache."""

_LEAST_GROUP_BITS: Final = 20
"""Five codes of at least four bits each."""

_UNSEEN_BYTES: Final = 4_000_000
"""Tables up to this size are not counted exactly."""

_MOST_CODES: Final = 600_000
"""Maximum codes read. Encoders keep these images small: at 12 megapixels, up to 50,000 pixels each."""

_LENGTH_ORDER: Final = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
_REPEATS: Final = {16: (2, 3), 17: (3, 3), 18: (7, 11)}
"""Bits of the count, and its minimum."""

_LITERALS, _COPIES = 256, 24
_OTHERS: Final = (256, 256, 256, 40)
"""Symbols for red, blue, opacity and distance."""

_WIDE: Final = 96
"""Bytes read at once."""

Code = tuple[list[int], int]
"""A table of `symbol << 4 | length` indexed by the next bits, and the number of these bits."""


def tables_bytes(data: bytes, at: int, end: int, size: tuple[int, int] | None = None) -> int:
    """Return an upper bound of the bytes a decoder needs for the codes of a lossless stream.

    Args:
        data: contains the stream.
        at, end: its begin and end.
        size: of the image, if the stream has no header, as with the transparency of a lossy image.

    Raises:
        PictureTooLargeError: it would take too long to read.
        PictureBrokenError: the stream is damaged.
    """
    bits = _Bits(data, at, min(end, len(data)))
    if size is None:
        bits.take(8)
        size = bits.take(14) + 1, bits.take(14) + 1
        bits.take(4)
    most = min(65_536, _blocks(size[0], 2) * _blocks(size[1], 2), (end - at) * 8 // _LEAST_GROUP_BITS)
    if most * _GROUP_BYTES <= _UNSEEN_BYTES:
        return most * _GROUP_BYTES
    groups, cache = _Stream(bits).groups(*size)
    return groups * (_GROUP_BYTES + 4 * cache)


def _blocks(side: int, bits: int) -> int:
    return -(-side // (1 << bits))


@dataclass
class _Bits:
    """Reader of numbers of any width, lowest bit first."""

    data: bytes
    at: int
    end: int
    value: int = 0
    left: int = 0

    def take(self, width: int) -> int:
        if self.left < width:
            self.fill()
            if self.left < width:
                raise broken("WebP", "its header is incomplete")
        found = self.value & (1 << width) - 1
        self.value >>= width
        self.left -= width
        return found

    def fill(self) -> None:
        part = self.data[self.at : min(self.end, self.at + _WIDE)]
        self.at += len(part)
        self.value |= int.from_bytes(part, "little") << self.left
        self.left += 8 * len(part)

    def symbol(self, code: Code) -> int:
        table, width = code
        if self.left < width:
            self.fill()
        entry = table[self.value & (1 << width) - 1]
        length = entry & 15
        if length > self.left:
            raise broken("WebP", "its header is incomplete")
        self.value >>= length
        self.left -= length
        return entry >> 4


@dataclass
class _Stream:
    bits: _Bits
    seen: set[int] = field(default_factory=set)
    codes: int = 0

    def groups(self, width: int, height: int) -> tuple[int, int]:
        """Return the maximum number of code groups of the pixels, and the size of the colour cache."""
        take = self.bits.take
        transforms = set()
        while take(1):
            kind = take(2)
            if kind in transforms:
                raise broken("WebP", "repeated transform")
            transforms.add(kind)
            if kind in (0, 1):  # prediction, and colours from colours
                bits = take(3) + 2
                self._read_image(_blocks(width, bits), _blocks(height, bits))
            elif kind == 3:  # a palette
                colours = take(8) + 1
                self._read_image(colours, 1)
                width = _blocks(width, 0 if colours > 16 else 1 if colours > 4 else 2 if colours > 2 else 3)
        cache = self._read_cache()
        if not take(1):
            return 1, cache
        bits = take(3) + 2
        self.seen = {0}
        self._read_image(_blocks(width, bits), _blocks(height, bits))
        # Decoders create all groups up to the highest or, if that is 1,000 or more, only those in use.
        return (highest + 1 if (highest := max(self.seen)) < 1000 else len(self.seen)), cache

    def _read_cache(self) -> int:
        if not self.bits.take(1):
            return 0
        bits = self.bits.take(4)
        if not 1 <= bits <= 11:
            raise broken("WebP", "invalid colour cache")
        return 1 << bits

    def _read_image(self, width: int, height: int) -> None:
        """Parse one of the small images and note the groups in it."""
        symbol = self.bits.symbol
        cache = self._read_cache()
        green, red, blue, opacity, distance = (
            self._read_code(size) for size in (_LITERALS + _COPIES + cache, *_OTHERS)
        )
        left, seen = width * height, self.seen
        if not (green[1] or red[1] or blue[1] or opacity[1]) and green[0][0] >> 4 < _LITERALS:
            seen.add((red[0][0] >> 4) << 8 | green[0][0] >> 4)
            return
        budget = _MOST_CODES - self.codes
        while left > 0:
            if (budget := budget - 4) < 0:
                raise over_budget("WebP", f"it has more than {_MOST_CODES:,} codes before its pixels")
            value = symbol(green)
            if value < _LITERALS:
                seen.add(symbol(red) << 8 | value)
                symbol(blue)
                symbol(opacity)
                left -= 1
            elif value < _LITERALS + _COPIES:
                left -= self._read_length(value - _LITERALS)
                self._read_length(symbol(distance))
            else:
                left -= 1
        self.codes = _MOST_CODES - budget

    def _read_length(self, value: int) -> int:
        if value < 4:
            return value + 1
        extra = value - 2 >> 1
        return (2 + (value & 1) << extra) + self.bits.take(extra) + 1

    def _read_code(self, symbols: int) -> Code:
        take = self.bits.take
        if take(1):
            two, is_wide = take(1), take(1)
            named = [take(8 if is_wide else 1)] + ([take(8)] if two else [])
            if max(named) >= symbols:
                raise broken("WebP", "invalid code")
            return _make_code(dict.fromkeys(named, 1))
        order = _LENGTH_ORDER[: take(4) + 4]
        lengths = {symbol: length for symbol in order if (length := take(3))}
        return _make_code(self._read_lengths(_make_code(lengths), symbols))

    def _read_lengths(self, code: Code, symbols: int) -> dict[int, int]:
        take, symbol = self.bits.take, self.bits.symbol
        left = symbols
        if take(1) and (left := 2 + take(2 + 2 * take(3))) > symbols:
            raise broken("WebP", "invalid code")
        lengths, at, last = {}, 0, 8
        while at < symbols and left:
            left -= 1
            length = symbol(code)
            if length < 16:
                if length:
                    lengths[at] = last = length
                at += 1
                continue
            width, least = _REPEATS[length]
            count = take(width) + least
            if at + count > symbols:
                raise broken("WebP", "invalid code")
            if length == 16:
                lengths.update(dict.fromkeys(range(at, at + count), last))
            at += count
        return lengths


def _make_code(lengths: dict[int, int]) -> Code:
    """Return the table of a canonical code from each symbol's length; a single symbol takes no bits."""
    if len(lengths) == 1:
        return [next(iter(lengths)) << 4], 0
    width = max(lengths.values(), default=0)
    if not lengths or sum(1 << width - length for length in lengths.values()) != 1 << width:
        raise broken("WebP", "invalid code")
    table, at = [0] * (1 << width), 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        start = int(format(at >> width - length, f"0{length}b")[::-1], 2)
        table[start :: 1 << length] = [symbol << 4 | length] * (1 << width - length)
        at += 1 << width - length
    return table, width
