"""Curves in a terminal: lines of braille, each letter of which has two by four dots; of stars where it has none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

# Bits of a braille letter (Unicode's U+2800), by column and row of its dots.
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
LABEL = 7  # letters left of a curve


class Curve(NamedTuple):
    """Numbers in the order in which they came, and when."""

    title: str
    x: Sequence[float]
    y: Sequence[float]
    beside: str = ""  # what is said behind the last number


def curve_of(title: str, lines: Sequence[Mapping[str, Any]], key: str, scale: float = 1.0) -> Curve:
    """A value of lines of `metrics.jsonl` over their steps; those that lack it are passed over.

    >>> curve_of("k-NN", [{"step": 10, "knn": 40.0}, {"step": 20, "knn": None}], "knn")
    Curve(title='k-NN', x=[10.0], y=[40.0], beside='')
    """
    known = [line for line in lines if isinstance(line.get(key), (int, float)) and math.isfinite(line[key])]
    return Curve(title, [float(line["step"]) for line in known], [scale * float(line[key]) for line in known])


def draw(curve: Curve, width: int, height: int, braille: bool = True) -> list[str]:
    """The title with the last number, and so many lines of a picture, each of so many letters.

    >>> print(*draw(Curve("loss", [1, 2, 3, 4, 5], [1.0, 0.5, 0.25, 0.25, 0.5]), 20, 3, braille=False), sep="\\n")
    loss 0.5
          1 |*
      0.625 | **       *
       0.25 |   *******
    """
    if not curve.y:
        return [curve.title[:width].ljust(width), *[" " * width] * height]
    least, most = min(curve.y), max(curve.y)
    if least == most:
        least, most = least - 0.5 * (abs(least) or 1), most + 0.5 * (abs(most) or 1)
    columns, rows = width - LABEL - 2, height
    across, down = (2, 4) if braille else (1, 1)
    heights = _resampled(curve, columns * across)
    levels = [round((most - value) / (most - least) * (rows * down - 1)) for value in heights]
    cells = [[0] * columns for _ in range(rows)]
    former = levels[0]
    for position, level in enumerate(levels):
        # The line goes down to its next point from the one before, which is drawn by then.
        step = 1 if level > former else -1
        for each in range(former + step, level, step) if abs(level - former) > 1 else ():
            _dot(cells, position, each, across, down)
        _dot(cells, position, level, across, down)
        former = level
    letters = [["*" if cell else " " for cell in row] for row in cells]
    if braille:
        letters = [[chr(0x2800 + cell) if cell else " " for cell in row] for row in cells]
    axis = "┤" if braille else "|"
    middle = rows // 2 if rows > 2 else -1
    labels = {0: most, rows - 1: least}
    if middle > 0:
        labels[middle] = most - (most - least) * middle / (rows - 1)
    left = [number(labels[row]).rjust(LABEL) if row in labels else " " * LABEL for row in range(rows)]
    title = f"{curve.title} {number(curve.y[-1])}" + (f" {curve.beside}" if curve.beside else "")
    return [title[:width].ljust(width), *(f"{a} {axis}{''.join(b)}" for a, b in zip(left, letters, strict=True))]


def _dot(cells: list[list[int]], x: int, y: int, across: int, down: int) -> None:
    bit = DOTS[x % across][y % down] if across == 2 else 1
    cells[y // down][x // across] |= bit


def _resampled(curve: Curve, count: int) -> list[float]:
    """The curve at so many places: means of what falls to one, and between points a straight line."""
    first, last = curve.x[0], curve.x[-1]
    if first == last:
        return [curve.y[-1]] * count
    sums, counts = [0.0] * count, [0] * count
    for x, y in zip(curve.x, curve.y, strict=True):
        place = min(count - 1, max(0, int((x - first) / (last - first) * count)))
        sums[place] += y
        counts[place] += 1
    known = [place for place in range(count) if counts[place]]
    found = [sums[place] / counts[place] if counts[place] else 0.0 for place in range(count)]
    for a, b in pairwise(known):
        for place in range(a + 1, b):
            found[place] = found[a] + (found[b] - found[a]) * (place - a) / (b - a)
    return found


def number(value: float) -> str:
    """In at most seven letters.

    >>> [number(each) for each in (0.54123, 88.14, 12345.6, 1e-6, -0.25)]
    ['0.541', '88.1', '12,346', '1e-06', '-0.25']
    """
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.0e}" if abs(value) < 1e-3 else f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
