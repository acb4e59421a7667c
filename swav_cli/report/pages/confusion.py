"""Which classes are taken for which, on a page: a row for each true class, a column for each that was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from swav_cli.report.pages.curves import COLOURS
from swav_cli.report.pages.page import shown

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

DRAWN = 100  # classes at most; of more a cell is too small to be pointed at
SIDE = (320, 900)  # pixels, of few classes and of many
LONGEST = 24  # characters of a name


def draw_confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:  # (C, C)
    """The strength of a colour shows the root of the share of the true class.

    >>> draw_confusion([[3, 1], [0, 4]], ["cat", "dog"]).x_range.factors
    ['cat', 'dog']
    """
    from bokeh.models import HoverTool
    from bokeh.plotting import figure

    names = _names(classes)
    counts = np.array(matrix, dtype=np.float64)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    height = int(np.clip(40 * len(names) + 90, *SIDE))
    drawn = figure(
        x_range=names, y_range=names[::-1], height=height, sizing_mode="stretch_width", tools="", toolbar_location=None,
        x_axis_location="above", x_axis_label="taken for", y_axis_label="is",
    )  # fmt: skip
    source = {
        "is": [name for name in names for _ in names],
        "said": names * len(names),
        "share": shares.flatten(),
        "strength": np.sqrt(shares).flatten(),  # so that rare mistakes are seen too, on white as on black
        "count": counts.flatten().astype(np.int32),
    }
    cells = drawn.rect(
        "said", "is", 0.96, 0.96, source=source, line_color=COLOURS[0], line_alpha=0.15, fill_color=COLOURS[0],
        fill_alpha="strength",
    )  # fmt: skip
    words = "@is, taken for @said: @count, @share{0.0%}"
    drawn.add_tools(HoverTool(renderers=[cells], tooltips=words, visible=False))
    drawn.background_fill_color = drawn.border_fill_color = drawn.outline_line_color = None
    drawn.grid.visible = False
    for axis in drawn.axis:
        axis.axis_line_color = axis.major_tick_line_color = None
    drawn.xaxis.major_label_orientation = 0.9
    return drawn


def _names(classes: Sequence[str]) -> list[str]:
    """As an axis takes them, each other than the others."""
    found: list[str] = []
    for name in classes:
        short = str(shown(name))[:LONGEST]
        while short in found:
            short += "\u2032"
        found.append(short)
    return found
