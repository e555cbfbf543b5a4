"""Heads from the front, in units of the head's half-width: cats, dogs and rabbits, and the eyes they share."""

from dataclasses import dataclass

import numpy as np

from catdog.data.sample.canvas import Canvas, Colour, darker, lighter, mix
from catdog.data.sample.coats import PINK, Coat
from catdog.data.sample.shapes import Frame, limb, mirror, oval, smooth_open


@dataclass(frozen=True)
class Mood:
    """What a face does: how far the eyes are open (0 to 1), where they look, whether the mouth is open."""

    open: float = 1.0
    look: tuple[float, float] = (0.0, 0.0)
    mouth: bool = False

    @staticmethod
    def drawn(rng: np.random.Generator, mouth: float = 0.0) -> "Mood":
        """Draw a mood; `mouth` is the probability of an open mouth."""
        lids = 0.0 if rng.random() < 0.1 else float(rng.uniform(0.65, 1.0))
        return Mood(lids, (float(rng.uniform(-1, 1)), float(rng.uniform(-0.6, 0.6))), bool(rng.random() < mouth))


def cat_face(canvas: Canvas, frame: Frame, coat: Coat, mood: Mood, *, fluff: float = 0.0, folded: bool = False) -> None:
    """Draw a cat's head: pointed upright ears, wide cheeks, a small nose, slit pupils and whiskers."""
    face = mix(coat.base, coat.mark, 0.55) if coat.mask else coat.base
    for side in (False, True):
        ear = frame.at(0, 0, flip=side)
        tip, turn = ((0.92, -0.74), (1.0, -0.66)) if folded else ((0.82, -1.4), (0.9, -1.37))
        canvas.fill(
            ear,
            [(0.2, -0.7), (0.5, -1.05), tip, turn, (1.0, -0.75), (0.95, -0.1), (0.5, -0.2)],
            coat.ears,
            fur=0.6,
            ragged=fluff,
        )
        if not folded:
            inner = [(0.38, -0.72), (0.6, -0.98), (0.78, -1.2), (0.83, -1.18), (0.86, -0.7), (0.8, -0.4)]
            canvas.fill(ear, inner, mix(PINK, coat.ears, 0.35), shade=0.6, edge=0.1)
    skull = mirror([(0, -0.8), (0.5, -0.76), (0.9, -0.38), (1.04, 0.12), (0.86, 0.56), (0.42, 0.86), (0, 0.93)])
    canvas.fill(frame, skull, coat.base, shade=0.55, fur=0.7, ragged=0.05 + fluff)
    if coat.mask:
        canvas.glaze(frame, oval(0, 0.2, 0.62, 0.62), coat.mark, 0.75, 0.14)
    _cat_markings(canvas, frame, coat)
    for x in (-0.2, 0.2):
        canvas.fill(frame, oval(x, 0.46, 0.29, 0.24), face if coat.mask else coat.pale, shade=0.35, fur=0.3, edge=0.06)
    canvas.fill(frame, oval(0, 0.7, 0.2, 0.15), face if coat.mask else coat.pale, shade=0.35, edge=0.06)
    canvas.fill(frame, [(-0.16, 0.2), (0, 0.17), (0.16, 0.2), (0.05, 0.34), (-0.05, 0.34)], coat.nose, shade=0.5)
    for side in (False, True):
        half = frame.at(0, 0, flip=side)
        canvas.stroke(half, [(0, 0.34), (0.01, 0.48), (0.14, 0.58), (0.3, 0.52)], darker(face, 0.75), 0.035)
        _eye(canvas, half.at(0.43, -0.03, 1.0, 0.14), 0.25, coat.eye, mood, face, slit=True, mirrored=side)
        _whiskers(canvas, half, coat)


def _cat_markings(canvas: Canvas, frame: Frame, coat: Coat) -> None:
    if coat.pattern == "stripes":
        for x, lean in ((-0.3, -0.05), (-0.1, 0), (0.1, 0), (0.3, 0.05)):
            canvas.glaze(
                frame, limb([(x + lean, -0.8), (x, -0.55), (x * 0.9, -0.36)], (0.07, 0.06, 0.01)), coat.mark, 0.8
            )
        for side in (-1, 1):
            for y in (0.08, 0.3):
                cheek = [(side * 1.02, y), (side * 0.8, y + 0.02), (side * 0.62, y - 0.06)]
                canvas.glaze(frame, limb(cheek, (0.05, 0.05, 0.01)), coat.mark, 0.75)
    if coat.pattern == "patches":
        canvas.glaze(frame, oval(0.5, -0.3, 0.42, 0.45), coat.mark, 0.95, 0.02)
        canvas.glaze(frame, oval(-0.52, -0.4, 0.36, 0.36), coat.pale, 0.9, 0.02)
    if coat.blaze:
        canvas.glaze(
            frame,
            mirror([(0, -0.5), (0.08, -0.2), (0.16, 0.2), (0.45, 0.5), (0.3, 0.85), (0, 0.9)]),
            coat.pale,
            0.97,
            0.02,
        )


def _whiskers(canvas: Canvas, half: Frame, coat: Coat) -> None:
    dark = sum(coat.base) < 300
    for slope in (-0.12, 0.04, 0.2):
        droop = float(canvas.rng.uniform(-0.05, 0.08))
        line = [(0.34, 0.46 + slope * 0.4), (0.85, 0.4 + slope), (1.4, 0.46 + 1.7 * slope + droop)]
        canvas.stroke(half, line, (226, 226, 226) if dark else (250, 248, 242), 0.022)


def _eye(
    canvas: Canvas,
    frame: Frame,
    size: float,
    iris: Colour,
    mood: Mood,
    lid: Colour,
    *,
    slit: bool = False,
    mirrored: bool = False,
) -> None:
    """Draw an eye around the frame's origin, with pupil, highlight and rim."""
    rim = darker(lid, 0.85)
    if mood.open < 0.3:
        canvas.stroke(frame, [(-size, 0), (0, size * 0.5), (size, -size * 0.1)], rim, size * 0.28)
        return
    height = size * (0.55 + 0.45 * mood.open) * (1.0 if slit else 0.95)
    canvas.fill(frame, oval(0, 0, size * 1.16, height * 1.16), rim, shade=0, edge=0)
    canvas.fill(frame, oval(0, 0, size, height), iris, shade=0.25, edge=0.5)
    x = mood.look[0] * size * 0.2 * (-1 if mirrored else 1)
    y = mood.look[1] * height * 0.2
    wide = size * (0.34 if slit else 0.66)
    canvas.fill(frame, oval(x, y, wide, height * (0.84 if slit else 0.68)), (14, 12, 16), shade=0, edge=0)
    shine = (-size if canvas.light[0] > 0 else size) * 0.32 * (-1 if mirrored else 1)
    canvas.fill(frame, oval(x + shine, -height * 0.36, size * 0.24, size * 0.24), (255, 255, 255), shade=0, edge=0)
    canvas.fill(frame, oval(x - shine * 0.8, height * 0.4, size * 0.1, size * 0.1), lighter(iris, 0.6), shade=0, edge=0)


def dog_face(canvas: Canvas, frame: Frame, coat: Coat, mood: Mood, *, ears: str = "drop", fluff: float = 0.0) -> None:
    """Draw a dog's head: ears that drop, fold or stand, a long broad muzzle, a large nose, perhaps the tongue."""
    if ears == "prick":
        for side in (False, True):
            half = frame.at(0, 0, flip=side)
            canvas.fill(
                half,
                [(0.12, -0.72), (0.42, -1.3), (0.66, -1.62), (0.7, -1.6), (0.86, -1.0), (0.84, -0.3)],
                coat.ears,
                fur=0.6,
                ragged=fluff,
            )
            canvas.fill(
                half,
                [(0.36, -0.85), (0.5, -1.15), (0.62, -1.38), (0.66, -1.38), (0.74, -0.9), (0.68, -0.5)],
                mix(PINK, coat.ears, 0.55),
                edge=0.1,
            )
    skull = mirror(
        [(0, -0.9), (0.45, -0.86), (0.78, -0.5), (0.82, -0.05), (0.72, 0.35), (0.55, 0.75), (0.3, 1.0), (0, 1.08)]
    )
    canvas.fill(frame, skull, coat.base, shade=0.55, fur=0.7, ragged=0.03 + fluff)
    _dog_markings(canvas, frame, coat)
    if mood.mouth:
        canvas.fill(
            frame, mirror([(0, 0.72), (0.36, 0.7), (0.34, 0.98), (0.18, 1.18), (0, 1.22)]), (92, 38, 40), shade=0.3
        )
        canvas.fill(
            frame, mirror([(0, 0.86), (0.2, 0.9), (0.23, 1.2), (0.14, 1.42), (0, 1.46)]), (226, 120, 124), shade=0.5
        )
        canvas.stroke(frame, [(0, 0.95), (0.01, 1.15), (0, 1.3)], (190, 88, 96), 0.03)
    muzzle = mirror([(0, 0.02), (0.24, 0.06), (0.42, 0.32), (0.53, 0.6), (0.44, 0.84), (0.2, 0.9), (0, 0.82)])
    canvas.fill(frame, muzzle, coat.pale, shade=0.45, fur=0.35, edge=0.12, ragged=fluff * 0.6)
    canvas.stroke(frame, [(0, 0.4), (0, 0.62), (0, 0.8)], darker(coat.pale, 0.7), 0.035)
    for side in (False, True):
        half = frame.at(0, 0, flip=side)
        canvas.stroke(half, [(0, 0.8), (0.14, 0.88), (0.34, 0.84), (0.46, 0.7)], darker(coat.pale, 0.7), 0.04)
        for x, y in ((0.2, 0.56), (0.3, 0.66), (0.32, 0.52)):
            canvas.fill(half, oval(x, y, 0.022, 0.022), darker(coat.pale, 0.6), shade=0, edge=0)
        _eye(canvas, half.at(0.38, -0.22), 0.165, coat.eye, mood, coat.base, mirrored=side)
        canvas.stroke(half, [(0.24, -0.47), (0.38, -0.54), (0.54, -0.44)], darker(coat.base, 0.35), 0.05)
        _dog_ear(canvas, half, coat, ears, fluff)
    nose = mirror([(0, 0.1), (0.17, 0.12), (0.25, 0.22), (0.15, 0.36), (0, 0.42)])
    canvas.fill(frame, nose, coat.nose, shade=0.45, edge=0.3)
    canvas.glaze(frame, oval(-0.06, 0.18, 0.1, 0.035), (255, 255, 255), 0.6, 0.02)


def _dog_ear(canvas: Canvas, half: Frame, coat: Coat, ears: str, fluff: float) -> None:
    if ears == "drop":
        swing = float(canvas.rng.uniform(-0.08, 0.1))
        ear = [
            (0.42, -0.86),
            (0.78, -0.84),
            (1.06 + swing, -0.3),
            (1.16 + swing, 0.35),
            (0.98 + swing, 0.78),
            (0.76, 0.6),
            (0.72, 0.05),
            (0.6, -0.4),
        ]
        canvas.fill(half, ear, coat.ears, shade=0.6, fur=0.8, ragged=0.03 + fluff)
    if ears == "fold":
        ear = [(0.3, -0.86), (0.62, -1.08), (0.98, -0.86), (1.1, -0.4), (1.02, -0.1), (1.0, -0.1), (0.72, -0.38)]
        canvas.fill(half, ear, coat.ears, shade=0.6, fur=0.7, ragged=0.02 + fluff)


def _dog_markings(canvas: Canvas, frame: Frame, coat: Coat) -> None:
    if coat.pattern == "saddle":
        for x in (-0.52, 0.52):
            canvas.glaze(frame, oval(x, -0.4, 0.36, 0.48), mix(coat.ears, coat.base, 0.15), 0.9, 0.03)
    if coat.pattern == "patches":
        canvas.glaze(frame, oval(0.42, -0.3, 0.34, 0.4), coat.mark, 0.95, 0.02)
    if sum(coat.base) < 200 and sum(coat.pale) > 280:  # black and tan
        for x in (-0.36, 0.36):
            canvas.glaze(frame, oval(x, -0.48, 0.1, 0.07), coat.pale, 0.95, 0.02)
    if coat.blaze:
        canvas.glaze(
            frame, mirror([(0, -0.85), (0.1, -0.5), (0.14, -0.1), (0.4, 0.3), (0, 0.5)]), coat.pale, 0.97, 0.02
        )


def rabbit_face(canvas: Canvas, frame: Frame, coat: Coat, mood: Mood) -> None:
    """Draw a rabbit's head: two long ears, round cheeks, eyes at the sides, teeth."""
    for side in (False, True):
        lean = float(canvas.rng.uniform(-0.1, 0.35))
        ear = (
            frame.at(0.32, -0.6, 1.0, 0.12 + lean, flip=False)
            if not side
            else frame.at(-0.32, -0.6, 1.0, -0.12 - lean, flip=True)
        )
        canvas.fill(
            ear,
            [(-0.2, 0.15), (-0.3, -0.6), (-0.2, -1.4), (0, -1.75), (0.2, -1.4), (0.3, -0.6), (0.2, 0.15)],
            coat.ears,
            fur=0.6,
        )
        canvas.fill(
            ear,
            [(-0.1, 0), (-0.17, -0.6), (-0.1, -1.2), (0, -1.5), (0.1, -1.2), (0.17, -0.6), (0.1, 0)],
            mix(PINK, coat.ears, 0.3),
            edge=0.08,
        )
    skull = mirror([(0, -0.85), (0.45, -0.78), (0.78, -0.35), (0.92, 0.2), (0.76, 0.65), (0.35, 0.92), (0, 0.96)])
    canvas.fill(frame, skull, coat.base, shade=0.55, fur=0.7, ragged=0.05)
    for x in (-0.17, 0.17):
        canvas.fill(frame, oval(x, 0.5, 0.27, 0.25), coat.pale, shade=0.35, fur=0.3, edge=0.06)
    canvas.fill(frame, oval(0, 0.74, 0.1, 0.13), (252, 250, 244), shade=0.1, edge=0.3)
    canvas.fill(frame, [(-0.13, 0.28), (0, 0.26), (0.13, 0.28), (0.04, 0.4), (-0.04, 0.4)], coat.nose)
    for side in (False, True):
        half = frame.at(0, 0, flip=side)
        canvas.stroke(half, [(0, 0.4), (0.02, 0.54), (0.16, 0.62)], darker(coat.pale, 0.6), 0.03)
        _eye(canvas, half.at(0.55, -0.1, 1.0, 0.1), 0.19, coat.eye, mood, coat.base, mirrored=side)
        _whiskers(canvas, half, coat)


def head_from_behind(canvas: Canvas, frame: Frame, coat: Coat, *, cat: bool) -> None:
    """Draw a head that looks away: only its ears show what it is."""
    for side in (False, True):
        half = frame.at(0, 0, flip=side)
        if cat:
            canvas.fill(
                half,
                [(0.2, -0.7), (0.5, -1.05), (0.82, -1.4), (0.9, -1.37), (1.0, -0.75), (0.9, 0)],
                coat.ears,
                fur=0.6,
            )
        else:
            canvas.fill(
                half,
                smooth_open([(0.4, -0.8), (0.85, -0.8), (1.15, 0.1), (1.0, 0.7), (0.7, 0.4)])[::3],
                coat.ears,
                shade=0.6,
                fur=0.8,
            )
    skull = mirror([(0, -0.8), (0.5, -0.76), (0.9, -0.3), (0.95, 0.2), (0.7, 0.7), (0, 0.9)])
    canvas.fill(frame, skull, coat.base, shade=0.6, fur=0.8, ragged=0.04, marks=coat.marks(canvas.rng, skull))
