"""Pictures that draw themselves: ten kinds of object at any place, size, turn, colour and light, on cluttered grounds.

They need no download and no licence. Raw pixels hardly tell the kinds apart; what does is form, which a network
has to learn. Each picture depends on (seed, split, index) alone.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

SIZE = 32  # pixels
OVERSAMPLE = 4  # drawn larger and shrunk, so that edges are smooth

Point = tuple[float, float]
Pen = Callable[[Sequence[Point], int], None]  # fills a polygon of the object's own coordinates with a shade


def _circle(radius: float, center: Point = (0.0, 0.0), corners: int = 40) -> list[Point]:
    x, y = center
    angles = [2 * math.pi * i / corners for i in range(corners)]
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


def _bar(x0: float, y0: float, x1: float, y1: float) -> list[Point]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _spikes(points: int, inner: float) -> list[Point]:
    """A star with so many points."""
    ring = []
    for i in range(2 * points):
        radius = 1.0 if i % 2 == 0 else inner
        angle = math.pi * i / points
        ring.append((radius * math.cos(angle), radius * math.sin(angle)))
    return ring


# An object is painted by polygons in (-1, 1), each with shade 1 (its own colour) or 0 (its dark second colour).


def _disc(pen: Pen) -> None:
    pen(_circle(0.95), 1)


def _target(pen: Pen) -> None:
    for step, radius in enumerate((1.0, 0.72, 0.44, 0.18)):
        pen(_circle(radius), 1 - step % 2)


def _star(pen: Pen) -> None:
    pen(_spikes(5, 0.42), 1)


def _cross(pen: Pen) -> None:
    pen(_bar(-1, -0.3, 1, 0.3), 1)
    pen(_bar(-0.3, -1, 0.3, 1), 1)


def _board(pen: Pen) -> None:
    pen(_bar(-0.85, -0.85, 0.85, 0.85), 1)
    cell = 1.7 / 4
    for row in range(4):
        for column in range(row % 2, 4, 2):
            x, y = -0.85 + column * cell, -0.85 + row * cell
            pen(_bar(x, y, x + cell, y + cell), 0)


def _stripes(pen: Pen) -> None:
    pen(_bar(-0.9, -0.9, 0.9, 0.9), 1)
    for i in range(3):
        y = -0.9 + 1.8 * (2 * i + 1) / 7
        pen(_bar(-0.9, y, 0.9, y + 1.8 / 7), 0)


def _gear(pen: Pen) -> None:
    pen(_spikes(11, 0.72), 1)
    pen(_circle(0.36), 0)


def _dumbbell(pen: Pen) -> None:
    pen(_bar(-0.7, -0.14, 0.7, 0.14), 1)
    pen(_circle(0.42, (-0.62, 0)), 1)
    pen(_circle(0.42, (0.62, 0)), 1)


def _face(pen: Pen) -> None:
    pen(_circle(0.95), 1)
    pen(_circle(0.2, (-0.38, -0.28)), 0)
    pen(_circle(0.2, (0.38, -0.28)), 0)
    pen(_bar(-0.5, 0.26, 0.5, 0.5), 0)


def _triangle(pen: Pen) -> None:
    pen([(0.0, -1.0), (0.9, 0.75), (-0.9, 0.75)], 1)


KINDS: dict[str, Callable[[Pen], None]] = {
    "board": _board,
    "cross": _cross,
    "disc": _disc,
    "dumbbell": _dumbbell,
    "face": _face,
    "gear": _gear,
    "star": _star,
    "stripes": _stripes,
    "target": _target,
    "triangle": _triangle,
}


def shape_picture(seed: int, split: str, index: int, size: int = SIZE) -> Tensor:
    """Picture `index` of a split as uint8 (3, size, size); its kind is `index` modulo the number of kinds."""
    stream = {"train": 0, "val": 1}[split]
    rng = np.random.Generator(np.random.Philox(key=[seed, (stream << 40) + index]))
    kind = list(KINDS.values())[index % len(KINDS)]
    large = size * OVERSAMPLE
    background, bright, dark = _colours(rng)
    canvas = Image.new("RGB", (large, large), background)
    _clutter(ImageDraw.Draw(canvas), rng, large, background)
    _paint(ImageDraw.Draw(canvas), kind, rng, large, (dark, bright))
    small = np.asarray(canvas.resize((size, size), Image.Resampling.BOX)).astype(np.float32)
    lit = small * _light(rng, size)[:, :, None] + rng.normal(0, 4, (size, size, 3))
    return torch.from_numpy(lit.clip(0, 255).astype(np.uint8)).permute(2, 0, 1)


Colour = tuple[int, int, int]


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, min(max(value, 0.0), 1.0))
    return round(255 * red), round(255 * green), round(255 * blue)


def _colours(rng: np.random.Generator) -> tuple[Colour, Colour, Colour]:
    """Background, and the object's two colours; sometimes a light object on dark, sometimes the other way."""
    hues, saturations = rng.random(2), rng.uniform(0.1, 0.6, 2)
    ground = rng.uniform(0.35, 0.65)
    contrast = rng.uniform(0.25, 0.4) * rng.choice((-1, 1))
    return (
        _rgb(hues[0], saturations[0], ground),
        _rgb(hues[1], saturations[1], ground + contrast),
        _rgb(hues[1], saturations[1], ground - contrast),
    )


def _clutter(pen: ImageDraw.ImageDraw, rng: np.random.Generator, large: int, background: Colour) -> None:
    """Patches and lines of other shades behind the object."""
    for _ in range(rng.integers(6, 13)):
        x, y = rng.uniform(0, large, 2)
        w, h = rng.uniform(0.08, 0.5, 2) * large
        shade = tuple(int(c + rng.normal(0, 26)) for c in background)
        if rng.random() < 0.5:
            pen.ellipse((x - w / 2, y - h / 2, x + w / 2, y + h / 2), fill=shade)
        else:
            pen.line((x, y, x + w * rng.choice((-1, 1)), y + h), fill=shade, width=int(rng.integers(1, 4)) * OVERSAMPLE)


def _paint(
    pen: ImageDraw.ImageDraw,
    kind: Callable[[Pen], None],
    rng: np.random.Generator,
    large: int,
    shades: tuple[Colour, Colour],
) -> None:
    radius = rng.uniform(0.26, 0.44) * large
    x, y = rng.uniform(radius * 0.9, large - radius * 0.9, 2)
    turn = rng.uniform(0, 2 * math.pi)
    stretch = rng.uniform(0.85, 1.15)
    cos, sin = math.cos(turn), math.sin(turn)

    def polygon(points: Sequence[Point], shade: int) -> None:
        placed = [
            (
                x + radius * (cos * px * stretch - sin * py / stretch),
                y + radius * (sin * px * stretch + cos * py / stretch),
            )
            for px, py in points
        ]
        pen.polygon(placed, fill=shades[shade])

    kind(polygon)


def _light(rng: np.random.Generator, size: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Brightness that falls off in some direction."""
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.35)
    line = np.linspace(-1, 1, size)
    slope = line[None, :] * math.cos(angle) + line[:, None] * math.sin(angle)
    return rng.uniform(0.85, 1.15) * (1 + strength * slope)
