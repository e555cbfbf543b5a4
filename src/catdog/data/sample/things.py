"""Flowers, mushrooms, cars, boats and houses, each in its place."""

import numpy as np
from PIL import Image, ImageDraw

from catdog.data.sample import scenes
from catdog.data.sample.canvas import Canvas, Colour, darker, lighter, vary
from catdog.data.sample.creatures import BRIGHT, middle, pick
from catdog.data.sample.shapes import Frame, limb, mirror, oval

_GLASS: Colour = (176, 208, 226)


def flower(canvas: Canvas) -> None:
    """Draw a large flower on its stem."""
    rng = canvas.rng
    scenes.background(canvas)
    frame = middle(canvas, (0.17, 0.27), height=0.4)
    colour, heart = pick(rng, (*BRIGHT, (250, 244, 232))), pick(rng, ((246, 196, 60), (126, 78, 44)))
    green = vary(rng, (84, 138, 68), 10)
    canvas.fill(frame, limb([(0, 0), (0.15, 1.4), (-0.1, 4)], (0.09, 0.1, 0.12)), green, smoothed=False)
    for side in (False, True):
        leaf = [(0, 0), (0.5, -0.45), (1.15, -0.55), (0.75, 0.0)]
        canvas.fill(frame.at(0.1, 1.75 + 0.3 * side, 1.0, float(rng.normal(0, 0.15)), flip=side), leaf, green, fur=0.3)
    count = int(rng.integers(6, 14))
    width = 1.7 / count
    for layer, reach in ((0.5, 1.05), (0.0, 0.95)):
        for angle in (np.arange(count) + layer) * 2 * np.pi / count + 0.2:
            petal = [
                (0.1, 0),
                (0.45, -width),
                (0.85 * reach, -width * 1.1),
                (reach, 0),
                (0.85 * reach, width * 1.1),
                (0.45, width),
            ]
            canvas.fill(
                frame.at(0, 0, 1.0, float(angle)), petal, darker(colour, 0.2) if layer else colour, shade=0.5, edge=0.25
            )
    canvas.fill(frame, oval(0, 0, 0.34, 0.34), heart, shade=0.7, fur=0.8)
    for x, y in rng.normal(0, 0.13, (14, 2)):
        canvas.fill(frame, oval(x, y, 0.03, 0.03), darker(heart, 0.5), shade=0, edge=0)


def mushroom(canvas: Canvas) -> None:
    """Draw one large mushroom, perhaps with a small one beside it."""
    rng = canvas.rng
    scenes.background(canvas)
    frame = middle(canvas, (0.2, 0.3), height=0.86, turn=0.05)
    cap = pick(rng, ((200, 54, 44), (168, 112, 70), (222, 172, 104), (190, 120, 60)))
    dots = bool(rng.random() < 0.6)
    if rng.random() < 0.6:
        _mushroom(canvas, frame.at(1.25, 0.05, 0.5, 0.1), vary(rng, cap), dots=dots)
    _mushroom(canvas, frame, cap, dots=dots)


def _mushroom(canvas: Canvas, frame: Frame, cap: Colour, *, dots: bool) -> None:
    rng, stem = canvas.rng, vary(canvas.rng, (236, 224, 202), 8)
    scenes.shadow(canvas, frame, 0.8)
    canvas.fill(
        frame,
        mirror([(0, -1.5), (0.26, -1.4), (0.27, -0.7), (0.42, -0.1), (0.2, 0.03), (0, 0.04)]),
        stem,
        shade=0.7,
        fur=0.4,
    )
    canvas.fill(
        frame, mirror([(0, -0.98), (0.2, -1.0), (0.42, -0.82), (0.2, -0.86), (0, -0.84)]), lighter(stem, 0.4), shade=0.4
    )
    canvas.fill(frame, oval(0, -1.32, 1.0, 0.2), darker(stem, 0.25), shade=0.4, fur=0.6)
    dome = mirror([(0, -2.25), (0.45, -2.14), (0.88, -1.75), (1.1, -1.32), (0.55, -1.2), (0, -1.17)])
    places = (
        (-0.1, -2.05, 0.16),
        (0.42, -1.85, 0.13),
        (-0.55, -1.72, 0.14),
        (0.06, -1.62, 0.17),
        (0.74, -1.48, 0.11),
        (-0.82, -1.4, 0.09),
        (-0.3, -1.36, 0.09),
    )
    spots = [(oval(x, y, r, r * 0.8)[::3], (248, 240, 226), 1.0) for x, y, r in places if rng.random() < 0.9]
    canvas.fill(frame, dome, cap, shade=0.8, marks=spots if dots else ())


def _road(image: Image.Image, rng: np.random.Generator) -> None:
    scenes.PLACES[int(rng.choice((0, 6)))](image, rng)
    width, height = image.size
    top = int(height * 0.66)
    image.paste(scenes.slope((width, height - top), (104, 104, 110), (78, 78, 84)), (0, top))
    pen = ImageDraw.Draw(image)
    for x in range(-10, width, 52):
        pen.polygon(
            [(x, height * 0.93), (x + 26, height * 0.93), (x + 22, height * 0.95), (x - 6, height * 0.95)],
            (232, 228, 212),
        )


def car(canvas: Canvas) -> None:
    """Draw a car from its side, on a road."""
    rng = canvas.rng
    scenes.background(canvas, _road)
    frame = middle(canvas, (0.17, 0.24), height=0.82, turn=0.015)
    colour, tall = pick(rng), float(rng.uniform(0.85, 1.2))
    back = float(rng.uniform(-1.75, -1.2))
    scenes.shadow(canvas, frame, 2.0)
    roof = -0.95 - 0.55 * tall
    body = [
        (-2, -0.3),
        (-1.98, -0.8),
        (back, -0.95),
        (back + 0.35, roof),
        (0.2, roof - 0.04),
        (0.85, -0.95),
        (1.75, -0.8),
        (2, -0.5),
        (1.98, -0.28),
        (0, -0.22),
    ]
    canvas.fill(frame, body, colour, shade=0.7)
    for left, right, lean in ((back + 0.28, -0.38, 0.22), (-0.28, 0.62, 0.0)):
        glass = [(left, -0.95), (left + lean, roof + 0.14), (right - 0.45 * (lean == 0), roof + 0.14), (right, -0.95)]
        canvas.fill(frame, glass, _GLASS, shade=0.6, smoothed=False)
    canvas.stroke(frame, [(-0.33, -0.95), (-0.36, -0.3)], darker(colour, 0.5), 0.03)
    canvas.stroke(frame, [(-1.95, -0.55), (1.95, -0.52)], darker(colour, 0.35), 0.03, smoothed=False)
    canvas.fill(frame, limb([(-0.12, -0.76), (0.08, -0.76)], (0.04, 0.04)), (220, 220, 220), edge=0.5, smoothed=False)
    canvas.fill(frame, oval(1.82, -0.62, 0.14, 0.11), (255, 244, 190), edge=0.4)
    canvas.fill(frame, oval(-1.9, -0.64, 0.08, 0.12), (196, 44, 40), edge=0.4)
    for x in (-1.15, 1.15):
        canvas.fill(frame, oval(x, -0.22, 0.48, 0.48), darker(colour, 0.7), shade=0, edge=0)
        canvas.fill(frame, oval(x, -0.2, 0.42, 0.42), (40, 40, 44), shade=0.5)
        canvas.fill(frame, oval(x, -0.2, 0.22, 0.22), (198, 200, 206), shade=0.6)
        canvas.fill(frame, oval(x, -0.2, 0.07, 0.07), (90, 90, 96), shade=0)


def _sea(image: Image.Image, rng: np.random.Generator) -> None:
    scenes.PLACES[4](image, rng)
    width, height = image.size
    top = int(height * 0.5)
    blue = pick(rng, ((48, 112, 158), (50, 128, 138), (70, 104, 140)))
    image.paste(scenes.slope((width, height - top), lighter(blue, 0.3), darker(blue, 0.15)), (0, top))
    pen = ImageDraw.Draw(image, "RGBA")
    for x, y in zip(rng.uniform(0, width, 50), rng.uniform(top, height, 50), strict=True):
        pen.line((x, y, x + 6 + 16 * (y - top) / height, y), (255, 255, 255, 60), 2)


def boat(canvas: Canvas) -> None:
    """Draw a sailing boat on the sea."""
    rng = canvas.rng
    scenes.background(canvas, _sea)
    frame = middle(canvas, (0.17, 0.27), height=0.74, turn=0.05)
    hull, sail = pick(rng), pick(rng, ((248, 242, 228), (248, 242, 228), (222, 90, 70), (240, 196, 90)))
    canvas.glaze(frame, oval(0, 0.12, 1.4, 0.16), (18, 40, 70), 0.5, 0.1)
    canvas.stroke(frame, [(0, -0.4), (0, -2.7)], (112, 78, 52), 0.08, smoothed=False)
    canvas.fill(
        frame, [(0.1, -2.6), (0.7, -1.8), (1.25, -0.66), (0.6, -0.58), (0.1, -0.6), (0.12, -1.6)], sail, shade=0.6
    )
    for y in (-1.1, -1.6):
        canvas.stroke(frame, [(0.12, y), (0.9 + (y + 1.1) * 0.6, y + 0.03)], darker(sail, 0.25), 0.025, smoothed=False)
    canvas.fill(
        frame, [(-0.1, -2.4), (-0.4, -1.7), (-1.05, -0.7), (-0.5, -0.62), (-0.1, -0.66)], lighter(sail, 0.3), shade=0.6
    )
    canvas.fill(frame, [(0, -2.72), (-0.45, -2.6), (0, -2.5)], pick(rng), smoothed=False)
    canvas.fill(
        frame,
        [(-1.5, -0.48), (0, -0.4), (1.65, -0.52), (1.2, 0.1), (0.9, 0.18), (-1.0, 0.18), (-1.2, 0.1)],
        hull,
        shade=0.7,
    )
    canvas.fill(
        frame, limb([(-1.42, -0.38), (0, -0.3), (1.52, -0.4)], (0.06, 0.06, 0.06)), lighter(hull, 0.7), smoothed=False
    )
    for x in np.arange(-1.6, 1.7, 0.4):
        canvas.stroke(frame, [(x, 0.2), (x + 0.12, 0.14), (x + 0.3, 0.22)], (232, 242, 248), 0.05)


def house(canvas: Canvas) -> None:
    """Draw a house with roof, door, windows and chimney."""
    rng = canvas.rng
    scenes.background(canvas, scenes.PLACES[int(rng.choice((0, 5)))])
    frame = middle(canvas, (0.19, 0.27), height=0.82, turn=0.01)
    wall, roof, wood = pick(rng, scenes.WALLS), pick(rng, ((164, 74, 58), (96, 88, 96), (130, 84, 62))), pick(rng)
    wide, high = float(rng.uniform(1.1, 1.5)), float(rng.uniform(1.2, 1.6))
    peak = high + float(rng.uniform(0.7, 1.2))
    scenes.shadow(canvas, frame, wide * 1.2)
    canvas.fill(
        frame,
        np.array([(0.55, -peak + 0.1), (0.55, -peak - 0.25), (0.85, -peak - 0.25), (0.85, -high)]),
        darker(roof, 0.2),
        smoothed=False,
    )
    if rng.random() < 0.6:
        for i in range(4):
            canvas.glaze(
                frame,
                oval(0.7 + 0.13 * i, -peak - 0.45 - 0.25 * i, 0.12 + 0.05 * i, 0.1 + 0.04 * i),
                (236, 236, 240),
                0.6,
                0.06,
            )
    canvas.fill(
        frame,
        [(-wide, 0), (-wide, -high), (0, -peak + 0.15), (wide, -high), (wide, 0)],
        wall,
        shade=0.45,
        fur=0.15,
        smoothed=False,
    )
    for side in (False, True):
        slope = [(0, -peak - 0.1), (wide + 0.28, -high + 0.12), (wide + 0.2, -high + 0.32), (0, -peak + 0.16)]
        canvas.fill(frame.at(0, 0, flip=side), slope, roof, shade=0.5, smoothed=False)
    door = float(rng.choice((-0.5, 0.0, 0.5))) * wide
    canvas.fill(
        frame, [(door - 0.23, 0), (door - 0.23, -0.75), (door + 0.23, -0.75), (door + 0.23, 0)], wood, smoothed=False
    )
    canvas.fill(frame, oval(door + 0.14, -0.36, 0.035, 0.035), (240, 214, 120), shade=0)
    for x in (-0.58, 0.58):
        _pane(canvas, frame, x * wide, -0.95 if abs(x * wide - door) < 0.5 else -0.55)
    _pane(canvas, frame, 0, -high - 0.1)


def _pane(canvas: Canvas, frame: Frame, x: float, y: float) -> None:
    lit = (255, 224, 140) if canvas.rng.random() < 0.3 else _GLASS
    square = np.array([(-0.22, -0.22), (0.22, -0.22), (0.22, 0.22), (-0.22, 0.22)])
    canvas.fill(frame, square * 1.2 + (x, y), (246, 242, 234), shade=0, smoothed=False)
    canvas.fill(frame, square + np.array((x, y)), lit, shade=0.3, smoothed=False)
    for bar in ([(x, y - 0.22), (x, y + 0.22)], [(x - 0.22, y), (x + 0.22, y)]):
        canvas.stroke(frame, bar, (246, 242, 234), 0.05, smoothed=False)
