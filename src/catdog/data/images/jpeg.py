"""Structure and decoding cost of a JPEG, read without decoding it.

Sources: ITU-T T.81, annex B (markers); for the two costs of a progressive JPEG, memory and scans,
https://libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from catdog.data.images.encoded import (
    MOST_JUNK,
    MOST_PIECES,
    Encoded,
    Limits,
    Span,
    broken,
    join,
    over_budget,
    require_size,
)
from catdog.errors import PictureBrokenError, PictureError

MOST_SCANS: Final = 100
"""Maximum scans, as in libjpeg-turbo's own tools. Encoders write about 10; optimisers try up to 64."""

MOST_WORK: Final = 0.8e9
"""Maximum nanoseconds for all scans; the usual 10 scans of 48 megapixels take 0.2 s."""

_BLOCK_WORK: Final = 6.0
_REFINED_WORK: Final = 0.9
"""Nanoseconds for each 8 x 8 block that a scan visits, and for each coefficient it refines; measured on empty scans of
24 megapixels, 1.4 and 23 ms each."""

_PIXEL_WORK, _BYTE_WORK = 1.0, 8.0
"""Nanoseconds per pixel and per byte at any scale; measured on 12 and 64 megapixels."""

_TABLE_BYTES: Final = 64 * 1024
"""Maximum bytes of quantisation and Huffman tables in the header; decoders keep up to 4 kB."""

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_SOI, _EOI, _SOS, _DQT, _DHT, _APP0, _APP1, _APP14, _COM = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xE0, 0xE1, 0xEE, 0xFE
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES: Final = {0xC0: "JPEG", 0xC1: "JPEG", 0xC2: "progressive JPEG", 0xC9: "JPEG", 0xCA: "progressive JPEG"}
_OTHER_FRAMES: Final = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF})
_NO_PADDING: Final = re.compile(rb"[^\xff]")
_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_WINDOW: Final = 1 << 20
"""Bytes searched at once, while other threads wait."""


@dataclass
class _Frame:
    marker: int
    width: int
    height: int
    sampling: dict[int, tuple[int, int]]

    @property
    def is_progressive(self) -> bool:
        return self.marker in (0xC2, 0xCA)

    def blocks(self, component: int) -> int:
        """Return the number of 8 x 8 blocks of a component."""
        across, down = (max(s[i] for s in self.sampling.values()) for i in (0, 1))
        h, v = self.sampling[component]
        return -(-self.width * h // (across * 8)) * -(-self.height * v // (down * 8))


@dataclass
class _Scans:
    """Decoding cost of a JPEG's scans, and whether they contain all bits of all coefficients."""

    count: int = 0
    work: float = 0
    low_bits: dict[int, dict[int, int]] = field(default_factory=dict)

    def add(self, frame: _Frame, header: bytes) -> None:
        number = header[0]
        components = [header[1 + 2 * i] for i in range(number)]
        first, last, bits = header[1 + 2 * number : 4 + 2 * number]
        refined = last - first + 1 if frame.is_progressive and bits >> 4 else 0
        arithmetic = 10 if frame.marker >= 0xC9 else 1
        for component in components:
            blocks = frame.blocks(component)
            self.work += blocks * (_BLOCK_WORK + _REFINED_WORK * max(0, refined)) * arithmetic
            seen = self.low_bits.setdefault(component, {})
            seen.update(dict.fromkeys(range(first, min(last, 63) + 1), bits & 15))
        self.count += 1
        if self.count > MOST_SCANS:
            raise over_budget("JPEG", f"it has more than {MOST_SCANS} scans")
        if self.work > MOST_WORK:
            raise over_budget("JPEG", f"it has {self.count} scans or more of {frame.width:,} x {frame.height:,} pixels")

    def is_complete(self, frame: _Frame) -> bool:
        if not frame.is_progressive:
            return set(self.low_bits) == set(frame.sampling)
        return all(
            len(bits := self.low_bits.get(component, {})) == 64 and not any(bits.values())
            for component in frame.sampling
        )


@dataclass
class _Header:
    """The segments before the first scan: those the decoder needs, and the metadata."""

    frame: _Frame | None = None
    kept: list[Span] = field(default_factory=lambda: [(0, 2)])
    exif: bytes | None = None
    xmp: bytes | None = None
    tables: int = 0

    def take(self, data: bytes, marker: int, begin: int, end: int) -> None:
        """Keep a segment, or the metadata in it; `begin` is where its contents begin."""
        if marker == _APP1:
            self._read_metadata(data, begin, end)
        elif _APP0 <= marker <= 0xEF or marker == _COM:
            if marker == _APP0 or (marker == _APP14 and data.startswith(b"Adobe", begin)):
                self.kept.append((begin - 4, end))
        else:
            self._take_table(data, marker, begin, end)

    def _take_table(self, data: bytes, marker: int, begin: int, end: int) -> None:
        if marker in _FRAMES:
            if self.frame is not None:
                raise broken("JPEG", "more than one frame")
            self.frame = _read_frame(marker, data[begin:end])
        elif marker in _OTHER_FRAMES:
            raise PictureBrokenError(
                "Can't decode the JPEG image: it is lossless or hierarchical. Save it as a baseline JPEG."
            )
        elif marker in (_DQT, _DHT):
            self.tables += end - begin
            if self.tables > _TABLE_BYTES:
                raise over_budget("JPEG", f"its tables have more than {_TABLE_BYTES:,} bytes")
        self.kept.append((begin - 4, end))

    def _read_metadata(self, data: bytes, begin: int, end: int) -> None:
        if data.startswith(_EXIF, begin):
            # EXIF may span several segments; the orientation is in the first.
            self.exif = self.exif or data[begin:end]
        elif data.startswith(_XMP, begin):
            self.xmp = data[begin + len(_XMP) : end]


def inspect(data: bytes, limits: Limits) -> Encoded:
    """Read the header of a JPEG and those of its scans.

    Raises:
        PictureTooLargeError: it exceeds a limit, or would take too long to decode.
        PictureBrokenError: it is truncated, damaged, or of an unsupported process.
    """
    header = _Header()
    scan = _read_header(data, header)
    frame = header.frame
    if frame is None:
        raise broken("JPEG", "no frame before the scan")
    require_size(frame.width, frame.height, limits)
    scans = _Scans()
    try:
        scans.add(frame, data[scan + 2 : scan + _length(data, scan)])
        is_whole = not frame.is_progressive and data[scan + 2] == len(frame.sampling)
        after = scan + _length(data, scan)
        end = len(data) if is_whole and data.endswith(b"\xff\xd9") else _find_end(data, after, frame, scans)
    except (IndexError, ValueError, KeyError, struct.error) as error:
        raise broken("JPEG", "damaged scan") from error
    if is_open := end is None:
        if not is_whole and not scans.is_complete(frame):
            raise broken("JPEG", "it ends before its last scan")
        end = len(data.rstrip(b"\xff"))  # half an end mark
    first_end = data.find(b"\xff\xd9", after, end) if is_whole else -1
    _require_little_padding(data, after, end if first_end < 0 else first_end)
    header.kept.append((scan - 2, end))
    # Decoders keep all coefficients, 2 bytes each, until the last scan is read.
    coefficients = 0 if is_whole else sum(frame.blocks(component) for component in frame.sampling) * 128
    held = 1 if len(frame.sampling) == 1 else 4
    plain = _PIXEL_WORK * frame.width * frame.height + _BYTE_WORK * len(data)
    return Encoded(
        "JPEG",
        frame.width,
        frame.height,
        join(data, header.kept),
        peak=held,
        held=held,
        label=_FRAMES[frame.marker],
        buffers=coefficients,
        work=scans.work + plain,
        exif=header.exif,
        xmp=header.xmp,
        is_scalable=True,
        is_open=is_open,
        has_scans=not is_whole,
    )


def _read_header(data: bytes, header: _Header) -> int:
    """Read the segments before the first scan and return the position of its header's length."""
    try:
        for marker, at in _segments(data):
            if marker == _SOS:
                return at
            header.take(data, marker, at + 2, at + _length(data, at))
    except (IndexError, struct.error) as error:
        raise broken("JPEG", "its header is incomplete") from error
    raise broken("JPEG", "no pixels")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker that has a segment, up to the pixels, with the position of the segment's length."""
    at, junk, pieces = 2, 0, 0
    while True:
        begin = at
        if data[at] != 0xFF:
            at = data.find(b"\xff", at)
        found = _NO_PADDING.search(data, at) if at >= 0 else None
        if found is None:
            raise IndexError
        at = found.start() + 1
        junk += at - begin - 2
        if junk > MOST_JUNK:
            raise over_budget("JPEG", f"it has more than {MOST_JUNK:,} stray bytes between its segments")
        pieces += 1
        if pieces > MOST_PIECES:
            raise _too_many_pieces()
        marker = data[at - 1]
        if marker == _EOI:
            return
        if marker and marker not in _ALONE:
            yield marker, at
            at += _length(data, at)


def _length(data: bytes, at: int) -> int:
    length = int.from_bytes(data[at : at + 2], "big")
    if length < 2 or at + length > len(data):
        raise IndexError
    return length


def _read_frame(marker: int, body: bytes) -> _Frame:
    bits, height, width, number = struct.unpack_from(">BHHB", body)
    if bits != 8:
        raise PictureBrokenError(
            f"Can't decode the JPEG image: it has {bits} bits per channel, and only 8 are supported."
        )
    components = [body[6 + 3 * i : 9 + 3 * i] for i in range(number)]
    sampling = {c[0]: (c[1] >> 4, c[1] & 15) for c in components}
    if len(sampling) != number or number not in (1, 3, 4) or not width or not height:
        raise broken("JPEG", "invalid frame")
    if any(not 1 <= factor <= 4 for factors in sampling.values() for factor in factors):
        raise broken("JPEG", "invalid sampling factors")
    return _Frame(marker, width, height, sampling)


def _find_end(data: bytes, at: int, frame: _Frame, scans: _Scans) -> int | None:
    """Walk over the scans and return where the image ends; None if its end mark is missing."""
    pieces = 0
    while (at := _next_marker(data, at)) >= 0:
        marker = data[at + 1]
        at += 2
        if marker == _EOI:
            return at
        pieces += 1
        if pieces > MOST_PIECES:
            raise _too_many_pieces()
        if marker in _ALONE:
            continue
        if at + 2 > len(data):
            return None
        end = at + int.from_bytes(data[at : at + 2], "big")
        if marker == _SOS and end <= len(data):
            scans.add(frame, data[at + 2 : end])
        at = max(at + 2, end)
    return None


def _too_many_pieces() -> PictureError:
    return over_budget("JPEG", f"it has more than {MOST_PIECES:,} segments")


def _require_little_padding(data: bytes, begin: int, end: int) -> None:
    """Reject megabytes of padding among the pixels: Pillow rereads a block for every 64 kB."""
    if 2 * data.count(b"\xff\xff", begin, end) > MOST_JUNK:
        raise over_budget("JPEG", f"it has more than {MOST_JUNK:,} bytes of padding among its pixels")


def _next_marker(data: bytes, at: int) -> int:
    while at < len(data) - 1:
        if found := _MARKER.search(data, at, at + _WINDOW):
            return found.start()
        at += _WINDOW - 1
    return -1
