"""Random views for fine-tuning, drawn in each epoch from images decoded once to a memory-mapped array."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from catdog.data.images.pixels import Pixels, decode, read_picture
from catdog.parallel import bounded_map

CACHE_MARGIN: Final = 8 / 7
"""Side of a cached image divided by the side of a view, to zoom in without blur; 256 for 224."""


def open_cache(path: Path, images: Sequence[Path], image_size: int) -> Pixels:
    """Decode every image once: `(N, S, S, 3) uint8 in [0, 255]`, S a seventh over `image_size`, memory-mapped."""
    side = round(image_size * CACHE_MARGIN)
    if not path.exists():
        unfinished = path.with_name(f".{path.name}")
        array = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (len(images), side, side, 3))
        decoded = bounded_map(lambda p: decode(read_picture(p, None), side), images, os.cpu_count() or 1)
        for index, pixels in enumerate(decoded):
            array[index] = pixels
        array.flush()
        unfinished.replace(path)
    cached: Pixels = np.load(path, mmap_mode="r")
    return cached


def plain_view(cached: Pixels, size: int) -> Pixels:
    """Resize a cached image, `(S, S, 3)` -> `(size, size, 3)`, both uint8 in [0, 255]."""
    return np.asarray(Image.fromarray(cached).resize((size, size), Image.Resampling.BILINEAR))


def random_view(cached: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """Draw an augmented view of a cached image, `(S, S, 3)` -> `(size, size, 3)`, both uint8 in [0, 255].

    Zoom to 70–110 % of the sides, stretch by up to 10 %, rotation up to 15 degrees, mirroring, reflection at the
    borders; brightness and contrast by up to 25 %, colour by 5 %; one view in twenty is grey.
    """
    side = cached.shape[0]
    margin = side // 4  # corners reach a fifth of a side outside: 1.1 * (cos 15 + sin 15) / 2 - 1 / 2
    padded = np.pad(cached, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    stretch = np.exp(rng.uniform(-0.1, 0.1) / 2)
    zoom = rng.uniform(0.7, 1.1)
    turn = np.deg2rad(rng.uniform(-15, 15))
    step = np.array([zoom * stretch, zoom / stretch]) * side / size
    mirror = rng.choice([-1, 1])
    slack = max(0.0, 1 - zoom) * side / 2
    # A view's pixel (u, v) comes from (a u + b v + x, d u + e v + y).
    a, b = step[0] * np.cos(turn) * mirror, step[1] * np.sin(turn)
    d, e = -step[0] * np.sin(turn) * mirror, step[1] * np.cos(turn)
    x, y = padded.shape[0] / 2 + rng.uniform(-slack, slack, 2) - size / 2 * np.array([a + b, d + e])
    image = Image.fromarray(padded)
    view = image.transform((size, size), Image.Transform.AFFINE, (a, b, x, d, e, y), Image.Resampling.BILINEAR)
    if rng.random() < 0.05:
        view = view.convert("L").convert("RGB")
    contrast = rng.uniform(0.75, 1.25) * rng.uniform(0.95, 1.05, 3)
    levels = (np.arange(256) - 128) * contrast[:, np.newaxis] + 128 * rng.uniform(0.75, 1.25)
    return np.asarray(view.point(np.clip(levels, 0, 255).astype(np.uint8).ravel().tolist()))


def mix(
    images: NDArray[np.float32], targets: NDArray[np.float32], alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Blend images and labels of a batch with the reversed batch, by a share drawn from beta(alpha, alpha).

    Source: mixup, https://arxiv.org/abs/1710.09412.
    """
    if alpha == 0:
        return images, targets
    share = np.float32(rng.beta(alpha, alpha))
    return share * images + (1 - share) * images[::-1], share * targets + (1 - share) * targets[::-1]
