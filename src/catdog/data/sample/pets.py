"""Cats, dogs and rabbits: which coat, pose, build and face one of them has."""

from collections.abc import Callable

import numpy as np

from catdog.data.sample import bodies, coats, faces, scenes
from catdog.data.sample.bodies import Animal, Build, Head
from catdog.data.sample.canvas import Canvas
from catdog.data.sample.coats import Coat
from catdog.data.sample.shapes import Frame

_POSES = (bodies.portrait, bodies.sit_front, bodies.sit_side, bodies.stand, bodies.lie)


def cat(canvas: Canvas) -> None:
    """Draw a cat."""
    rng = canvas.rng
    coat, fluff = coats.cat_coat(rng), float(rng.choice((0.0, 0.0, 0.05)))
    mood, folded = faces.Mood.drawn(rng, 0.0), rng.random() < 0.05
    build = Build(legs=rng.uniform(0.9, 1.15), girth=rng.uniform(0.9, 1.15), head=rng.uniform(0.95, 1.1), fluff=fluff)
    if _turned_away(rng):
        _draw(
            canvas, coat, build, lambda frame: faces.head_from_behind(canvas, frame, coat, cat=True), bodies.sit_behind
        )
        return
    _draw(canvas, coat, build, lambda frame: faces.cat_face(canvas, frame, coat, mood, fluff=fluff, folded=folded))


def dog(canvas: Canvas) -> None:
    """Draw a dog."""
    rng = canvas.rng
    coat, fluff = coats.dog_coat(rng), float(rng.choice((0.0, 0.0, 0.07)))
    mood, ears = faces.Mood.drawn(rng, 0.45), str(rng.choice(("drop", "fold", "prick"), p=(0.55, 0.3, 0.15)))
    tail = str(rng.choice(("wag", "curl", "bushy")))
    build = Build(
        rng.uniform(0.85, 1.4), rng.uniform(0.9, 1.2), rng.uniform(0.92, 1.1), rng.uniform(0, 0.25), tail, fluff
    )
    if _turned_away(rng):
        _draw(
            canvas, coat, build, lambda frame: faces.head_from_behind(canvas, frame, coat, cat=False), bodies.sit_behind
        )
        return
    _draw(canvas, coat, build, lambda frame: faces.dog_face(canvas, frame, coat, mood, ears=ears, fluff=fluff))


def rabbit(canvas: Canvas) -> None:
    """Draw a rabbit."""
    rng = canvas.rng
    coat, mood = coats.rabbit_coat(rng), faces.Mood.drawn(rng)
    build = Build(girth=rng.uniform(1.0, 1.2), head=rng.uniform(0.85, 1.0), tail="bob", neck=-0.25)
    poses = (bodies.sit_front, bodies.sit_side, bodies.lie)
    _draw(canvas, coat, build, lambda frame: faces.rabbit_face(canvas, frame, coat, mood), poses[int(rng.integers(3))])


def _turned_away(rng: np.random.Generator) -> bool:
    return bool(rng.random() < 0.04)


def _draw(canvas: Canvas, coat: Coat, build: Build, head: Head, pose: Callable[[Animal], None] | None = None) -> None:
    rng = canvas.rng
    pose = pose or _POSES[int(rng.choice(len(_POSES), p=(0.26, 0.22, 0.2, 0.18, 0.14)))]
    scenes.background(canvas)
    frame = _place(canvas, near=pose is bodies.portrait)
    if pose is not bodies.portrait:
        scenes.shadow(canvas, frame, 2.1 if pose in (bodies.stand, bodies.lie) else 1.5)
        if rng.random() < 0.25:
            scenes.toy(canvas, frame.at(float(rng.choice((-2.6, 2.4))), 0.1))
    pose(Animal(canvas, frame, coat, build, head))
    if rng.random() < 0.12:
        scenes.foreground(canvas)


def _place(canvas: Canvas, *, near: bool) -> Frame:
    """Return where an animal stands: mostly near the middle, sometimes small, or cut by the image's edge."""
    rng = canvas.rng
    wide, high = (side / min(canvas.image.size) for side in canvas.image.size)
    x = wide / 2 + float(rng.normal(0, 0.07))
    if near:
        scale = float(rng.uniform(0.2, 0.32))
        return canvas.frame.at(
            x,
            high / 2 + 2.75 * scale + float(rng.normal(0.02, 0.05)),
            scale,
            float(rng.normal(0, 0.06)),
            flip=rng.random() < 0.5,
        )
    scale = 0.085 if rng.random() < 0.06 else float(rng.uniform(0.13, 0.195))
    ground = float(rng.uniform(0.84, 0.95)) * high if scale > 0.1 else float(rng.uniform(0.75, 0.9)) * high
    return canvas.frame.at(x, ground, scale, float(rng.normal(0, 0.03)), flip=rng.random() < 0.5)
