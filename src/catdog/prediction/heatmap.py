"""Draws a heat map: as a layer for the page, or over the image."""

from typing import Final

import numpy as np
from PIL import Image, ImageEnhance

from catdog.data.images.encoded import Limits
from catdog.data.images.pixels import decode_upright, encode, read_picture
from catdog.prediction.predictor import Source
from catdog.prediction.similar import Floats

OVERLAY_SIDE: Final = 1024
"""Maximum longer side of an overlay in pixels."""


_COLOURS: Final = np.array([(72, 12, 104), (150, 30, 110), (222, 65, 70), (250, 145, 30), (255, 236, 130)], np.float32)
"""From cold to hot, evenly spaced, increasing in brightness, so the order is visible in grey too."""


def render_heat_map(heat_map: Floats, size: tuple[int, int]) -> bytes:
    """Draw a heat map as a layer for an image.

    Args:
        heat_map: `(rows, columns) float32 in [0, 1]`.
        size: width and height in pixels.

    Returns:
        A PNG, transparent at 0 and opaque at 1.
    """
    return encode(_paint(heat_map, size), "PNG")


def overlay(image: Source, heat_map: Floats, opacity: float = 0.5, limits: Limits = Limits()) -> bytes:
    """Draw a heat map over an upright image of at most 1,024 pixels per side.

    Args:
        image: bytes or a path.
        heat_map: `(rows, columns) float32 in [0, 1]`.
        opacity: of the hottest position, in [0, 1].
        limits: of the image.

    Returns:
        A JPEG.

    Raises:
        PictureError: the image can't be used; says why.
        ValueError: the opacity is out of range.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in [0, 1], got {opacity}")
    ground = Image.fromarray(decode_upright(read_picture(image), OVERLAY_SIDE, limits))
    # Desaturated, or orange fur would look like heat.
    ground = ImageEnhance.Color(ground).enhance(1 - opacity)
    heat = _paint(heat_map, ground.size)
    ground.paste(heat, mask=heat.getchannel("A").point(lambda alpha: alpha * opacity))
    return encode(ground, "JPEG", quality=90)


def _paint(heat_map: Floats, size: tuple[int, int]) -> Image.Image:
    smooth = Image.fromarray(heat_map.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    heat = np.asarray(smooth).clip(0, 1)
    steps = np.linspace(0, 1, len(_COLOURS))
    colours = [np.interp(heat, steps, channel) for channel in _COLOURS.T]
    # Mostly transparent below about 0.5, so weak evidence stays faint.
    eased = (heat / 0.6).clip(0, 1)
    alpha = 255 * eased**2 * (3 - 2 * eased)
    return Image.fromarray(np.stack([*colours, alpha], axis=-1).round().astype(np.uint8), "RGBA")
