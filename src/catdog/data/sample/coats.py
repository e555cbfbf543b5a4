"""Fur: colours and patterns that cats, dogs and rabbits wear, and markings for any part of a body."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from catdog.data.sample.canvas import Colour, Mark, darker, lighter, mix, vary
from catdog.data.sample.shapes import Floats, limb

BLACK: Final = (44, 40, 44)
WHITE: Final = (240, 235, 226)
PINK: Final = (226, 152, 146)


@dataclass(frozen=True)
class Coat:
    """An animal's colours and pattern.

    Attributes:
        base: of most of the fur.
        pale: of chest, muzzle and paws.
        mark: of stripes and patches.
        ears: of the ears.
        pattern: plain, stripes, patches or saddle.
        eye: of the iris.
        nose: of the nose.
        blaze: whether a pale stripe runs down the face.
        mask: whether face, ears and legs are dark, as a Siamese cat's are.
    """

    base: Colour
    pale: Colour
    mark: Colour
    ears: Colour
    pattern: str = "plain"
    eye: Colour = (70, 42, 24)
    nose: Colour = (38, 32, 34)
    blaze: bool = False
    mask: bool = False

    def marks(self, rng: np.random.Generator, outline: ArrayLike) -> list[Mark]:
        """Return markings for a part of the body with this outline."""
        points = np.asarray(outline, np.float64)
        low, high = points.min(0), points.max(0)
        centre, reach = (low + high) / 2, (high - low) / 2
        if self.pattern == "stripes":
            return [(stripe, self.mark, 0.6) for stripe in _stripes(rng, centre, reach)]
        if self.pattern == "patches":
            colours = [self.mark, self.pale, self.mark]
            return [(_blob(rng, centre + reach * rng.uniform(-0.9, 0.9, 2), reach), c, 0.95) for c in colours]
        if self.pattern == "saddle":
            top = centre - (0.15 * reach[0], 0.75 * reach[1])
            return [(_blob(rng, top, reach * (1.7, 1.5), 0.12), self.mark, 0.9)]
        return []


def cat_coat(rng: np.random.Generator) -> Coat:
    """Return a cat's coat: ginger, tabby, black, grey, white, tuxedo, calico, Siamese or cream."""
    ginger, brown, grey = (222, 140, 66), (156, 124, 92), (138, 140, 148)
    coats = (
        Coat(ginger, lighter(ginger, 0.6), (176, 92, 34), ginger, "stripes", nose=PINK),
        Coat(brown, lighter(brown, 0.55), (74, 54, 40), brown, "stripes", nose=(150, 84, 76)),
        Coat(grey, lighter(grey, 0.6), (78, 80, 90), grey, "stripes", nose=(160, 100, 98)),
        Coat(grey, lighter(grey, 0.35), grey, grey, nose=(92, 82, 88)),
        Coat(BLACK, mix(BLACK, WHITE, 0.12), BLACK, BLACK),
        Coat(BLACK, WHITE, BLACK, BLACK, nose=PINK, blaze=True),
        Coat(WHITE, (250, 246, 240), WHITE, WHITE, nose=PINK),
        Coat(WHITE, ginger, BLACK, ginger, "patches", nose=PINK),
        Coat((226, 204, 172), (238, 224, 200), (92, 66, 54), (82, 60, 52), nose=(70, 50, 48), mask=True),
        Coat((232, 190, 138), (248, 230, 204), (206, 156, 100), (232, 190, 138), "stripes", nose=PINK),
    )
    coat = coats[int(rng.integers(len(coats)))]
    iris = ((112, 160, 70), (196, 160, 48), (96, 148, 112), (204, 122, 40))[int(rng.integers(4))]
    return _varied(rng, replace(coat, eye=(86, 150, 206) if coat.mask else iris))


def dog_coat(rng: np.random.Generator) -> Coat:
    """Return a dog's coat: golden, chocolate, black, beagle, shepherd, Dalmatian, red, grey, white or black-and-tan."""
    gold, brown, tan, red = (216, 168, 100), (112, 72, 48), (196, 136, 80), (184, 106, 54)
    coats = (
        Coat(gold, lighter(gold, 0.4), gold, darker(gold, 0.2)),
        Coat(brown, lighter(brown, 0.2), brown, darker(brown, 0.3), nose=(80, 50, 42)),
        Coat(BLACK, mix(BLACK, WHITE, 0.15), BLACK, BLACK),
        Coat(WHITE, (248, 244, 236), BLACK, tan, "saddle", blaze=True),
        Coat(tan, lighter(tan, 0.35), (58, 46, 42), (84, 60, 46), "saddle"),
        Coat(WHITE, (248, 244, 236), BLACK, BLACK, "patches"),
        Coat(red, WHITE, red, darker(red, 0.25), blaze=True),
        Coat((142, 138, 136), (206, 202, 196), (96, 94, 98), (100, 98, 102)),
        Coat(WHITE, (250, 246, 238), WHITE, (222, 200, 166)),
        Coat(BLACK, (178, 112, 60), BLACK, BLACK),
    )
    coat = coats[int(rng.integers(len(coats)))]
    blue = rng.random() < 0.08
    return _varied(
        rng, replace(coat, eye=(112, 160, 200) if blue else ((70, 42, 24), (104, 64, 28))[rng.random() < 0.5])
    )


def rabbit_coat(rng: np.random.Generator) -> Coat:
    """Return a rabbit's coat: brown, grey, white, fawn or pied."""
    brown, grey, fawn = (162, 128, 96), (148, 146, 148), (214, 178, 134)
    coats = (
        Coat(brown, lighter(brown, 0.6), brown, brown, nose=PINK),
        Coat(grey, lighter(grey, 0.6), grey, grey, nose=PINK),
        Coat(WHITE, (250, 247, 242), WHITE, WHITE, nose=PINK),
        Coat(fawn, lighter(fawn, 0.6), fawn, fawn, nose=PINK),
        Coat(WHITE, (250, 247, 242), (92, 74, 64), (92, 74, 64), "patches", nose=PINK),
    )
    return _varied(rng, replace(coats[int(rng.integers(len(coats)))], eye=(60, 36, 30)))


def _varied(rng: np.random.Generator, coat: Coat) -> Coat:
    """Return the coat of another animal of the same kind: each colour a little different."""
    same = coat.ears == coat.base
    base = vary(rng, coat.base, 9)
    return replace(
        coat,
        base=base,
        pale=vary(rng, coat.pale, 6),
        mark=vary(rng, coat.mark, 8),
        ears=base if same else vary(rng, coat.ears, 8),
        eye=vary(rng, coat.eye, 8),
    )


def _stripes(rng: np.random.Generator, centre: ArrayLike, reach: ArrayLike) -> list[Floats]:
    """Return tapering bands across the longer axis of a part."""
    (x, y), (rx, ry) = np.asarray(centre), np.asarray(reach)
    bands: list[Floats] = []
    count = int(np.clip(round(5 * max(rx, ry) / (min(rx, ry) + 0.3)), 3, 8))
    for place in (np.arange(count) + rng.uniform(0.2, 0.8)) / count * 2 - 1:
        bend, width = rng.uniform(-0.12, 0.12), 0.32 / count
        if rx >= ry:  # bands hang from the back
            spine = [
                (x + rx * place, y - 1.1 * ry),
                (x + rx * (place + bend), y - 0.3 * ry),
                (x + rx * place, y + 0.35 * ry),
            ]
            bands.append(limb(spine, (rx * width, rx * width * 0.9, 0.01)))
        else:
            side = rng.choice((-1, 1))
            spine = [
                (x + side * 1.1 * rx, y + ry * place),
                (x + side * 0.3 * rx, y + ry * (place + bend)),
                (x - side * 0.2 * rx, y + ry * place),
            ]
            bands.append(limb(spine, (ry * width, ry * width * 0.9, 0.01)))
    return [band[::3] for band in bands]


def _blob(rng: np.random.Generator, centre: ArrayLike, reach: ArrayLike, wobble: float = 0.3) -> Floats:
    """Return an irregular round outline."""
    t = np.linspace(0, 2 * np.pi, 9, endpoint=False)
    radius = 0.5 * (1 + rng.uniform(-wobble, wobble, len(t)))
    size = np.sqrt(np.prod(np.asarray(reach))) * 0.4 + np.asarray(reach) * 0.6
    blob: Floats = np.asarray(centre) + np.stack([np.cos(t), np.sin(t)], axis=1) * radius[:, None] * size
    return blob
