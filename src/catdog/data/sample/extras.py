"""Things of no class, to try `neither` with: mugs, umbrellas, balloons, cactuses, clocks and apples."""

from itertools import pairwise

import numpy as np

from catdog.data.sample import scenes
from catdog.data.sample.canvas import Canvas, darker, lighter, vary
from catdog.data.sample.creatures import BRIGHT, middle, pick
from catdog.data.sample.shapes import limb, mirror, oval


def mug(canvas: Canvas) -> None:
    """Draw a mug that steams."""
    rng = canvas.rng
    scenes.background(canvas)
    frame = middle(canvas, (0.2, 0.3), height=0.82, turn=0.03)
    colour = pick(rng, (*BRIGHT, (244, 238, 226)))
    scenes.shadow(canvas, frame, 0.95)
    handle = limb([(0.7, -1.4), (1.25, -1.35), (1.3, -0.75), (0.72, -0.5)], (0.11, 0.12, 0.12, 0.1))
    canvas.fill(frame, handle, darker(colour, 0.12), smoothed=False)
    side = [(0.82, -1.75), (0.8, -0.9), (0.68, -0.12), (0.35, 0.04)]
    canvas.fill(frame, [*side, *[(-x, y) for x, y in reversed(side)]], colour, shade=0.75)
    canvas.fill(frame, oval(0, -1.72, 0.82, 0.2), lighter(colour, 0.35), shade=0.3)
    canvas.fill(frame, oval(0, -1.68, 0.7, 0.14), (86, 54, 36), shade=0.4)
    for x in (-0.3, 0.05, 0.4):
        canvas.glaze(
            frame,
            limb([(x, -1.9), (x + 0.12, -2.2), (x - 0.05, -2.5), (x + 0.08, -2.8)], (0.05, 0.08, 0.07, 0.02)),
            (255, 255, 255),
            0.5,
            0.05,
        )


def umbrella(canvas: Canvas) -> None:
    """Draw an open umbrella."""
    rng = canvas.rng
    scenes.background(canvas)
    frame = middle(canvas, (0.2, 0.3), height=0.5, turn=0.25)
    first, second = pick(rng), pick(rng)
    canvas.stroke(frame, [(0, -1.0), (0, 1.2), (0.1, 1.45), (0.3, 1.45), (0.36, 1.2)], (92, 66, 48), 0.07)
    t = np.linspace(0, np.pi, 13)
    dome = [(-1.4 * np.cos(a), 0.15 - 1.15 * np.sin(a)) for a in t]
    ends = np.linspace(1.4, -1.4, 6)
    hem = [point for x, y in pairwise(ends) for point in (((x + y) / 2, -0.02), (y, 0.15))][:-1]
    panels = [
        ([(0, -1.0), (x * 0.8, -0.5), (x, 0.2), (y, 0.2), (y * 0.8, -0.5)], second, 1.0)
        for x, y in ((1.4, 0.84), (0.28, -0.28), (-0.84, -1.4))
    ]
    canvas.fill(
        frame,
        dome + hem,
        first,
        shade=0.75,
        marks=[(np.array(p), colour, a) for p, colour, a in panels],
        smoothed=False,
    )
    canvas.fill(frame, limb([(0, -0.95), (0, -1.2)], (0.05, 0.02)), (92, 66, 48), smoothed=False)


def balloon(canvas: Canvas) -> None:
    """Draw balloons on strings."""
    rng = canvas.rng
    scenes.background(canvas)
    frame = middle(canvas, (0.15, 0.22), height=0.4)
    for x, y in ((-0.95, 0.1), (0.95, 0.0), (0, -0.45))[int(rng.integers(3)) :]:
        colour = pick(rng)
        canvas.stroke(frame, [(x, y + 1.1), (x * 0.5, y + 2), (0.1, 3.2)], (240, 236, 228), 0.04)
        canvas.fill(
            frame, [(x - 0.12, y + 1.22), (x, y + 1.02), (x + 0.12, y + 1.22)], darker(colour, 0.2), smoothed=False
        )
        canvas.fill(
            frame,
            mirror([(0, -1.05), (0.6, -0.9), (0.88, -0.25), (0.55, 0.6), (0, 1.08)]) + np.array((x, y)),
            colour,
            shade=0.85,
        )
        canvas.glaze(frame, oval(x - 0.3, y - 0.45, 0.14, 0.25, 0.5), (255, 255, 255), 0.6, 0.05)


def cactus(canvas: Canvas) -> None:
    """Draw a cactus in a pot."""
    rng = canvas.rng
    scenes.background(canvas)
    frame = middle(canvas, (0.2, 0.27), height=0.86, turn=0.03)
    green, pot = (
        pick(rng, ((88, 140, 80), (110, 150, 90), (76, 130, 104))),
        pick(rng, ((192, 110, 76), (226, 216, 200), (96, 130, 160))),
    )
    scenes.shadow(canvas, frame, 0.9)
    for side, y in ((False, -1.5), (True, -1.8)):
        arm = limb([(0.3, y), (0.85, y - 0.02), (0.95, y - 0.3), (0.95, y - 0.75)], (0.16, 0.18, 0.19, 0.17))
        canvas.fill(frame.at(0, 0, flip=side), arm, green, shade=0.6, fur=0.5, smoothed=False)
    canvas.fill(
        frame, limb([(0, -0.6), (0, -1.6), (0, -2.6)], (0.4, 0.44, 0.36)), green, shade=0.8, fur=0.5, smoothed=False
    )
    for x, y in zip(rng.uniform(-0.3, 0.3, 16), rng.uniform(-2.7, -0.9, 16), strict=True):
        canvas.stroke(
            frame, [(x - 0.06, y - 0.05), (x, y), (x + 0.06, y - 0.05)], lighter(green, 0.75), 0.025, smoothed=False
        )
    canvas.fill(frame, [(-0.62, -0.8), (0.62, -0.8), (0.46, 0), (-0.46, 0)], pot, shade=0.7, smoothed=False)
    canvas.fill(
        frame, [(-0.7, -0.98), (0.7, -0.98), (0.7, -0.72), (-0.7, -0.72)], lighter(pot, 0.12), shade=0.5, smoothed=False
    )
    if rng.random() < 0.5:
        for angle in np.arange(5) * 2 * np.pi / 5:
            canvas.fill(
                frame, oval(0.13 * np.cos(angle), -3.02 + 0.13 * np.sin(angle), 0.12, 0.12), (226, 96, 130), edge=0.2
            )


def clock(canvas: Canvas) -> None:
    """Draw a round clock on the wall."""
    rng = canvas.rng
    scenes.background(canvas)
    frame = middle(canvas, (0.22, 0.34))
    canvas.glaze(frame, oval(0.12, 0.16, 1.05, 1.05), (20, 18, 30), 0.45, 0.1)
    canvas.fill(frame, oval(0, 0, 1.08, 1.08), pick(rng), shade=0.8)
    canvas.fill(frame, oval(0, 0, 0.9, 0.9), (248, 244, 234), shade=0.25)
    for angle in np.arange(12) * np.pi / 6:
        x, y = np.cos(angle), np.sin(angle)
        canvas.stroke(frame, [(0.72 * x, 0.72 * y), (0.83 * x, 0.83 * y)], (50, 46, 50), 0.05, smoothed=False)
    for length, width in ((0.45, 0.075), (0.68, 0.05)):
        angle = float(rng.uniform(0, 2 * np.pi))
        canvas.stroke(
            frame, [(0, 0), (length * np.cos(angle), length * np.sin(angle))], (40, 36, 42), width, smoothed=False
        )
    canvas.fill(frame, oval(0, 0, 0.07, 0.07), (200, 60, 50))


def apple(canvas: Canvas) -> None:
    """Draw an apple with its leaf."""
    rng = canvas.rng
    scenes.background(canvas)
    frame = middle(canvas, (0.2, 0.32), height=0.6, turn=0.06)
    colour = pick(rng, ((196, 52, 46), (140, 176, 70), (226, 180, 70)))
    scenes.shadow(canvas, frame.at(0, 0.98), 0.95)
    canvas.stroke(frame, [(0, -0.65), (0.05, -0.95), (0.18, -1.2)], (96, 66, 44), 0.09)
    canvas.fill(
        frame,
        mirror([(0, -0.62), (0.3, -0.82), (0.78, -0.7), (1.02, -0.1), (0.8, 0.65), (0.38, 0.98), (0, 0.9)]),
        colour,
        shade=0.85,
        fur=0.2,
    )
    canvas.glaze(frame, oval(-0.4, -0.3, 0.16, 0.28, 0.5), (255, 255, 255), 0.55, 0.07)
    canvas.fill(frame, [(0.1, -0.98), (0.45, -1.3), (0.9, -1.22), (0.6, -0.92)], vary(rng, (96, 150, 72), 10))
