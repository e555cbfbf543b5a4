"""How much memory the tables of a lossless WebP take, read from its bytes before they are decoded.

Each region of an image may name its own group of codes, up to 65,536 of them, and a decoder keeps tables of some 12 kB
for each. Which regions name which is itself a small image that stands before the pixels, behind those of the
transforms. These small images are parsed here; copies in them bring no new number of a group, so that they need not be
followed.

Source: https://datatracker.ietf.org/doc/html/rfc9649#name-specification
"""

from dataclasses import dataclass, field
from typing import Final

from catdog.data.images.encoded import broken, over_budget

_GROUP_BYTES: Final = 12_500
"""Bytes of the tables of a group at most, without a cache of colours."""

_LEAST_GROUP_BITS: Final = 20
"""Five codes, of four bits each at least."""

_UNSEEN_BYTES: Final = 4_000_000
"""What is too little to look for."""

_MOST_CODES: Final = 600_000
"""Most codes that are read. Encoders keep these images small: at 12 megapixels, up to 50,000 pixels each."""

_LENGTH_ORDER: Final = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
_REPEATS: Final = {16: (2, 3), 17: (3, 3), 18: (7, 11)}
"""Bits of the count, and what is added to it."""

_LITERALS, _COPIES = 256, 24
_OTHERS: Final = (256, 256, 256, 40)
"""Symbols for red, blue, opacity and distance."""

_WIDE: Final = 96
"""Bytes read at once."""

Code = tuple[list[int], int]
"""A table of `symbol << 4 | length` for the next bits, and how many these are."""


def tables_bytes(data: bytes, at: int, end: int, size: tuple[int, int] | None = None) -> int:
    """Return the bytes that a decoder needs for the codes of a lossless stream, at most.

    Args:
        data: holds the stream.
        at, end: where it begins and ends in there.
        size: of the image, where the stream has no header of its own: it is the transparency of another.

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
    """Numbers of any width, the lowest bit first."""

    data: bytes
    at: int
    end: int
    value: int = 0
    left: int = 0

    def take(self, width: int) -> int:
        if self.left < width:
            self.fill()
            if self.left < width:
                raise broken("WebP", "it ends in its header")
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
            raise broken("WebP", "it ends in its header")
        self.value >>= length
        self.left -= length
        return entry >> 4


@dataclass
class _Stream:
    bits: _Bits
    seen: set[int] = field(default_factory=set)
    codes: int = 0

    def groups(self, width: int, height: int) -> tuple[int, int]:
        """Return how many groups of codes the pixels have, at most, and how many colours are cached."""
        take = self.bits.take
        transforms = set()
        while take(1):
            kind = take(2)
            if kind in transforms:
                raise broken("WebP", "a transform twice")
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
        # A decoder makes all up to the highest, or, of many, those that are named.
        return (highest + 1 if (highest := max(self.seen)) < 1000 else len(self.seen)), cache

    def _read_cache(self) -> int:
        if not self.bits.take(1):
            return 0
        bits = self.bits.take(4)
        if not 1 <= bits <= 11:
            raise broken("WebP", "a senseless cache of colours")
        return 1 << bits

    def _read_image(self, width: int, height: int) -> None:
        """Parse one of the small images, and note which groups its pixels name."""
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
                raise over_budget("WebP", f"more than {_MOST_CODES:,} codes stand before its pixels")
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
                raise broken("WebP", "a senseless code")
            return _make_code(dict.fromkeys(named, 1))
        order = _LENGTH_ORDER[: take(4) + 4]
        lengths = {symbol: length for symbol in order if (length := take(3))}
        return _make_code(self._read_lengths(_make_code(lengths), symbols))

    def _read_lengths(self, code: Code, symbols: int) -> dict[int, int]:
        take, symbol = self.bits.take, self.bits.symbol
        left = symbols
        if take(1) and (left := 2 + take(2 + 2 * take(3))) > symbols:
            raise broken("WebP", "a senseless code")
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
                raise broken("WebP", "a senseless code")
            if length == 16:
                lengths.update(dict.fromkeys(range(at, at + count), last))
            at += count
        return lengths


def _make_code(lengths: dict[int, int]) -> Code:
    """Make the table of a canonical code from the length of each symbol's; a single symbol takes no bits."""
    if len(lengths) == 1:
        return [next(iter(lengths)) << 4], 0
    width = max(lengths.values(), default=0)
    if not lengths or sum(1 << width - length for length in lengths.values()) != 1 << width:
        raise broken("WebP", "a senseless code")
    table, at = [0] * (1 << width), 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        start = int(format(at >> width - length, f"0{length}b")[::-1], 2)
        table[start :: 1 << length] = [symbol << 4 | length] * (1 << width - length)
        at += 1 << width - length
    return table, width
