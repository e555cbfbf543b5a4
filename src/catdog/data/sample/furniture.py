"""What stands and hangs in rooms behind an animal; a piece is drawn on the wall, whose lower end is `horizon`."""

from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from catdog.data.sample.canvas import darker, lighter, vary
from catdog.data.sample.shapes import limb


def window(image: Image.Image, pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """Draw a window with a tree behind it, or the night."""
    x, w = rng.uniform(0, 0.7) * image.width, rng.uniform(0.25, 0.4) * image.width
    top, bottom = 0.1 * horizon, 0.7 * horizon
    night = rng.random() < 0.2
    pen.rectangle((x - 4, top - 4, x + w + 4, bottom + 4), (244, 240, 232))
    pen.rectangle((x, top, x + w, bottom), (38, 46, 84) if night else (196, 222, 242))
    if not night:
        pen.ellipse((x + w * 0.1, bottom - w * 0.35, x + w * 0.8, bottom), (138, 172, 120))
    pen.rectangle((x + w / 2 - 2, top, x + w / 2 + 2, bottom), (244, 240, 232))
    pen.rectangle((x, (top + bottom) / 2 - 2, x + w, (top + bottom) / 2 + 2), (244, 240, 232))


def frame(image: Image.Image, pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """Draw a framed painting."""
    x, y = rng.uniform(0.05, 0.8) * image.width, rng.uniform(0.1, 0.35) * horizon
    w, h = rng.uniform(0.12, 0.22) * image.width, rng.uniform(0.15, 0.3) * horizon
    pen.rectangle((x, y, x + w, y + h), vary(rng, (96, 70, 50), 20))
    pen.rectangle((x + 0.1 * w, y + 0.15 * h, x + 0.9 * w, y + 0.85 * h), vary(rng, (226, 218, 200), 12))
    pen.rectangle((x + 0.22 * w, y + 0.5 * h, x + 0.78 * w, y + 0.75 * h), vary(rng, (120, 150, 130), 25))


def plant(image: Image.Image, pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """Draw a plant in a pot."""
    x, size = rng.choice((0.1, 0.9)) * image.width, rng.uniform(0.12, 0.2) * image.width
    for angle in np.linspace(-2.6, -0.5, 9):
        tip = (x + np.cos(angle) * size * 1.4, horizon - size + np.sin(angle) * size * 1.5)
        leaf = limb(
            [(x, horizon - size * 0.5), ((x + tip[0]) / 2, (horizon - size + tip[1]) / 2 - size * 0.2), tip],
            (2, size * 0.13, 1),
        )
        pen.polygon(leaf.ravel().tolist(), vary(rng, (74, 118, 70), 14))
    pot = vary(rng, (186, 104, 74), 14)
    pen.polygon(
        [
            (x - size * 0.4, horizon - size * 0.6),
            (x + size * 0.4, horizon - size * 0.6),
            (x + size * 0.3, horizon),
            (x - size * 0.3, horizon),
        ],
        pot,
    )


def sofa(image: Image.Image, pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """Draw a sofa."""
    x, w = rng.uniform(-0.2, 0.4) * image.width, rng.uniform(0.6, 0.9) * image.width
    colour = vary(rng, ((96, 112, 136), (150, 84, 76), (110, 124, 98), (172, 150, 120))[int(rng.integers(4))], 12)
    pen.rounded_rectangle((x, horizon * 0.5, x + w, horizon), 14, colour)
    pen.rounded_rectangle((x + 12, horizon * 0.74, x + w - 12, horizon), 10, lighter(colour, 0.12))
    for arm in (x - 8, x + w - 16):
        pen.rounded_rectangle((arm, horizon * 0.64, arm + 24, horizon), 10, darker(colour, 0.12))


def lamp(image: Image.Image, pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """Draw a lamp that shines."""
    x, top = rng.uniform(0.05, 0.95) * image.width, horizon * rng.uniform(0.2, 0.4)
    pen.line((x, top, x, horizon), (70, 62, 58), 4)
    pen.ellipse((x - 60, top - 40, x + 60, top + 70), (255, 236, 180, 50))
    pen.polygon([(x - 14, top), (x + 14, top), (x + 24, top + 34), (x - 24, top + 34)], vary(rng, (244, 222, 170), 10))


PIECES: Final = (window, frame, plant, sofa, lamp)
