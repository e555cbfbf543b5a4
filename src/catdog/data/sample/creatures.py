"""Birds, fish, butterflies and turtles, each in its place."""

from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from catdog.data.sample import scenes
from catdog.data.sample.canvas import Canvas, Colour, darker, lighter, mix, vary
from catdog.data.sample.shapes import Frame, limb, mirror, oval, smooth_open

BRIGHT: Final[tuple[Colour, ...]] = (
    (222, 96, 62),
    (236, 168, 52),
    (72, 132, 202),
    (96, 160, 92),
    (188, 84, 136),
    (120, 96, 178),
    (62, 164, 168),
)


def pick(rng: np.random.Generator, colours: tuple[Colour, ...] = BRIGHT, spread: float = 12) -> Colour:
    """Return one of several colours, slightly varied."""
    return vary(rng, colours[int(rng.integers(len(colours)))], spread)


def middle(canvas: Canvas, scale: tuple[float, float], *, height: float = 0.5, turn: float = 0.1) -> Frame:
    """Return a frame near the middle of the image, of a random size and turn, mirrored half of the time."""
    rng = canvas.rng
    wide, high = (side / min(canvas.image.size) for side in canvas.image.size)
    x, y = wide / 2 + rng.normal(0, 0.06), high * height + rng.normal(0, 0.04)
    return canvas.frame.at(
        float(x), float(y), float(rng.uniform(*scale)), float(rng.normal(0, turn)), flip=rng.random() < 0.5
    )


def beady_eye(canvas: Canvas, frame: Frame, x: float, y: float, size: float, rim: Colour = (250, 246, 236)) -> None:
    """Draw a round dark eye in a pale rim, with a highlight."""
    canvas.fill(frame, oval(x, y, size * 1.35, size * 1.35), rim, shade=0, edge=0.4)
    canvas.fill(frame, oval(x, y, size * 0.85, size * 0.85), (18, 16, 20), shade=0, edge=0)
    canvas.fill(
        frame, oval(x - size * 0.3, y - size * 0.35, size * 0.28, size * 0.28), (255, 255, 255), shade=0, edge=0
    )


def bird(canvas: Canvas) -> None:
    """Draw a songbird on a branch."""
    rng = canvas.rng
    scenes.background(canvas)
    frame = middle(canvas, (0.16, 0.26), turn=0.06)
    coat = pick(rng, (*BRIGHT, (110, 94, 82), (90, 100, 120)))
    breast = pick(rng, ((240, 226, 196), (226, 132, 74), (244, 206, 110)))
    bark = vary(rng, (112, 82, 60), 10)
    canvas.fill(frame, limb([(-4, 1.2), (-1.2, 1.02), (1, 1.1), (4, 0.8)], (0.16, 0.13, 0.14, 0.1)), bark, fur=0.5)
    for x in (-1.9, 1.6, 2.3):
        leaf = oval(x, 0.82, 0.36, 0.15, float(rng.uniform(-0.8, 0.4)))
        canvas.fill(frame, leaf, vary(rng, (98, 148, 76), 12), shade=0.5)
    canvas.fill(
        frame, [(-0.8, 0.3), (-1.9, 0.95), (-2.1, 0.85), (-2.0, 0.6), (-0.9, -0.1)], darker(coat, 0.25), fur=0.5
    )
    for x in (0.0, 0.35):
        canvas.stroke(frame, [(x, 0.7), (x + 0.05, 1.0)], (196, 128, 70), 0.08, smoothed=False)
    body = [
        (0.15, -1.15),
        (0.62, -1.05),
        (0.8, -0.65),
        (0.85, 0.1),
        (0.4, 0.75),
        (-0.35, 0.75),
        (-0.95, 0.25),
        (-0.65, -0.3),
        (-0.25, -0.8),
    ]
    canvas.fill(frame, body, coat, shade=0.65, fur=0.4, ragged=0.03)
    canvas.fill(
        frame,
        [(0.72, -0.55), (0.82, 0.1), (0.4, 0.7), (-0.1, 0.68), (0.2, 0.1), (0.4, -0.45)],
        breast,
        shade=0.45,
        fur=0.4,
        edge=0.08,
    )
    wing = [(0.15, -0.35), (0.3, 0.05), (-0.1, 0.42), (-1.25, 0.62), (-0.85, 0.15), (-0.4, -0.3)]
    canvas.fill(frame, wing, darker(coat, 0.3), shade=0.6, fur=0.4)
    for y in (0.12, 0.3):
        canvas.stroke(frame, [(0.1, y), (-0.4, y + 0.14), (-0.95, y + 0.26)], darker(coat, 0.6), 0.04)
    canvas.fill(frame, [(0.74, -0.92), (1.25, -0.74), (1.22, -0.7), (0.76, -0.62)], (236, 168, 56), shade=0.5)
    canvas.stroke(frame, [(0.78, -0.76), (1.2, -0.72)], (150, 92, 36), 0.03, smoothed=False)
    beady_eye(canvas, frame, 0.46, -0.8, 0.12, rim=lighter(coat, 0.5))


def _water(image: Image.Image, rng: np.random.Generator) -> None:
    width, height = image.size
    blue = pick(rng, ((40, 124, 170), (46, 140, 140), (60, 100, 168)))
    image.paste(scenes.slope(image.size, lighter(blue, 0.4), darker(blue, 0.3)))
    pen = ImageDraw.Draw(image, "RGBA")
    for x in rng.uniform(0, width, 4):  # light from above
        pen.polygon([(x, 0), (x + 18, 0), (x + 70, height), (x + 10, height)], (255, 255, 255, 22))
    pen.ellipse((-width * 0.2, height * 0.86, width * 1.2, height * 1.3), (214, 194, 148))
    for x in rng.uniform(0, width, 6):
        top = height * rng.uniform(0.55, 0.8)
        weed = limb([(x, height), (x + 10, (top + height) / 2), (x - 6, top)], (5, 4, 1))
        pen.polygon(weed.ravel().tolist(), vary(rng, (60, 140, 90), 16))


def fish(canvas: Canvas) -> None:
    """Draw a fish under water."""
    rng = canvas.rng
    scenes.background(canvas, _water)
    frame = middle(canvas, (0.17, 0.28))
    colour, band = pick(rng), pick(rng, ((250, 244, 230), (40, 44, 60), (246, 206, 90)))
    fin = mix(colour, band, 0.35)
    high = float(rng.uniform(0.7, 1.1))
    canvas.fill(frame, [(-1.1, 0), (-1.7, -0.75), (-1.95, -0.7), (-1.65, 0), (-1.95, 0.7), (-1.7, 0.75)], fin, fur=0.3)
    canvas.fill(frame, [(-0.7, -0.45 * high), (-0.2, -1.15 * high), (0.55, -0.85 * high), (0.5, -0.4)], fin, fur=0.3)
    canvas.fill(frame, [(-0.5, 0.4 * high), (-0.5, 0.95 * high), (0.0, 0.6 * high)], fin, fur=0.3)
    body = [
        (1.35, 0.05),
        (1.0, -0.45 * high),
        (0.3, -0.72 * high),
        (-0.6, -0.5 * high),
        (-1.25, -0.12),
        (-1.25, 0.12),
        (-0.6, 0.5 * high),
        (0.3, 0.7 * high),
        (1.0, 0.5 * high),
    ]
    bands = [
        (limb([(x, -1.0), (x + 0.12, 0), (x, 1.0)], (0.13, 0.17, 0.13))[::4], band, 0.92) for x in (-0.75, -0.05, 0.6)
    ]
    canvas.fill(frame, body, colour, shade=0.75, marks=bands[: int(rng.integers(0, 4))])
    for x in np.arange(-0.5, 0.5, 0.28):
        for y in (-0.22, 0.04, 0.3):
            canvas.stroke(frame, [(x, y - 0.12), (x - 0.09, y), (x, y + 0.12)], darker(colour, 0.25), 0.025)
    canvas.fill(frame, [(0.35, 0.1), (-0.25, 0.3), (-0.3, 0.5), (0.3, 0.35)], fin, fur=0.3)
    canvas.stroke(frame, [(0.72, -0.32), (0.62, 0.05), (0.74, 0.38)], darker(colour, 0.4), 0.04)
    canvas.stroke(frame, [(1.32, 0.12), (1.15, 0.2), (1.05, 0.16)], darker(colour, 0.6), 0.04)
    beady_eye(canvas, frame, 0.98, -0.12, 0.13)
    for x, y, r in zip(rng.uniform(1.4, 2.0, 4), rng.uniform(-1.6, -0.2, 4), rng.uniform(0.05, 0.13, 4), strict=True):
        canvas.glaze(frame, oval(x, y, r, r), (236, 248, 255), 0.55)


def butterfly(canvas: Canvas) -> None:
    """Draw a butterfly with open wings."""
    rng = canvas.rng
    scenes.background(canvas)
    frame = middle(canvas, (0.2, 0.32), turn=0.3)
    colour, dot = pick(rng), pick(rng, ((252, 244, 220), (250, 214, 110), (180, 214, 246)))
    rim = (44, 34, 40)
    narrow = float(rng.uniform(0.75, 1.0))
    for side in (False, True):
        wing = frame.at(0, 0, flip=side)
        lower = np.array([(0.05, 0.1), (0.75, 0.12), (1.0, 0.5), (0.78, 0.98), (0.4, 1.02), (0.12, 0.55)]) * (narrow, 1)
        upper = np.array([(0.05, 0.05), (0.35, -0.6), (0.95, -1.02), (1.3, -0.95), (1.25, -0.3), (0.8, 0.12)]) * (
            narrow,
            1,
        )
        for outline, centre in ((lower, (0.55 * narrow, 0.52)), (upper, (0.75 * narrow, -0.42))):
            canvas.fill(wing, outline, rim, shade=0.3)
            canvas.fill(wing, (outline - centre) * 0.8 + centre, colour, shade=0.6, fur=0.3, edge=0.2)
            canvas.fill(wing, oval(*centre, 0.16, 0.16), dot, shade=0.3)
            canvas.fill(wing, oval(*centre, 0.07, 0.07), rim, shade=0, edge=0)
        for x, y in ((1.13, -0.78), (1.14, -0.5), (0.86, 0.5), (0.72, 0.82)):
            canvas.fill(wing, oval(x * narrow, y, 0.055, 0.055), dot, shade=0, edge=0)
        canvas.stroke(wing, [(0.03, -0.42), (0.14, -0.8), (0.34, -1.0)], rim, 0.03)
        canvas.fill(wing, oval(0.35, -1.01, 0.045, 0.045), rim, shade=0, edge=0)
    canvas.fill(frame, limb([(0, -0.4), (0, 0.1), (0, 0.75)], (0.1, 0.1, 0.04)), (70, 54, 50), fur=0.6, smoothed=False)
    canvas.fill(frame, oval(0, -0.42, 0.11, 0.11), (60, 46, 44))


def turtle(canvas: Canvas) -> None:
    """Draw a tortoise that walks."""
    rng = canvas.rng
    scenes.background(canvas)
    frame = middle(canvas, (0.19, 0.29), height=0.84, turn=0.04)
    skin, shell = (
        pick(rng, ((132, 156, 92), (164, 154, 100), (110, 140, 110))),
        pick(rng, ((126, 96, 58), (98, 112, 66), (150, 112, 66))),
    )
    scenes.shadow(canvas, frame, 1.5)
    for x in (-0.55, 0.95):
        canvas.fill(frame, limb([(x, -0.4), (x + 0.05, -0.06)], (0.2, 0.22)), darker(skin, 0.3), smoothed=False)
    canvas.fill(frame, [(-1.1, -0.35), (-1.55, -0.12), (-1.1, -0.2)], skin)
    canvas.fill(
        frame, limb([(0.8, -0.45), (1.3, -0.7), (1.5, -1.05)], (0.24, 0.2, 0.18)), skin, fur=0.3, smoothed=False
    )
    canvas.fill(
        frame,
        [(1.25, -1.1), (1.5, -1.36), (1.85, -1.25), (1.98, -1.0), (1.75, -0.82), (1.4, -0.85)],
        skin,
        shade=0.6,
        fur=0.2,
    )
    canvas.stroke(frame, [(1.96, -0.96), (1.8, -0.93), (1.66, -0.98)], darker(skin, 0.6), 0.04)
    beady_eye(canvas, frame, 1.66, -1.13, 0.08, rim=lighter(skin, 0.4))
    plates = [
        (mirror([(0, -0.24), (0.2, -0.14), (0.2, 0.14), (0, 0.24)]) + np.array((x, y)), darker(shell, 0.35), 0.85)
        for x, y in (
            (-0.62, -0.62),
            (-0.1, -0.78),
            (0.42, -0.66),
            (-0.3, -0.36),
            (0.2, -0.36),
            (0.75, -0.36),
            (-0.82, -0.3),
            (-0.38, -1.08),
            (0.2, -1.08),
        )
    ]
    dome = [(-1.2, -0.2), (-1.12, -0.62), (-0.7, -1.12), (0, -1.32), (0.7, -1.08), (1.1, -0.58), (1.15, -0.2)]
    canvas.fill(frame, dome, shell, shade=0.8, marks=plates)
    rim = limb(smooth_open([(-1.25, -0.24), (0, -0.14), (1.2, -0.24)]), (0.1, 0.12, 0.1))
    canvas.fill(frame, rim, lighter(shell, 0.25), smoothed=False)
    for x in (-0.8, 0.62):
        canvas.fill(
            frame, limb([(x, -0.25), (x + 0.12, -0.04)], (0.22, 0.24)), skin, shade=0.5, fur=0.2, smoothed=False
        )
