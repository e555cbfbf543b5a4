"""Augmentation: reproducible views of an image, rotated, mirrored, cropped and brightened."""

from functools import cached_property
from typing import Final

import numpy as np
from PIL import Image

MARGIN: Final = 32
"""Pixels of mirrored border added before a rotation, which keeps corners from turning black."""

MAX_TURN: Final = 15.0
"""Maximum rotation in degrees, in either direction."""

LEAST_CROP: Final = 0.75
"""Minimum share of a side that a crop keeps."""

BRIGHTNESS: Final = 0.25
"""Maximum relative change of brightness, in either direction."""


class Augmenter:
    """Views of a square image, determined by `key` (any bytes, such as the image's hash)."""

    def __init__(self, square: Image.Image, key: bytes) -> None:
        self._square = square
        self._key = key

    def view(self, number: int) -> Image.Image:
        """Return view `number`, at least 1, in the size of the image."""
        rng = np.random.default_rng([*self._key[:8], number])
        size = self._square.width
        turn = np.deg2rad(rng.uniform(-MAX_TURN, MAX_TURN))
        scale = rng.uniform(LEAST_CROP, 1.0)
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        slack = (1.0 - scale) * size / 2
        x, y = self._wide.width / 2 + rng.uniform(-slack, slack, 2)
        # Output pixel (u, v), measured from the middle, comes from (x, y) + A (u, v).
        a, b = scale * np.cos(turn) * mirror, scale * np.sin(turn)
        d, e = -scale * np.sin(turn) * mirror, scale * np.cos(turn)
        middle = size / 2
        coefficients = (a, b, x - (a + b) * middle, d, e, y - (d + e) * middle)
        view = self._wide.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
        brightness = rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)
        return view.point(np.clip(np.arange(256) * brightness, 0, 255).astype(np.uint8).tolist() * 3)

    @cached_property
    def _wide(self) -> Image.Image:
        margin = min(MARGIN, self._square.width - 1)
        return Image.fromarray(
            np.pad(np.asarray(self._square), ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
        )
