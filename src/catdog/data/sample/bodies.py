"""Poses: bodies with their feet at y = 0, in units of the head's half-width. The caller's function draws the head."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from catdog.data.sample.canvas import Canvas, Colour, darker, mix
from catdog.data.sample.coats import Coat
from catdog.data.sample.shapes import Floats, Frame, limb, oval

Head = Callable[[Frame], None]
"""Draws a head in a frame whose origin is the middle of the head."""


@dataclass(frozen=True)
class Build:
    """Proportions: length of the legs, girth of the body, size of the head, height of the neck; kind of tail."""

    legs: float = 1.0
    girth: float = 1.0
    head: float = 1.0
    neck: float = 0.0
    tail: str = "long"
    fluff: float = 0.0


@dataclass(frozen=True)
class Animal:
    """One animal on one canvas: everything that a pose needs."""

    canvas: Canvas
    frame: Frame
    coat: Coat
    build: Build
    head: Head

    def part(self, outline: object, colour: Colour | None = None, *, plain: bool = False, edge: float = 0.35) -> None:
        """Paint a part of the body in the coat's colours and markings."""
        points = np.asarray(outline, np.float64)
        marks = () if plain else self.coat.marks(self.canvas.rng, points)
        fluff = 0.04 + self.build.fluff
        self.canvas.fill(self.frame, points, colour or self.coat.base, fur=0.8, edge=edge, ragged=fluff, marks=marks)

    def leg(self, spine: list[tuple[float, float]], width: float, *, far: bool = False) -> None:
        """Paint a leg with its paw."""
        coat = self.coat
        colour = mix(coat.base, coat.mark, 0.7) if coat.mask else coat.base
        shown = darker(colour, 0.3) if far else colour
        outline = limb(spine, (width * 1.25, width, width * 0.85))
        self.canvas.fill(self.frame, outline, shown, shade=0.4, fur=0.6, edge=0.14, smoothed=False)
        x, y = spine[-1]
        paw = mix(coat.pale, coat.base, 0.0 if coat.blaze or coat.pattern == "saddle" else 0.7)
        if coat.mask:
            paw = coat.mark
        self.paw(x + 0.08, y, width * 1.35, darker(paw, 0.3) if far else paw)

    def paw(self, x: float, y: float, width: float, colour: Colour) -> None:
        """Paint a paw around a foot's end, with toes."""
        self.canvas.fill(self.frame, oval(x, y - width * 0.35, width, width * 0.55), colour, shade=0.5, fur=0.4)
        for toe in (-0.3, 0.25):
            line = [(x + toe * width, y - 0.3 * width), (x + toe * width * 1.1, y + 0.08 * width)]
            self.canvas.stroke(self.frame, line, darker(colour, 0.6), 0.03, smoothed=False)

    def tail(self, x: float, y: float, *, up: bool) -> None:
        """Paint the tail from its root at (x, y) to the left."""
        coat, rng = self.coat, self.canvas.rng
        lift = float(rng.uniform(0.7, 1.3))
        colour = coat.mark if coat.mask else coat.base
        shapes: dict[str, tuple[list[tuple[float, float]], tuple[float, ...]]] = {
            "long": (
                [(0, 0), (-0.6, -0.3 * lift), (-0.95, -1.2 * lift), (-0.75, -1.9 * lift), (-1.1, -2.3 * lift)]
                if up
                else [(0, 0), (-0.7, 0.05), (-1.3, -0.1), (-1.6, -0.5 * lift), (-1.4, -0.85 * lift)],
                (0.24, 0.2, 0.18, 0.17, 0.14),
            ),
            "wag": ([(0, 0), (-0.5, -0.35 * lift), (-0.9, -0.95 * lift), (-1.0, -1.4 * lift)], (0.22, 0.2, 0.15, 0.06)),
            "curl": (
                [(0, 0), (-0.4, -0.6), (-0.1, -1.1), (0.45, -0.95), (0.45, -0.55)],
                (0.25, 0.28, 0.28, 0.24, 0.12),
            ),
            "bushy": ([(0, 0), (-0.7, 0.15), (-1.3, 0.35), (-1.8, 0.1 * lift)], (0.2, 0.34, 0.36, 0.05)),
            "bob": ([(0, 0), (-0.2, -0.15), (-0.3, -0.25)], (0.3, 0.3, 0.22)),
        }
        spine, widths = shapes[self.build.tail]
        outline = limb(spine, widths) + np.array((x, y))
        marks = coat.marks(rng, outline) if coat.pattern == "stripes" else ()
        self.canvas.fill(self.frame, outline[::2], colour, fur=0.8, ragged=0.03 + self.build.fluff, marks=marks)

    def put_head(self, x: float, y: float) -> None:
        """Draw the head, slightly tilted."""
        tilt = float(self.canvas.rng.normal(0, 0.09))
        self.head(self.frame.at(x, y - self.build.neck, self.build.head, tilt))


def sit_front(animal: Animal) -> None:
    """Draw an animal that sits facing the viewer."""
    coat, girth = animal.coat, animal.build.girth
    animal.tail(-0.7, -0.3, up=False)
    for x in (-0.72, 0.72):
        animal.part(oval(x * girth, -0.6, 0.5, 0.6)[::2], edge=0.25)
        animal.paw(x * girth * 1.1, 0, 0.36, mix(coat.pale, coat.base, 0.5))
    half = [(0.5, -2.6), (0.68, -2.0), (0.82, -1.2), (0.8, -0.4), (0.45, -0.05)]
    body = np.array([*half, *[(-x, y) for x, y in reversed(half)]]) * (girth, 1)
    animal.part(body)
    chest = np.array([(0, -2.4), (0.36, -2.0), (0.4, -1.4), (0.12, -0.95), (-0.12, -0.95), (-0.4, -1.4), (-0.36, -2.0)])
    animal.canvas.fill(animal.frame, chest * (girth, 1), coat.pale, shade=0.3, fur=0.6, edge=0.05, ragged=0.12)
    for x in (-0.32, 0.32):
        animal.leg([(x * girth, -1.3), (x, -0.7), (x, -0.05)], 0.24)
    animal.put_head(0, -3.05)


def sit_side(animal: Animal) -> None:
    """Draw an animal that sits sideways and looks at the viewer."""
    animal.tail(-1.15, -0.2, up=False)
    animal.leg([(0.3, -1.2), (0.36, -0.6), (0.34, -0.05)], 0.22, far=True)
    body = [
        (0.45, -2.5),
        (0.8, -1.7),
        (0.72, -0.9),
        (0.5, -0.35),
        (-0.3, -0.02),
        (-1.1, -0.05),
        (-1.38, -0.65),
        (-1.12, -1.4),
        (-0.6, -2.05),
        (-0.2, -2.6),
    ]
    animal.part(np.array(body) * (animal.build.girth, 1))
    animal.part(oval(-0.66, -0.62, 0.62, 0.6)[::2], edge=0.15)
    animal.paw(-0.1, 0, 0.42, mix(animal.coat.pale, animal.coat.base, 0.4))
    animal.leg([(0.5, -1.4), (0.6, -0.7), (0.62, -0.05)], 0.24)
    animal.put_head(0.28, -3.0)


def stand(animal: Animal) -> None:
    """Draw an animal that stands or walks to the right and looks at the viewer."""
    build, rng = animal.build, animal.canvas.rng
    step, height = float(rng.uniform(0, 0.35)), 0.95 * build.legs
    animal.tail(-1.7, -height - 0.75, up=True)
    animal.leg([(1.0, -height), (1.0 + step, -height / 2), (1.0 + 1.5 * step, -0.08)], 0.22, far=True)
    animal.leg([(-1.3, -height), (-1.3 - step, -height / 2), (-1.3 - step, -0.08)], 0.24, far=True)
    depth = build.girth
    upper = [(-1.85, -0.4), (-1.6, -0.82), (-0.6, -0.86), (0.5, -0.88), (1.3, -1.0), (1.66, -0.6)]
    lower = [(1.5, 0.05), (0.9, 0.3), (0, 0.2), (-0.9, 0.05), (-1.6, 0.12)]
    body: Floats = np.array(upper + lower) * (1, depth) + (0, -height - 0.05)
    animal.part(body)
    animal.part(oval(-1.35, -height - 0.25 * depth, 0.5, 0.55 * depth)[::2], edge=0.0)
    animal.leg([(-1.5, -height), (-1.62 + step * 0.5, -height * 0.5), (-1.5 + step, -0.02)], 0.26)
    animal.leg([(1.2, -height), (1.2 - step * 0.6, -height / 2), (1.2 - step, -0.02)], 0.24)
    neck = [(0.9, -height - 0.6), (1.1, -height - 1.3), (2.0, -height - 1.4), (1.75, -height - 0.1), (1.3, -height)]
    animal.part(np.array(neck), plain=True, edge=0.0)
    animal.put_head(1.6, -height - 1.55)


def lie(animal: Animal) -> None:
    """Draw an animal that lies on its belly, paws before it."""
    animal.tail(-1.8, -0.25, up=False)
    body = np.array(
        [(-2.05, -0.08), (-2.15, -0.7), (-1.5, -1.22), (-0.4, -1.36), (0.7, -1.6), (1.25, -1.0), (1.3, -0.08), (0, 0)]
    )
    animal.part(body * (1, animal.build.girth))
    animal.part(oval(-1.2, -0.58, 0.66, 0.56)[::2], edge=0.15)
    animal.paw(-0.6, 0, 0.4, mix(animal.coat.pale, animal.coat.base, 0.4))
    animal.leg([(0.7, -0.3), (1.2, -0.22), (1.65, -0.05)], 0.24, far=True)
    animal.leg([(0.9, -0.42), (1.4, -0.25), (1.95, 0.0)], 0.25)
    animal.put_head(0.95, -1.95)


def portrait(animal: Animal) -> None:
    """Draw head and shoulders, to be cut by the image's lower edge."""
    body = np.array(
        [(0.55, -2.6), (0.9, -1.9), (1.35, -0.9), (1.5, 1.2), (-1.5, 1.2), (-1.35, -0.9), (-0.9, -1.9), (-0.55, -2.6)]
    )
    animal.part(body * (animal.build.girth, 1))
    chest = np.array([(0, -2.2), (0.5, -1.7), (0.5, -0.6), (0, 0.4), (-0.5, -0.6), (-0.5, -1.7)])
    animal.canvas.fill(animal.frame, chest, animal.coat.pale, shade=0.3, fur=0.7, edge=0.05, ragged=0.15)
    animal.put_head(0, -2.75)


def sit_behind(animal: Animal) -> None:
    """Draw an animal that sits and looks away."""
    half = [(0.5, -2.6), (0.7, -2.0), (0.95, -1.2), (1.05, -0.5), (0.7, -0.03)]
    body = np.array([*half, *[(-x, y) for x, y in reversed(half)]])
    animal.part(body * (animal.build.girth, 1))
    animal.put_head(0, -2.9)
    animal.tail(-0.2, -0.25, up=False)
