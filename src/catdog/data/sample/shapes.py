"""Outlines as points, (N, 2), and the frames that map them to pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


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
        (a, b), (c, d) = self.matrix.tolist()
        return float(abs(a * d - b * c) ** 0.5)


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
