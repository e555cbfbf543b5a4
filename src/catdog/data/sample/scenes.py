"""Backgrounds and foregrounds: rooms, lawns, beaches, snow, streets; toys, grass, boxes.

Backgrounds are drawn without supersampling, which makes them softer than the subject, as in photos. Each place is used
with each class, so backgrounds don't reveal the class.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from catdog.data.sample import furniture
from catdog.data.sample.canvas import Canvas, Colour, darker, fur_tile, lighter, mix, vary
from catdog.data.sample.shapes import Frame, limb, oval

Place = Callable[[Image.Image, np.random.Generator], None]

WALLS: Final[tuple[Colour, ...]] = (
    (214, 200, 178),
    (176, 192, 186),
    (198, 178, 170),
    (168, 184, 204),
    (222, 214, 196),
    (150, 168, 140),
    (206, 170, 132),
)
_FLOORS: Final[tuple[Colour, ...]] = ((150, 106, 70), (186, 146, 104), (112, 82, 62), (172, 164, 152), (128, 118, 122))
_TOYS: Final[tuple[Colour, ...]] = ((206, 70, 62), (72, 120, 190), (226, 186, 60), (120, 170, 84), (170, 96, 170))


def background(canvas: Canvas, place: Place | None = None) -> None:
    """Fill the canvas with a place: any of the `PLACES` if none is given."""
    rng = canvas.rng
    image = Image.new("RGB", canvas.size)
    (place or PLACES[int(rng.integers(len(PLACES)))])(image, rng)
    if blur := float(rng.choice((0.0, 1.0, 2.0, 3.0))):
        image = image.filter(ImageFilter.BoxBlur(blur))
    canvas.image = image.resize(canvas.image.size, Image.Resampling.NEAREST)  # shrinking restores the original


def shadow(canvas: Canvas, frame: Frame, width: float, x: float = 0.0) -> None:
    """Lay the soft shadow of something `width` wide on the ground at the frame's origin, away from the light."""
    shift = canvas.light[0] * 0.3 * width * float(np.sign(frame.matrix[0, 0]))
    canvas.glaze(frame, oval(x + shift, -0.02, width, 0.2 * width), (20, 18, 30), 0.5, 0.09 * width)


def toy(canvas: Canvas, frame: Frame) -> None:
    """Draw a ball, a bowl or a cushion that lies on the ground at the frame's origin."""
    rng = canvas.rng
    colour = vary(rng, _TOYS[int(rng.integers(len(_TOYS)))], 12)
    kind = rng.integers(3)
    shadow(canvas, frame, 0.5)
    if kind == 0:
        canvas.fill(frame, oval(0, -0.4, 0.4, 0.4), colour, shade=0.8)
        for bend in (-0.25, 0.25):
            canvas.stroke(frame, [(bend, -0.75), (bend * 0.3, -0.4), (bend, -0.05)], lighter(colour, 0.6), 0.05)
    elif kind == 1:
        canvas.fill(frame, oval(0, -0.36, 0.55, 0.14), darker(colour, 0.5), shade=0)
        canvas.fill(
            frame, [(-0.55, -0.36), (0, -0.24), (0.55, -0.36), (0.46, -0.02), (-0.46, -0.02)], colour, shade=0.7
        )
    else:
        canvas.fill(
            frame, [(-0.9, -0.5), (0, -0.58), (0.9, -0.5), (0.98, -0.05), (0, 0.04), (-0.98, -0.05)], colour, shade=0.7
        )


def foreground(canvas: Canvas) -> None:
    """Hide a part of the image behind grass, a box, a curtain or leaves."""
    rng, frame = canvas.rng, canvas.frame
    wide, high = (side / min(canvas.image.size) for side in canvas.image.size)
    kind = int(rng.integers(4))
    colour = vary(rng, _TOYS[int(rng.integers(len(_TOYS)))], 15)
    if kind == 0:
        green = vary(rng, (86, 132, 58), 14)
        for _ in range(34):
            x, top = rng.uniform(0, wide), high - rng.uniform(0.05, 0.22)
            blade = limb(
                [(x, high + 0.02), (x + rng.normal(0, 0.015), (top + high) / 2), (x + rng.normal(0, 0.05), top)],
                (0.012, 0.009, 0.001),
            )
            canvas.fill(frame, blade[::2], vary(rng, green, 14), shade=0, edge=0, smoothed=False)
    elif kind == 1:
        top = high - rng.uniform(0.12, 0.3)
        card = vary(rng, (184, 142, 96), 12)
        left, right = sorted(rng.uniform(-0.1, wide + 0.1, 2))
        left, right = left - 0.25, right + 0.25
        canvas.fill(
            frame,
            [(left, top), (right, top + rng.normal(0, 0.02)), (right, high + 0.1), (left, high + 0.1)],
            card,
            shade=0.5,
            smoothed=False,
        )
        canvas.stroke(frame, [(left, top + 0.03), (right, top + 0.03)], darker(card, 0.3), 0.006, smoothed=False)
    elif kind == 2:
        side, width = rng.random() < 0.5, rng.uniform(0.12, 0.28)
        for fold in np.linspace(0, width, 5)[1:]:
            x = wide - width + fold if side else width - fold
            edge = [(x, -0.1), (x + 0.02, high / 2), (x - 0.01, high + 0.1)]
            canvas.fill(frame, limb(edge, (0.04, 0.05, 0.045)), colour, shade=0.7, edge=0.15, smoothed=False)
    else:
        for _ in range(7):
            x, y = rng.uniform(0, wide), rng.choice((rng.uniform(0, 0.12), high - rng.uniform(0, 0.12)))
            leaf = oval(x, y, rng.uniform(0.05, 0.11), rng.uniform(0.02, 0.04), rng.uniform(0, 3))
            canvas.glaze(frame, leaf, vary(rng, (74, 120, 62), 18), 0.9, 0.012)


def slope(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """Return an image that goes from one colour to another downwards."""
    rows = np.linspace(top, bottom, size[1])[:, None].round().astype(np.uint8)
    return Image.fromarray(rows).resize(size, Image.Resampling.NEAREST)


def _sky(image: Image.Image, rng: np.random.Generator, down_to: int) -> None:
    width = image.width
    top, bottom = (
        ((96, 152, 214), (206, 226, 240)),
        ((150, 166, 186), (214, 216, 216)),
        ((84, 96, 150), (250, 190, 140)),
    )[int(rng.choice(3, p=(0.6, 0.25, 0.15)))]
    image.paste(slope((width, down_to), vary(rng, top), vary(rng, bottom)))
    pen = ImageDraw.Draw(image, "RGBA")
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(0, width), rng.uniform(0.05, 0.7) * down_to
        for _ in range(5):
            dx, dy, r = rng.normal(0, 0.07) * width, rng.normal(0, 0.02) * width, rng.uniform(0.03, 0.08) * width
            pen.ellipse((x + dx - 1.5 * r, y + dy - 0.7 * r, x + dx + 1.5 * r, y + dy + 0.7 * r), (255, 255, 255, 150))


def _ground(
    image: Image.Image, rng: np.random.Generator, horizon: int, far: Colour, near: Colour, *, rough: float
) -> None:
    """Fill the lower part, with strands or grains that are `rough` opaque."""
    size = (image.width, image.height - horizon)
    ground = slope(size, far, near)
    x, y = (int(v) for v in rng.integers(0, 400, 2))
    grain = fur_tile().crop((x, y, x + size[0], y + 2 * size[1])).resize(size)
    ground.paste(darker(near, 0.45), mask=grain.point(lambda v: v * rough))
    image.paste(ground, (0, horizon))


def _lawn(image: Image.Image, rng: np.random.Generator) -> None:
    width, height = image.size
    horizon = int(height * rng.uniform(0.35, 0.6))
    _sky(image, rng, horizon + 2)
    pen = ImageDraw.Draw(image)
    green = vary(rng, (98, 142, 66), 12)
    for _ in range(int(rng.integers(2, 9))):  # trees and bushes far away
        x, r = rng.uniform(0, width), rng.uniform(0.05, 0.15) * width
        leaf = mix(vary(rng, (70, 112, 60), 12), (170, 196, 200), 0.25)
        pen.rectangle((x - r * 0.1, horizon - r, x + r * 0.1, horizon + 2), darker(leaf, 0.4))
        pen.ellipse((x - r, horizon - 2.2 * r, x + r, horizon - 0.2 * r), leaf)
        pen.ellipse((x - r * 0.8, horizon - 2.1 * r, x + r * 0.3, horizon - 1.0 * r), lighter(leaf, 0.15))
    _ground(image, rng, horizon, lighter(green, 0.25), darker(green, 0.15), rough=0.6)
    if rng.random() < 0.3:
        wood = vary(rng, (206, 196, 178), 15)
        for x in range(-10, width + 10, 18):
            pen.polygon(
                [
                    (x, horizon + 8),
                    (x, horizon - 38),
                    (x + 5, horizon - 46),
                    (x + 10, horizon - 38),
                    (x + 10, horizon + 8),
                ],
                wood,
            )
        pen.rectangle((0, horizon - 28, width, horizon - 23), darker(wood, 0.15))
    for _ in range(int(rng.choice((0, 0, 18, 30)))):
        x, y = rng.uniform(0, width), rng.uniform(horizon + 8, height)
        r = 0.8 + 2.2 * (y - horizon) / (height - horizon)
        pen.ellipse(
            (x - r, y - r, x + r, y + r), ((250, 246, 240), (246, 210, 70), (216, 100, 120))[int(rng.integers(3))]
        )


def _room(image: Image.Image, rng: np.random.Generator) -> None:
    width, height = image.size
    horizon = int(height * rng.uniform(0.5, 0.72))
    wall = vary(rng, WALLS[int(rng.integers(len(WALLS)))], 12)
    floor = vary(rng, _FLOORS[int(rng.integers(len(_FLOORS)))], 12)
    image.paste(slope((width, horizon), darker(wall, 0.12), lighter(wall, 0.15)))
    pen = ImageDraw.Draw(image, "RGBA")
    if rng.random() < 0.35:
        for left in range(0, width, int(rng.integers(14, 34))):
            pen.rectangle((left, 0, left + 6, horizon), (*darker(wall, 0.25), 60))
    chosen = rng.permutation(len(furniture.PIECES))[: int(rng.integers(1, 4))]
    for piece in chosen:
        furniture.PIECES[piece](image, pen, rng, horizon)
    _ground(image, rng, horizon, lighter(floor, 0.12), darker(floor, 0.12), rough=0.25)
    pen.rectangle((0, horizon - 5, width, horizon), (*lighter(wall, 0.5), 255))
    if rng.random() < 0.5:  # boards towards the viewer
        for x in np.linspace(-width, 2 * width, 19):
            pen.line((width / 2 + (x - width / 2) * 0.5, horizon, x, height), (*darker(floor, 0.4), 110))
    if rng.random() < 0.5:
        rug = vary(rng, _TOYS[int(rng.integers(len(_TOYS)))], 15)
        x, y, r = width * rng.uniform(0.3, 0.7), height * rng.uniform(0.84, 0.94), width * rng.uniform(0.3, 0.5)
        for share, colour in ((1.0, mix(rug, wall, 0.3)), (0.8, lighter(rug, 0.35))):
            pen.ellipse((x - r * share, y - r * share / 4, x + r * share, y + r * share / 4), (*colour, 255))


def _beach(image: Image.Image, rng: np.random.Generator) -> None:
    width, height = image.size
    horizon, shore = int(height * rng.uniform(0.3, 0.45)), int(height * rng.uniform(0.5, 0.62))
    _sky(image, rng, horizon)
    image.paste(slope((width, shore - horizon), (60, 124, 162), (130, 188, 196)), (0, horizon))
    _ground(image, rng, shore, (226, 206, 164), vary(rng, (206, 178, 130)), rough=0.15)
    ImageDraw.Draw(image).line([(x, shore + 3 * np.sin(x / 23)) for x in range(0, width + 8, 8)], (246, 248, 246), 4)


def _snow(image: Image.Image, rng: np.random.Generator) -> None:
    width, height = image.size
    horizon = int(height * rng.uniform(0.45, 0.6))
    image.paste(slope((width, horizon + 2), vary(rng, (150, 172, 200)), (222, 228, 236)))
    pen = ImageDraw.Draw(image)
    for x in rng.uniform(0, width, int(rng.integers(3, 8))):
        tall, fir = rng.uniform(0.2, 0.42) * height, mix(vary(rng, (62, 96, 84), 10), (190, 205, 215), 0.25)
        for layer in range(3):
            y, half = horizon - tall * layer * 0.28, tall * (0.3 - 0.07 * layer)
            pen.polygon([(x - half, y), (x, y - tall * 0.45), (x + half, y)], fir)
    _ground(image, rng, horizon, (232, 236, 242), (208, 216, 230), rough=0.06)


def _street(image: Image.Image, rng: np.random.Generator) -> None:
    width, height = image.size
    horizon = int(height * rng.uniform(0.55, 0.72))
    brick = vary(rng, ((172, 104, 82), (190, 172, 150), (150, 150, 156))[int(rng.integers(3))], 14)
    image.paste(lighter(brick, 0.25), (0, 0, width, horizon))
    pen = ImageDraw.Draw(image)
    for row, y in enumerate(range(0, horizon, 11)):
        for x in range(-24 * (row % 2) // 2 - 2, width, 24):
            pen.rectangle((x, y, x + 21, y + 8), mix(brick, darker(brick, 0.4), float(rng.random() * 0.5)))
    _ground(image, rng, horizon, (170, 166, 160), vary(rng, (140, 138, 136), 10), rough=0.15)
    pen.line((0, horizon, width, horizon), (96, 90, 88), 4)


def _studio(image: Image.Image, rng: np.random.Generator) -> None:
    width, height = image.size
    colour = vary(rng, (*WALLS, *_TOYS)[int(rng.integers(len(WALLS) + len(_TOYS)))], 15)
    image.paste(slope(image.size, darker(colour, 0.15), lighter(colour, 0.3)))
    for x, y, r in zip(rng.uniform(0, width, 9), rng.uniform(0, 0.7 * height, 9), rng.uniform(8, 34, 9), strict=True):
        ImageDraw.Draw(image, "RGBA").ellipse(
            (x - r, y - r, x + r, y + r), (*lighter(colour, 0.7), int(rng.integers(0, 70)))
        )


PLACES: Final[tuple[Place, ...]] = (_lawn, _room, _room, _lawn, _beach, _snow, _street, _studio)
"""Rooms and lawns are twice as frequent as the others."""
