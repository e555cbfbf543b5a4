"""What an encoded image says before it is decoded: its size, what decoding costs, and the limits that it must keep.

The readers of each format (`jpeg`, `png`, `webp`, `avif`) make an `Encoded` from the bytes alone. They count markers,
chunks and scans, and leave metadata out of what the decoder gets: no decoder reads a profile, a text or EXIF.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from catdog.errors import PictureBrokenError, PictureTooLargeError

MOST_PIECES: Final = 4096
"""Most segments or chunks beside the pixels. An iPhone's photo has about 15, one with an extended XMP some hundreds."""

MOST_JUNK: Final = 64 * 1024
"""Most bytes between the segments of a JPEG that belong to none."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Limits:
    """What one image may cost.

    Attributes:
        max_pixels: pixels as stored.
        max_side: pixels of the longer side.
        max_memory: bytes that decoding may take at its peak. It sets the most pixels of each format: see
            `docs/performance.md`.
    """

    max_pixels: int = 64_000_000
    max_side: int = 16_384
    max_memory: int = 155_000_000


@dataclass(frozen=True)
class Encoded:
    """An encoded image that has been read but not decoded.

    Attributes:
        kind: the format, as Pillow names it.
        width, height: pixels as stored.
        data: the bytes for the decoder, without metadata.
        peak: bytes of memory for each pixel at the peak of decoding at full size.
        held: bytes for each pixel that the decoded image holds afterwards.
        buffers: bytes that decoding needs whatever its scale.
        work: nanoseconds that are spent on all pixels, whatever the scale; 0 where size alone decides.
        label: how errors name the image, such as "progressive JPEG".
        exif: a TIFF structure, with or without `Exif` and two zeros before it.
        xmp: an XMP packet.
        is_scalable: whether it can be decoded at 1/2, 1/4 and 1/8.
        is_open: whether its end mark is missing, so that only decoding tells if the pixels are complete.
        has_scans: whether the pixels come in several passes.
    """

    kind: str
    width: int
    height: int
    data: bytes = field(repr=False)
    peak: float
    held: float
    label: str
    buffers: int = 0
    work: float = 0
    exif: bytes | None = field(default=None, repr=False)
    xmp: bytes | None = field(default=None, repr=False)
    is_scalable: bool = False
    is_open: bool = False
    has_scans: bool = False

    @property
    def pixels(self) -> int:
        """Pixels as stored."""
        return self.width * self.height

    def memory(self, scale: int = 1) -> int:
        """Return the bytes that decoding takes at its peak, at 1/`scale` of the size if the format can."""
        if self.is_scalable:
            return self.buffers + int(self.peak * self.pixels / scale**2)
        return self.buffers + int(self.peak * self.pixels)


def require_size(width: int, height: int, limits: Limits) -> None:
    """Raise `PictureTooLargeError` if an image has more pixels than the limits allow, in all or on a side."""
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise PictureTooLargeError(
            f"The picture is too large; at most {limits.max_pixels:,} pixels and {limits.max_side:,} a side are "
            f"allowed (CATDOG_MAX_PIXELS, CATDOG_MAX_SIDE). Received: {width:,} x {height:,}."
        )


def require_memory(image: Encoded, limits: Limits) -> None:
    """Raise `PictureTooLargeError` if decoding an image takes more memory than the limits allow at any scale."""
    if (needed := image.memory(8)) > limits.max_memory:
        raise PictureTooLargeError(
            f"The {image.label} picture is too large: decoding its {image.width:,} x {image.height:,} pixels takes "
            f"{needed / 1e6:,.0f} MB of memory, and at most {limits.max_memory / 1e6:,.0f} MB are allowed "
            f"(CATDOG_MAX_DECODE_BYTES), about {image.pixels * limits.max_memory / needed / 1e6:,.0f} megapixels of "
            "this kind. Scale it down, or save it as an ordinary (baseline) JPEG."
        )


def broken(kind: str, why: str) -> PictureBrokenError:
    """Make the error of an image that cannot be decoded."""
    return PictureBrokenError(f"The {kind} picture cannot be decoded: it is truncated or damaged. Received: {why}.")


def over_budget(kind: str, what: str) -> PictureTooLargeError:
    """Make the error of an image that would take too long to decode, whatever it shows."""
    return PictureTooLargeError(
        f"The {kind} picture would take too long to decode: {what}. Save it anew with an image program."
    )


def join(data: bytes, spans: Sequence[Span]) -> bytes:
    """Join parts of an image, without copying where they are all of it."""
    merged: list[Span] = []
    for begin, end in spans:
        if merged and merged[-1][1] == begin:
            merged[-1] = merged[-1][0], end
        elif begin < end:
            merged.append((begin, end))
    if merged == [(0, len(data))]:
        return data
    view = memoryview(data)
    return b"".join([view[begin:end] for begin, end in merged])
