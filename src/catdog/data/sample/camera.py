"""A simulated camera: exposure, colour of the light, vignette, blur, noise, JPEG."""

import io
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIZES: Final = ((256, 256), (256, 192), (192, 256), (240, 240), (240, 180), (180, 240), (256, 171), (320, 240))
"""Sizes of images, (width, height)."""


@dataclass(frozen=True)
class Camera:
    """How an image is taken.

    Attributes:
        exposure: gain of brightness; 1 leaves it.
        warmth: gain of red over blue; 0 leaves it.
        contrast: 1 leaves it.
        vignette: darkening of the corners, 0 to 1.
        blur: radius in pixels.
        noise: standard deviation in grey levels.
        quality: of the JPEG file.
    """

    exposure: float
    warmth: float
    contrast: float
    vignette: float
    blur: float
    noise: float
    quality: int

    @staticmethod
    def drawn(rng: np.random.Generator) -> "Camera":
        """Draw a camera: mostly good, one image in eight dark, blurred or coarse."""
        bad = int(rng.integers(24))
        return Camera(
            exposure=0.42 if bad == 0 else float(np.clip(rng.normal(1.06, 0.1), 0.8, 1.3)),
            warmth=float(rng.normal(0.02, 0.07)),
            contrast=float(rng.uniform(0.85, 1.15)),
            vignette=float(rng.uniform(0, 0.3)),
            blur=2.5 if bad == 1 else float(rng.choice((0.0, 0.0, 0.0, 0.6))),
            noise=13.0 if bad == 2 else float(rng.uniform(1, 5)),
            quality=18 if bad == 2 else int(rng.integers(55, 94)),
        )

    def take(self, scene: Image.Image, rng: np.random.Generator) -> bytes:
        """Return the JPEG file of an image of a scene."""
        if self.blur:
            scene = scene.filter(ImageFilter.BoxBlur(self.blur))
        scene = scene.point(self._curves())
        scene.paste((0, 0, 0), mask=_corners(scene.size).point([round(v * self.vignette) for v in range(256)]))
        top, left = rng.integers(0, 512 - np.array(scene.size[::-1]))
        grain = _grain()[top : top + scene.height, left : left + scene.width] * np.float32(self.noise)
        pixels = np.asarray(scene, np.int16) + grain.astype(np.int16)[..., None]
        file = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=self.quality)
        return file.getvalue()

    def _curves(self) -> list[int]:
        """Return what each level of red, green and blue becomes."""
        levels = (np.arange(256) - 128) * self.contrast + 128
        gains = np.array([[1 + self.warmth], [1], [1 - self.warmth]]) * self.exposure
        curves: list[int] = np.clip(levels * gains, 0, 255).round().astype(int).ravel().tolist()
        return curves


@cache
def _corners(size: tuple[int, int]) -> Image.Image:
    """Squared distance from the middle, 255 in the corners."""
    x, y = (np.linspace(-1, 1, side) ** 2 for side in size)
    return Image.fromarray(((x[None] + y[:, None]) * 127.5).astype(np.uint8))


@cache
def _grain() -> NDArray[np.float32]:
    """Noise of unit variance, (512, 512)."""
    return np.random.default_rng(11).standard_normal((512, 512), np.float32)
