"""A supersampled canvas: smooth outlines, soft shading from one light, fur, and lines.

Every drawing has coordinates of its own, which a `Frame` maps to pixels. Shading is computed at a fraction of the
resolution and enlarged, which costs about a tenth of shading each pixel.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter

from catdog.data.sample.shapes import Floats, Frame, smooth, smooth_open

SUPERSAMPLING: Final = 2
"""Pixels drawn per pixel kept, in each direction."""

_SMALL: Final = 30
"""Shapes of fewer pixels, before shrinking, get neither shading nor fur: nobody would see them."""

Colour = tuple[int, int, int]
Singles = NDArray[np.float32]
Mark = tuple[Floats, Colour, float]
"""A marking on a shape: control points in the shape's frame, colour, opacity."""


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return a colour between two, `share` of the way to the second."""
    red, green, blue = (max(0, min(255, round(a + (b - a) * share))) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float = 0.5) -> Colour:
    """Return a darker, slightly bluer colour, as shadows are."""
    return mix(colour, (22, 18, 34), share)


def lighter(colour: Colour, share: float = 0.5) -> Colour:
    """Return a lighter, warmer colour, as lit places are."""
    return mix(colour, (255, 250, 236), share)


def vary(rng: np.random.Generator, colour: Colour, spread: float = 10) -> Colour:
    """Return a colour near another: brightness varies most, hue a little."""
    shift = rng.normal(0, spread)
    red, green, blue = (
        max(4, min(252, round(c + shift + s))) for c, s in zip(colour, rng.normal(0, spread / 3, 3), strict=True)
    )
    return red, green, blue


@cache
def fur_tile() -> Image.Image:
    """Strands of fur as opacity, (1024, 1024): noise that is long downwards and short across."""
    rng = np.random.default_rng(7)
    noise = Image.fromarray(rng.integers(0, 256, (128, 512), dtype=np.uint8))
    fine = np.asarray(noise.resize((1024, 1024), Image.Resampling.BICUBIC), np.float32)
    coarse = np.asarray(noise.crop((0, 0, 64, 32)).resize((1024, 1024), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray(np.clip(0.55 * fine + 0.45 * coarse - 60, 0, 255).astype(np.uint8))


class Canvas:
    """An image under way. `light` is the direction in which the light travels, (x, y), of length 1."""

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        """Begin an image of `size` (width, height) pixels, kept after supersampling."""
        self.rng = rng
        self.size = size
        self.image = Image.new("RGB", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING))
        angle = rng.uniform(0.2, 0.8) * np.pi
        self.light = np.cos(angle), np.sin(angle)

    @property
    def frame(self) -> Frame:
        """The frame whose unit is the shorter side, its origin in the upper left corner."""
        return Frame(np.eye(2) * min(self.image.size), np.zeros(2))

    def fill(
        self,
        frame: Frame,
        outline: ArrayLike,
        colour: Colour,
        *,
        shade: float = 0.5,
        fur: float = 0.0,
        edge: float = 0.35,
        ragged: float = 0.0,
        marks: Sequence[Mark] = (),
        smoothed: bool = True,
    ) -> None:
        """Paint a closed shape.

        Args:
            frame: where the shape's coordinates lie.
            outline: its points; a smooth curve is laid through them if `smoothed`.
            colour: of the shape in plain light.
            shade: depth of the shading, 0 to 1.
            fur: how much the strands of fur show, 0 to 1.
            edge: how dark the outline is, 0 to 1; 0 draws none.
            ragged: length of the tufts that stand out, in the frame's unit.
            marks: markings, clipped to the shape.
            smoothed: False keeps the outline's corners.
        """
        points = smooth(outline, 12 if ragged else 7) if smoothed else np.asarray(outline, np.float64)
        if ragged:
            points = self._tufts(points, ragged)
        pixels = frame.apply(points)
        reach = (pixels.max(0) - pixels.min(0)).tolist()
        if not marks and (not shade or max(reach) < _SMALL):
            self._flat_shape(pixels, colour, edge)
            return
        step = max(2, int(max(reach)) // 28)
        box = self._box(pixels, 3 * step)
        if box is None:
            return
        corner = np.array(box[:2])
        mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        ImageDraw.Draw(mask).polygon(_listed(pixels - corner), 255)
        tone = self._tone(mask, step) * shade
        if marks:
            layer = Image.new("RGB", mask.size, colour)
            self._mark(layer, frame, corner, marks)
            self._shade(layer, tone, colour, step)
        else:  # the same, at a third of the cost
            layer = self._shaded(tone, colour, step).crop((0, 0, *mask.size))
        if fur and min(reach) > 1.5 * _SMALL:
            self._fur(layer, colour, fur)
        if edge:
            line = _listed(np.vstack([pixels, pixels[:1]]) - corner)
            ImageDraw.Draw(layer).line(line, darker(colour, edge), 2 * self._line_width)
        self.image.paste(layer, box[:2], mask)

    def _flat_shape(self, pixels: Floats, colour: Colour, edge: float) -> None:
        """Paint a shape without shading, straight onto the image."""
        pen = ImageDraw.Draw(self.image)
        pen.polygon(_listed(pixels), colour)
        if edge:
            pen.line(_listed(np.vstack([pixels, pixels[:1]])), darker(colour, edge), self._line_width)

    @property
    def _line_width(self) -> int:
        return max(1, round(0.007 * min(self.image.size)))

    def stroke(self, frame: Frame, points: ArrayLike, colour: Colour, width: float, *, smoothed: bool = True) -> None:
        """Draw a line of a width in the frame's unit."""
        line = frame.apply(smooth_open(points) if smoothed else points)
        ImageDraw.Draw(self.image).line(_listed(line), colour, max(1, round(width * frame.unit)), joint="curve")

    def glaze(self, frame: Frame, outline: ArrayLike, colour: Colour, opacity: float, blur: float = 0.0) -> None:
        """Lay a translucent shape over the image, its rim softened by `blur` in the frame's unit."""
        pixels = frame.apply(outline)
        soft = blur * frame.unit
        step = max(1, int(soft / 2))
        box = self._box(pixels, int(3 * soft) + step)
        if box is None:
            return
        left, top, right, bottom = box
        small = Image.new("L", (-(-(right - left) // step), -(-(bottom - top) // step)))
        ImageDraw.Draw(small).polygon(_listed((pixels - (left, top)) / step), round(255 * opacity))
        if soft:
            small = small.filter(ImageFilter.GaussianBlur(soft / step))
        mask = small if step == 1 else small.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
        self.image.paste(colour, box, mask)

    def finish(self) -> Image.Image:
        """Return the image, shrunk to its size."""
        return self.image.reduce(SUPERSAMPLING)

    def _tufts(self, points: Floats, length: float) -> Floats:
        """Push every other point outwards by random amounts."""
        along = np.roll(points, -1, 0) - np.roll(points, 1, 0)
        normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
        if np.sum(normal * (points - points.mean(0))) < 0:
            normal = -normal
        out = self.rng.uniform(-0.3, 1.0, len(points)) ** 2 * (np.arange(len(points)) % 2)
        return points + normal * out[:, None] * length

    def _box(self, pixels: Floats, margin: int) -> tuple[int, int, int, int] | None:
        left, top = np.maximum(np.floor(pixels.min(0)) - margin, 0).astype(int)
        right, bottom = np.minimum(np.ceil(pixels.max(0)) + margin, self.image.size).astype(int)
        return (int(left), int(top), int(right), int(bottom)) if right - left > 1 and bottom - top > 1 else None

    @staticmethod
    def _mark(layer: Image.Image, frame: Frame, corner: Floats, marks: Sequence[Mark]) -> None:
        pen = ImageDraw.Draw(layer, "RGBA")
        for outline, colour, opacity in marks:
            pen.polygon(_listed(frame.apply(smooth(outline, 5)) - corner), (*colour, round(255 * opacity)))

    def _fur(self, layer: Image.Image, colour: Colour, strength: float) -> None:
        x, y = (int(v) for v in self.rng.integers(0, 1024 - np.minimum(layer.size, 1000)))
        strands = fur_tile().crop((x, y, x + layer.width, y + layer.height))
        layer.paste(darker(colour, 0.15 + 0.3 * strength), mask=strands)

    def _tone(self, mask: Image.Image, step: int) -> Singles:
        """Return how dark and how light a shape is, each 0 to 1, on every `step`-th pixel: (2, height, width).

        The side turned away from the light and the rim are dark, the side turned to it is light.
        """
        small = mask.reduce(step)
        soft = np.asarray(small.filter(ImageFilter.GaussianBlur(0.1 * max(small.size))), np.float32) / 255
        lit = np.zeros_like(soft)
        lit[:, 1:-1] = (soft[:, 2:] - soft[:, :-2]) * np.float32(self.light[0])
        lit[1:-1] += (soft[2:] - soft[:-2]) * np.float32(self.light[1])
        lit /= max(lit.max(), -lit.min(), 1e-6)
        shadow = np.maximum(-lit, 0) * 0.9 + np.maximum(0.8 - soft, 0) * 0.5
        return np.minimum(np.stack([shadow, np.maximum(lit, 0) * 0.7]), 1)

    @staticmethod
    def _shaded(tone: Singles, colour: Colour, step: int) -> Image.Image:
        """Return an image of one colour with a tone laid over it."""
        pixels = np.full((*tone.shape[1:], 3), colour, np.float32)
        for strength, shown in zip(tone[..., None], (darker(colour, 0.75), lighter(colour, 0.75)), strict=True):
            pixels += (np.asarray(shown, np.float32) - pixels) * strength
        small = Image.fromarray(pixels.astype(np.uint8))
        return small.resize((small.width * step, small.height * step), Image.Resampling.BILINEAR)

    @staticmethod
    def _shade(layer: Image.Image, tone: Singles, colour: Colour, step: int) -> None:
        """Lay a tone over an image."""
        for strength, shown in zip(tone, (darker(colour, 0.75), lighter(colour, 0.75)), strict=True):
            small = Image.fromarray((strength * 255).astype(np.uint8))
            whole = small.resize((small.width * step, small.height * step), Image.Resampling.BILINEAR)
            layer.paste(shown, mask=whole.crop((0, 0, *layer.size)))


def _listed(points: Floats) -> Any:
    return points.ravel().tolist()
