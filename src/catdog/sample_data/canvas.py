"""A supersampled canvas: smooth outlines, soft shading from one light, fur, and lines.

Every drawing has coordinates of its own, which a `Frame` maps to pixels. Shading is computed at a fraction of the
resolution and enlarged, which costs about a tenth of shading each pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter

SUPERSAMPLING: Final = 2
"""Pixels drawn per pixel kept, in each direction."""

Colour = tuple[int, int, int]
Floats = NDArray[np.float64]
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
    red, green, blue = (max(4, min(252, round(c + shift + s))) for c, s in zip(colour, rng.normal(0, spread / 3, 3), strict=True))
    return red, green, blue


@dataclass(frozen=True)
class Frame:
    """A map from a drawing's coordinates (y down) to pixels of the canvas."""

    matrix: Floats
    origin: Floats

    def apply(self, points: ArrayLike) -> Floats:
        """Map points, (N, 2) or (2,), to pixels."""
        mapped: Floats = np.asarray(points, np.float64) @ self.matrix.T + self.origin
        return mapped

    def at(self, x: float, y: float, scale: float = 1.0, angle: float = 0.0, *, flip: bool = False) -> "Frame":
        """Return a frame inside this one: moved to (x, y), turned by `angle` radians, mirrored if `flip`."""
        sine, cosine = np.sin(angle), np.cos(angle)
        inner = scale * np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
        return Frame(self.matrix @ inner, self.apply((x, y)))

    @property
    def unit(self) -> float:
        """The length of the drawing's unit in pixels."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


@cache
def _basis(steps: int) -> Floats:
    """Catmull-Rom weights of four neighbouring points at `steps` places between the middle two: (steps, 4)."""
    t = np.arange(steps)[:, None] / steps
    return np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]) / 2


@cache
def _neighbours(count: int) -> NDArray[np.int64]:
    """Indices of the points before, at, after and two after each of `count` points in a ring: (count, 4)."""
    return (np.arange(count)[:, None] + (-1, 0, 1, 2)) % count


def smooth(points: ArrayLike, steps: int = 7) -> Floats:
    """Return a closed smooth curve through points, (N, 2) -> (N * steps, 2). A point given twice makes a corner."""
    p = np.asarray(points, np.float64)
    curve: Floats = (_basis(steps) @ p[_neighbours(len(p))]).reshape(-1, 2)
    return curve


def smooth_open(points: ArrayLike, steps: int = 7) -> Floats:
    """Return a smooth curve from the first point to the last."""
    p = np.asarray(points, np.float64)
    p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    neighbours = p[_neighbours(len(p))[1:-2]]
    return np.vstack([(_basis(steps) @ neighbours).reshape(-1, 2), p[-2]])


def oval(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Floats:
    """Return the outline of an ellipse around (x, y)."""
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    sine, cosine = np.sin(angle), np.cos(angle)
    u, v = rx * np.cos(t), ry * np.sin(t)
    return np.stack([x + u * cosine - v * sine, y + u * sine + v * cosine], axis=1)


def limb(spine: ArrayLike, widths: Sequence[float]) -> Floats:
    """Return the outline of a tube along a smooth spine with half-widths at its points, and round ends."""
    line = smooth_open(spine)
    place = np.linspace(0, len(widths) - 1, len(line))
    half = np.interp(place, np.arange(len(widths)), widths)[:, None]
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * half
    turn = np.linspace(0, np.pi, 7)[1:-1, None]
    end = line[-1] + across[-1] * np.cos(turn) + along[-1] * half[-1] * np.sin(turn)
    start = line[0] - across[0] * np.cos(turn) - along[0] * half[0] * np.sin(turn)
    return np.vstack([line + across, end, (line - across)[::-1], start])


def mirror(points: ArrayLike) -> Floats:
    """Complete the right half of a symmetric outline, listed from top to bottom."""
    p = np.asarray(points, np.float64)
    left = p[::-1] * (-1, 1)
    return np.vstack([p, left[abs(left[:, 0]) > 1e-6]])


@cache
def fur_tile() -> Image.Image:
    """Strands of fur as opacity, (1024, 1024): noise that is long downwards and short across."""
    rng = np.random.default_rng(7)
    noise = Image.fromarray(rng.integers(0, 256, (128, 512), dtype=np.uint8))
    fine = np.asarray(noise.resize((1024, 1024), Image.Resampling.BICUBIC), np.float32)
    coarse = np.asarray(noise.crop((0, 0, 64, 32)).resize((1024, 1024), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray(np.clip(0.55 * fine + 0.45 * coarse - 60, 0, 255).astype(np.uint8))


class Canvas:
    """A picture under way. `light` is the direction in which the light travels, (x, y), of length 1."""

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        """Begin a picture of `size` (width, height) pixels, kept after supersampling."""
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
        reach = pixels.max(0) - pixels.min(0)
        step = max(2, int(max(reach)) // 28)
        box = self._box(pixels, 3 * step)
        if box is None:
            return
        left, top, right, bottom = box
        corner = np.array([left, top])
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon(_flat(pixels - corner), 255)
        shaded = shade if max(reach) > 24 else 0.0
        if marks or not shaded:
            layer = Image.new("RGB", mask.size, colour)
            self._mark(layer, frame, corner, marks)
            if shaded:
                self._shade(layer, self._tone(mask, step) * shaded, colour, step)
        else:  # the same, at a third of the cost
            layer = self._shaded(self._tone(mask, step) * shaded, colour, step).crop((0, 0, *mask.size))
        if fur and min(reach) > 24:
            self._fur(layer, colour, fur)
        if edge:
            width = max(1, round(0.007 * min(self.image.size)))
            line = [*_flat(pixels - corner), *_flat(pixels[:1] - corner)]
            ImageDraw.Draw(layer).line(line, darker(colour, edge), width * 2)
        self.image.paste(layer, (left, top), mask)

    def stroke(self, frame: Frame, points: ArrayLike, colour: Colour, width: float, *, smoothed: bool = True) -> None:
        """Draw a line of a width in the frame's unit."""
        line = frame.apply(smooth_open(points) if smoothed else points)
        ImageDraw.Draw(self.image).line(_flat(line), colour, max(1, round(width * frame.unit)), joint="curve")

    def glaze(self, frame: Frame, outline: ArrayLike, colour: Colour, opacity: float, blur: float = 0.0) -> None:
        """Lay a translucent shape over the picture, its rim softened by `blur` in the frame's unit."""
        pixels = frame.apply(outline)
        soft = blur * frame.unit
        step = max(1, int(soft / 2))
        box = self._box(pixels, int(3 * soft) + step)
        if box is None:
            return
        left, top, right, bottom = box
        small = Image.new("L", (-(-(right - left) // step), -(-(bottom - top) // step)))
        ImageDraw.Draw(small).polygon(_flat((pixels - (left, top)) / step), round(255 * opacity))
        if soft:
            small = small.filter(ImageFilter.GaussianBlur(soft / step))
        mask = small if step == 1 else small.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
        self.image.paste(colour, box, mask)

    def finish(self) -> Image.Image:
        """Return the picture, shrunk to its size."""
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
            pen.polygon(_flat(frame.apply(smooth(outline, 5)) - corner), (*colour, round(255 * opacity)))

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
        """Return a picture of one colour with a tone laid over it."""
        pixels = np.full((*tone.shape[1:], 3), colour, np.float32)
        for strength, shown in zip(tone[..., None], (darker(colour, 0.75), lighter(colour, 0.75)), strict=True):
            pixels += (np.asarray(shown, np.float32) - pixels) * strength
        small = Image.fromarray(pixels.astype(np.uint8))
        return small.resize((small.width * step, small.height * step), Image.Resampling.BILINEAR)

    @staticmethod
    def _shade(layer: Image.Image, tone: Singles, colour: Colour, step: int) -> None:
        """Lay a tone over a picture."""
        for strength, shown in zip(tone, (darker(colour, 0.75), lighter(colour, 0.75)), strict=True):
            small = Image.fromarray((strength * 255).astype(np.uint8))
            whole = small.resize((small.width * step, small.height * step), Image.Resampling.BILINEAR)
            layer.paste(shown, mask=whole.crop((0, 0, *layer.size)))


def _flat(points: Floats) -> Any:
    return points.ravel().tolist()
