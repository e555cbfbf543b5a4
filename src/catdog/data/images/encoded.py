"""Size and decoding cost of an encoded image, and the limits on them.

The readers of each format (`jpeg`, `png`, `webp`, `avif`) make an `Encoded` from the bytes alone. They count markers,
chunks and scans, and strip metadata, so no decoder reads a profile, a text or EXIF.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from catdog.errors import PictureBrokenError, PictureTooLargeError

MOST_PIECES: Final = 4096
"""Maximum segments or chunks besides the pixels. An iPhone photo has about 15, with extended XMP some hundreds."""

MOST_JUNK: Final = 64 * 1024
"""Maximum bytes between the segments of a JPEG."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Limits:
    """Limits per image.

    Attributes:
        max_pixels: maximum pixels as stored.
        max_side: maximum pixels of the longer side.
        max_memory: maximum bytes for decoding, which limits the pixels of each format; see `docs/performance.md`.
    """

    max_pixels: int = 64_000_000
    max_side: int = 16_384
    max_memory: int = 155_000_000


@dataclass(frozen=True)
class Encoded:
    """An encoded image, read but not decoded.

    Attributes:
        kind: the format, as Pillow names it.
        width, height: pixels as stored.
        data: the bytes for the decoder, without metadata.
        peak: peak memory of decoding at full size, in bytes per pixel.
        held: memory of the decoded image, in bytes per pixel.
        buffers: bytes needed for decoding at any scale.
        work: nanoseconds spent on all pixels at any scale; 0 if only the size matters.
        label: name of the kind in errors, such as "progressive JPEG".
        exif: a TIFF structure, with or without `Exif` and two zeros before it.
        xmp: an XMP packet.
        is_scalable: whether it can be decoded at 1/2, 1/4 and 1/8.
        is_open: whether its end mark is missing; only decoding then shows if the pixels are complete.
        has_scans: whether the pixels are in several scans.
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
        """Return the peak memory of decoding in bytes, at 1/`scale` of the size if the format supports it."""
        if self.is_scalable:
            return self.buffers + int(self.peak * self.pixels / scale**2)
        return self.buffers + int(self.peak * self.pixels)


def require_size(width: int, height: int, limits: Limits) -> None:
    """Raise `PictureTooLargeError` if an image exceeds the limits of pixels or of a side."""
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise PictureTooLargeError(
            f"The image is too large: it has {width:,} x {height:,} pixels. The maximum is {limits.max_pixels:,}, and "
            f"{limits.max_side:,} per side (CATDOG_MAX_PIXELS, CATDOG_MAX_SIDE)."
        )


def require_memory(image: Encoded, limits: Limits) -> None:
    """Raise `PictureTooLargeError` if decoding an image at its smallest scale takes too much memory."""
    if (needed := image.memory(8)) > limits.max_memory:
        raise PictureTooLargeError(
            f"The {image.label} image is too large: decoding its {image.width:,} x {image.height:,} pixels takes "
            f"{needed / 1e6:,.0f} MB of memory. The maximum is {limits.max_memory / 1e6:,.0f} MB "
            f"(CATDOG_MAX_DECODE_BYTES), about {image.pixels * limits.max_memory / needed / 1e6:,.0f} megapixels of "
            "this kind. Scale it down, or save it as a baseline JPEG."
        )


def broken(kind: str, why: str) -> PictureBrokenError:
    """Return the error for an image that can't be decoded."""
    return PictureBrokenError(f"Can't decode the {kind} image: it is truncated or damaged ({why}).")


def over_budget(kind: str, what: str) -> PictureTooLargeError:
    """Return the error for an image that would take too long to decode."""
    return PictureTooLargeError(f"The {kind} image would take too long to decode: {what}. Save it again in an editor.")


def join(data: bytes, spans: Sequence[Span]) -> bytes:
    """Return the joined parts of an image; if they are all of it, without copying."""
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
