"""The map: a dot for each picture, in the colour of its group. What one points at is shown by the page's own script."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

NAME = "dots"  # of what is drawn, by which the script finds it
LABELLED = 40  # groups whose numbers stand on the map
GOLDEN = 0.618034  # of the colour circle: any first few of its multiples lie far apart
NONE = "#8a94a0"  # pictures of no group


def group_colour(place: int) -> str:
    """A colour for the group in this place, to be seen on white and on black.

    >>> group_colour(0) != group_colour(1), group_colour(-1)
    (True, '#8a94a0')
    """
    if place < 0:
        return NONE
    hue = (0.58 + place * GOLDEN) % 1
    lightness = (0.50, 0.62, 0.42)[place // 7 % 3] + (0.15 if 0.62 < hue < 0.78 else 0)  # blue is dark by itself
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.62)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def draw_map(
    places: NDArray[np.float32],  # (N, 2)
    groups: NDArray[np.int64],  # (N,) place of each picture's group among all, the largest first; -1: none
    names: Sequence[str],  # of the groups, in that order
) -> Figure:
    """
    >>> draw_map(np.zeros((3, 2), np.float32), np.array([0, 0, -1]), ["1"]).sizing_mode
    'stretch_both'
    """
    from bokeh.models import HoverTool, LinearColorMapper, TapTool
    from bokeh.plotting import figure

    drawn = figure(
        sizing_mode="stretch_both",  # as the style says of the element that it is in
        tools="pan,box_zoom,wheel_zoom,reset",
        active_drag=None,  # so that a finger or a wheel that scrolls the page does so, until a tool is chosen
        active_scroll=None,
        toolbar_location="above",
    )
    drawn.toolbar.logo = None
    drawn.background_fill_color = drawn.border_fill_color = drawn.outline_line_color = None
    drawn.axis.visible = drawn.grid.visible = False
    palette = [NONE, *(group_colour(place) for place in range(len(names)))]
    colours = LinearColorMapper(palette=palette, low=-1.5, high=len(names) - 0.5)
    source = {"x": places[:, 0], "y": places[:, 1], "group": groups.astype(np.int32)}
    dots = drawn.scatter(
        "x", "y", source=source, size=_size(len(places)), line_color=None, fill_alpha=0.75,
        fill_color={"field": "group", "transform": colours}, nonselection_fill_alpha=0.75, name=NAME,
    )  # fmt: skip
    drawn.add_tools(HoverTool(renderers=[dots], tooltips=None, visible=False), TapTool(renderers=[dots], visible=False))
    _label(drawn, places, groups, names)
    return drawn


def _size(count: int) -> float:
    """Pixels of a dot: large for few, and so that a hundred thousand still are a cloud and no wall."""
    return float(np.clip(320 / max(1, count) ** 0.5, 2.0, 11.0))


def _label(drawn: Figure, places: NDArray[np.float32], groups: NDArray[np.int64], names: Sequence[str]) -> None:
    """Numbers of the largest groups, each in its group's middle."""
    from bokeh.models import Label

    for place, name in enumerate(names[:LABELLED]):
        own = places[groups == place]
        if len(own):
            x, y = (float(value) for value in np.median(own, axis=0))
            label = Label(
                x=x, y=y, text=name, text_align="center", text_baseline="middle", text_font_size="13px",
                background_fill_alpha=0.75, border_radius=4, padding=2,
            )  # fmt: skip
            drawn.add_layout(label)
