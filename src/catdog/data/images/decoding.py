"""Decoding of images to RGB in bounded time and memory."""

import hashlib
import io
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from catdog.data.images import avif, jpeg, png, webp
from catdog.data.images.apart import decode_apart, read_request, write_error, write_image
from catdog.data.images.content_types import accepted_kind, describe
from catdog.data.images.encoded import Encoded, Limits, broken, require_memory
from catdog.data.images.gate import LARGE_WORK, gate
from catdog.data.images.orientation import read_orientation
from catdog.errors import PictureError, PictureFormatError

FORMATS: Final = ("JPEG", "PNG", "WEBP", "AVIF")
"""Accepted formats as Pillow names them, detected by content."""

SPOKEN: Final = "JPEG, PNG, WebP or AVIF"

_INSPECT: Final[dict[str, Callable[[bytes, Limits], Encoded]]] = {
    "JPEG": jpeg.inspect,
    "PNG": png.inspect,
    "WEBP": webp.inspect,
    "AVIF": avif.inspect,
}
_SPOKEN_KINDS: Final = {"WEBP": "WebP"}
_TRANSPOSITIONS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_REDUCING_GAP: Final = 2.0
_STRIP_PIXELS: Final = 1 << 18
"""Pixels converted at once: 1 MB in colour, plus some copies."""

_NOISE: Final = b"".join(hashlib.sha256(bytes([i])).digest() for i in range(64)).replace(b"\xff", b"\x5a")
_END_MARK: Final = b"\xff\xd9"
_COMPARED_PIXELS: Final = 16_000_000

Size = tuple[int, int]
Used = TypeVar("Used")


def inspect(data: bytes, limits: Limits) -> Encoded:
    """Read the structure of an encoded image without decoding it.

    Raises:
        PictureFormatError: its content is of no accepted format.
        PictureTooLargeError: it exceeds `limits`, or would take too long to decode; nothing was allocated.
        PictureBrokenError: it is visibly truncated or damaged.
    """
    if not data:
        raise PictureFormatError(f"The file is empty. Use a {SPOKEN} image.")
    kind = accepted_kind(data)
    if kind is None:
        raise PictureFormatError(f"The file is not a {SPOKEN} image. It is {describe(data)}.")
    try:
        with gate().inspecting(len(data)):
            image = _INSPECT[kind](data, limits)
    except (LookupError, ValueError, OverflowError, struct.error) as error:
        raise broken(_SPOKEN_KINDS.get(kind, kind), "invalid structure") from error
    require_memory(image, limits)
    return image


def verify(image: Encoded) -> None:
    """Check an image by decoding it at its smallest scale; raises what `decode_to` does."""
    with _reserved_memory(image, (1, 1), _REDUCING_GAP), _pillow_errors(image):
        _load(image, (1, 1))


def decode_to(image: Encoded, size: Size, gap: float = _REDUCING_GAP) -> Image.Image:
    """Decode an image, scale it to `size` and turn it upright. Transparent parts become white.

    JPEG is decoded at the smallest scale of 1/1, 1/2, 1/4 or 1/8 that is not under `size`. Blocks of whole pixels are
    averaged down to `gap` times the size; a gap of 1 takes the least memory. Then Pillow's antialiased bilinear filter
    is applied.

    Raises:
        PictureBrokenError: it is truncated or corrupt.
    """
    return decode_with(image, size, gap, lambda small: small)


def decode_with(image: Encoded, size: Size, gap: float, use: Callable[[Image.Image], Used]) -> Used:
    """Decode an image like `decode_to`, and return the result of `use`, which runs before its memory is released."""
    if gate().is_apart(_needed_memory(image, size, gap)):
        # Large images are decoded one at a time.
        with gate().reserve(8 * size[0] * size[1], max(image.work, 2 * LARGE_WORK)):
            return use(_decode_apart(image, size, gap))
    with _reserved_memory(image, size, gap), _pillow_errors(image):
        # Rotating the scaled image costs a tenth of rotating the original.
        return use(_upright(*_shrink(_load(image, size), size, image, gap)))


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    transposition = _TRANSPOSITIONS.get(orientation)
    return image if transposition is None else image.transpose(transposition)


def _decode_apart(image: Encoded, size: Size, gap: float) -> Image.Image:
    limits = Limits(image.pixels, max(image.width, image.height), image.memory(1))
    small = decode_apart(image.data, limits, size, gap)
    # The other process gets no metadata. It has applied an AVIF's rotation, which is in the container.
    return _upright(small, 1 if image.kind == "AVIF" else read_orientation(image.exif, image.xmp))


def serve_one() -> None:
    """Decode one image for `decode_apart`, in the process it starts."""
    data, limits, size, gap = read_request()
    try:
        image = decode_to(inspect(data, limits), size, gap)
    except PictureError as error:
        write_error(error)
    else:
        write_image(image)


def largest_size(image: Encoded, longest: int, most_pixels: int, limits: Limits) -> Size:
    """Return the size at which an image is stored: halved until it fits the limits."""
    scale = 1
    while scale < 8 and (
        image.pixels > most_pixels * scale**2 or image.memory(scale) + 4 * image.pixels / scale**2 > limits.max_memory
    ):
        scale *= 2
    fitting = min(1.0, longest / max(image.width, image.height))
    width, height = (max(1, round(side * fitting)) for side in (image.width, image.height))
    return -(-width // scale), -(-height // scale)


def _reserved_memory(image: Encoded, size: Size, gap: float) -> AbstractContextManager[None]:
    """Reserve the memory for decoding an image."""
    return gate().reserve(_needed_memory(image, size, gap), image.work)


def _needed_memory(image: Encoded, size: Size, gap: float) -> int:
    """Return the bytes needed to decode an image at the smallest scale of its format that is not under `size`."""
    ratio = min(8, max(1, min(image.width // size[0], image.height // size[1])))
    scale = 1 if image.is_open and image.has_scans else 1 << ratio.bit_length() - 1
    decoded = image.pixels / (scale**2 if image.is_scalable else 1)
    across, down = _factors((image.width, image.height), size, gap)
    converted = 0 if image.is_scalable else 4 * decoded / (across * down)
    return int(max(image.memory(scale), image.held * decoded + converted, 8 * size[0] * size[1]))


@contextmanager
def _pillow_errors(image: Encoded) -> Iterator[None]:
    """Turn any error of Pillow in the block into a `PictureBrokenError`."""
    try:
        yield
    except PictureError:
        raise
    except Exception as error:  # hostile bytes can make Pillow's decoders raise anything
        raise broken(_SPOKEN_KINDS.get(image.kind, image.kind), str(error) or type(error).__name__) from error


def _load(image: Encoded, size: Size) -> Image.Image:
    if image.is_open:
        _require_complete(image, size)
        image = replace(image, data=image.data + _END_MARK)
    return _read(image, size)


def _read(image: Encoded, size: Size) -> Image.Image:
    # `Image.open` would warn of sizes that our limits allow.
    opened = _plugin(image.kind)(io.BytesIO(image.data))
    if opened.size != (image.width, image.height):
        raise broken(image.kind, f"it has {opened.width:,} x {opened.height:,} pixels, unlike its header")
    if image.kind in ("WEBP", "AVIF"):
        return _read_frame(opened)
    opened.draft("RGB", size)
    opened.load()  # verify() doesn't detect truncated files
    return opened


def _plugin(kind: str) -> Callable[[io.BytesIO], ImageFile]:
    """Return Pillow's reader of a format, importing rare ones on demand."""
    if kind == "JPEG":
        return JpegImageFile
    if kind == "PNG":
        return PngImageFile
    if kind == "WEBP":
        from PIL.WebPImagePlugin import WebPImageFile

        return WebPImageFile
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 2  # each takes memory
    return AvifImagePlugin.AvifImageFile


def _read_frame(opened: Any) -> Image.Image:
    """Read the first frame without Pillow's copies, which double the memory of a WebP."""
    decoder, mode, size, exif = opened._decoder, opened.mode, opened.size, opened.info.get("exif")
    is_webp = opened.format == "WEBP"
    raw = opened.rawmode if is_webp else mode
    opened._decoder = opened.fp = None
    frame = decoder.get_next() if is_webp else decoder.get_frame(0)
    del decoder, opened
    if frame is None:
        raise ValueError("no frame")
    make = Image.frombuffer if raw in ("RGBA", "RGBX") else Image.frombytes  # the former shares the bytes
    result = make(raw, size, frame[0], "raw", raw, 0, 1)
    if exif:
        result.info["exif"] = exif  # of an AVIF: the rotation in its container
    return result


def _require_complete(image: Encoded, size: Size) -> None:
    """Check that a JPEG without its end mark has all its pixels."""
    # If pixels are missing, decoders make some from the bytes that follow, so different tails give different pixels.
    if image.has_scans:  # a missing part of the last scan shows only at full size
        size = image.width, image.height
        if image.pixels > _COMPARED_PIXELS:
            raise broken("JPEG", "it has no end mark")
    tails = (_END_MARK, _NOISE + _END_MARK, _NOISE[::-1] + _END_MARK)
    if len({_digest(_read(replace(image, data=image.data + tail), size)) for tail in tails}) > 1:
        raise broken("JPEG", "its pixels are incomplete")


def _digest(image: Image.Image) -> bytes:
    digest = hashlib.sha256()
    for strip, _ in _strips(image, 1):
        digest.update(strip.tobytes())
    return digest.digest()


def _shrink(image: Image.Image, size: Size, encoded: Encoded, gap: float) -> tuple[Image.Image, int]:
    """Return an image in RGB, scaled like `Image.resize` with a reducing gap, and its orientation."""
    # Conversion is done in strips that begin at whole blocks of the reduction, which gives the same pixels.
    orientation = read_orientation(encoded.exif or image.info.get("exif"), encoded.xmp)
    if image.mode in ("RGB", "RGBX") and "transparency" not in image.info:
        if image.size != size:
            image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=gap)
        return (image if image.mode == "RGB" else image.convert("RGB")), orientation
    across, down = _factors(image.size, size, gap)
    width, height = image.size
    reduced = Image.new("RGB", (-(-width // across), -(-height // down)))
    for strip, top in _strips(image, down):
        converted = _to_rgb(strip)
        reduced.paste(converted if across == down == 1 else converted.reduce((across, down)), (0, top // down))
    del image, strip, converted
    if reduced.size != size or (across, down) != (1, 1):
        reduced = reduced.resize(size, Image.Resampling.BILINEAR, (0, 0, width / across, height / down))
    return reduced, orientation


def _factors(size: Size, wanted: Size, gap: float) -> Size:
    """Return how many columns and rows are averaged into one, as in `Image.resize` with a reducing gap."""
    return int(size[0] / wanted[0] / gap) or 1, int(size[1] / wanted[1] / gap) or 1


def _strips(image: Image.Image, multiple: int) -> Iterator[tuple[Image.Image, int]]:
    """Yield strips of an image, each with its first row, a multiple of `multiple`."""
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width // multiple) * multiple
    for top in range(0, height, rows):
        yield image.crop((0, top, width, min(top + rows, height))), top


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: transparent parts on white, 16-bit grey scaled instead of clipped."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
