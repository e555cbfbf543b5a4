"""Encoded bytes to an RGB image in bounded time and memory: the one place where images are opened."""

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
"""What is decoded, as Pillow names it; everything else is refused by content, whatever the file is called."""

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
"""Pixels that are converted at once: 1 MB in colour, and some copies."""

_NOISE: Final = b"".join(hashlib.sha256(bytes([i])).digest() for i in range(64)).replace(b"\xff", b"\x5a")
_END_MARK: Final = b"\xff\xd9"
_COMPARED_PIXELS: Final = 16_000_000

Size = tuple[int, int]
Used = TypeVar("Used")


def inspect(data: bytes, limits: Limits) -> Encoded:
    """Read an encoded image without decoding it.

    Raises:
        PictureFormatError: no accepted format, by content.
        PictureTooLargeError: over `limits`, or it would take too long to decode; nothing was allocated.
        PictureBrokenError: truncated or damaged, as far as that shows.
    """
    if not data:
        raise PictureFormatError(f"The file is empty; a {SPOKEN} picture is needed. Received: 0 bytes.")
    kind = accepted_kind(data)
    if kind is None:
        raise PictureFormatError(f"The file is not a {SPOKEN} picture that can be read. Received: {describe(data)}.")
    try:
        with gate().inspecting(len(data)):
            image = _INSPECT[kind](data, limits)
    except (LookupError, ValueError, OverflowError, struct.error) as error:
        raise broken(_SPOKEN_KINDS.get(kind, kind), "a senseless structure") from error
    require_memory(image, limits)
    return image


def verify(image: Encoded) -> None:
    """Decode all of an image at its lowest scale, to know that it can be used; raises what `decode_to` does."""
    with _room(image, (1, 1), _REDUCING_GAP), _explaining(image):
        _load(image, (1, 1))


def decode_to(image: Encoded, size: Size, gap: float = _REDUCING_GAP) -> Image.Image:
    """Decode an image, scale it to `size` and turn it upright; a square stays a square.

    JPEG is decoded at the smallest scale of 1/1, 1/2, 1/4 or 1/8 that is not under `size`, then resampled with
    Pillow's antialiased bilinear filter. Transparent parts become white. Before that filter, blocks of whole pixels are
    averaged, as long as more than `gap` times the size is left; a gap of 1 takes the least memory.

    Raises:
        PictureBrokenError: truncated or corrupt.
    """
    return decode_with(image, size, gap, lambda small: small)


def decode_with(image: Encoded, size: Size, gap: float, use: Callable[[Image.Image], Used]) -> Used:
    """Do what `decode_to` does, and give what `use` makes of it while its memory still counts as taken."""
    if gate().is_apart(_needed(image, size, gap)):
        # A large one: they are decoded one at a time.
        with gate().reserve(8 * size[0] * size[1], max(image.work, 2 * LARGE_WORK)):
            return use(_decode_apart(image, size, gap))
    with _room(image, size, gap), _explaining(image):
        # Turning what is small costs a tenth of turning the photograph.
        return use(_upright(*_shrink(_load(image, size), size, image, gap)))


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    transposition = _TRANSPOSITIONS.get(orientation)
    return image if transposition is None else image.transpose(transposition)


def _decode_apart(image: Encoded, size: Size, gap: float) -> Image.Image:
    limits = Limits(image.pixels, max(image.width, image.height), image.memory(1))
    small = decode_apart(image.data, limits, size, gap)
    # The other process has the bytes without metadata; an AVIF's own turn is in its container, and was done there.
    return _upright(small, 1 if image.kind == "AVIF" else read_orientation(image.exif, image.xmp))


def serve_one() -> None:
    """Decode the image that `decode_apart` asks for, in the process that it starts."""
    data, limits, size, gap = read_request()
    try:
        image = decode_to(inspect(data, limits), size, gap)
    except PictureError as error:
        write_error(error)
    else:
        write_image(image)


def largest_size(image: Encoded, longest: int, most_pixels: int, limits: Limits) -> Size:
    """Return the size at which an image is kept: halved until it has few enough pixels and fits into memory."""
    scale = 1
    while scale < 8 and (
        image.pixels > most_pixels * scale**2 or image.memory(scale) + 4 * image.pixels / scale**2 > limits.max_memory
    ):
        scale *= 2
    fitting = min(1.0, longest / max(image.width, image.height))
    width, height = (max(1, round(side * fitting)) for side in (image.width, image.height))
    return -(-width // scale), -(-height // scale)


def _room(image: Encoded, size: Size, gap: float) -> AbstractContextManager[None]:
    """Wait for the memory that decoding an image takes."""
    return gate().reserve(_needed(image, size, gap), image.work)


def _needed(image: Encoded, size: Size, gap: float) -> int:
    """Return the bytes that decoding an image takes, at the lowest scale of its format that is not under `size`."""
    ratio = min(8, max(1, min(image.width // size[0], image.height // size[1])))
    scale = 1 if image.is_open and image.has_scans else 1 << ratio.bit_length() - 1
    decoded = image.pixels / (scale**2 if image.is_scalable else 1)
    across, down = _factors((image.width, image.height), size, gap)
    converted = 0 if image.is_scalable else 4 * decoded / (across * down)
    return int(max(image.memory(scale), image.held * decoded + converted, 8 * size[0] * size[1]))


@contextmanager
def _explaining(image: Encoded) -> Iterator[None]:
    """Turn whatever Pillow raises in the block into an error that says what is wrong with the image."""
    try:
        yield
    except PictureError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever hostile bytes make them raise.
        raise broken(_SPOKEN_KINDS.get(image.kind, image.kind), str(error) or type(error).__name__) from error


def _load(image: Encoded, size: Size) -> Image.Image:
    if image.is_open:
        _require_complete(image, size)
        image = replace(image, data=image.data + _END_MARK)
    return _read(image, size)


def _read(image: Encoded, size: Size) -> Image.Image:
    # Not `Image.open`, which warns of sizes that the limits here allow.
    opened = _plugin(image.kind)(io.BytesIO(image.data))
    if opened.size != (image.width, image.height):
        raise broken(image.kind, f"{opened.width:,} x {opened.height:,} pixels in place of those of its header")
    if image.kind in ("WEBP", "AVIF"):
        return _read_frame(opened)
    opened.draft("RGB", size)
    opened.load()  # verify() would not notice a truncated file
    return opened


def _plugin(kind: str) -> Callable[[io.BytesIO], ImageFile]:
    """Return the reader of a format; those that few images need are loaded when one comes."""
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
    """Read the first frame without the copies that Pillow makes: they double what a WebP takes."""
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
        result.info["exif"] = exif  # an AVIF's own, which says how its container turns it
    return result


def _require_complete(image: Encoded, size: Size) -> None:
    """Check that a JPEG without its end mark has all its pixels: what stands behind them does not change them.

    A decoder makes pixels of whatever follows, if some are missing. Where they come in several passes, a missing part
    of the last one shows at full size only.
    """
    if image.has_scans:
        size = image.width, image.height
        if image.pixels > _COMPARED_PIXELS:
            raise broken("JPEG", "it has no end mark")
    tails = (_END_MARK, _NOISE + _END_MARK, _NOISE[::-1] + _END_MARK)
    if len({_digest(_read(replace(image, data=image.data + tail), size)) for tail in tails}) > 1:
        raise broken("JPEG", "it ends in its pixels")


def _digest(image: Image.Image) -> bytes:
    digest = hashlib.sha256()
    for strip, _ in _strips(image, 1):
        digest.update(strip.tobytes())
    return digest.digest()


def _shrink(image: Image.Image, size: Size, encoded: Encoded, gap: float) -> tuple[Image.Image, int]:
    """Convert to RGB and scale as `Image.resize` does with a reducing gap; returns that and the orientation.

    Where the image must be converted, it is so in strips. These begin where whole blocks of the reduction do, so the
    pixels are the same as in one piece.
    """
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
    """Return how many columns and rows become one before the filter, as `Image.resize` does with a reducing gap."""
    return int(size[0] / wanted[0] / gap) or 1, int(size[1] / wanted[1] / gap) or 1


def _strips(image: Image.Image, multiple: int) -> Iterator[tuple[Image.Image, int]]:
    """Yield strips of an image with the row that each begins at, a multiple of `multiple`."""
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width // multiple) * multiple
    for top in range(0, height, rows):
        yield image.crop((0, top, width, min(top + rows, height))), top


def _to_rgb(image: Image.Image) -> Image.Image:
    """Turn any mode into RGB: transparent parts on white, 16-bit grey scaled and not clipped."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
