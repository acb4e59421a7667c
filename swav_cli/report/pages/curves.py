"""Curves of runs over their epochs, one drawing a quantity: what bokeh draws, and what stands above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from swav_cli.recipe.normal import Course

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

MOST_POINTS = 500  # of a curve; more are averaged, since a drawing has hardly more pixels
HEIGHT = 190
# Told apart by an eye that sees no red, and on white as well as on black (after Okabe and Ito).
COLOURS = ("#2488cf", "#e0731d", "#0a9e75", "#b85ca6", "#c99a06", "#5566cc", "#9a6a4f", "#7c8791")
GRAY = "#8a94a0"
DASHES = ("solid", "dashed", "dotted", "dotdash")
MARKS = {"solid": "&#9473;", "dashed": "&#9477;", "dotted": "&#9481;", "dotdash": "&#9479;"}  # beside a value


class Curve(NamedTuple):
    """One line of a drawing."""

    label: str
    epochs: Sequence[float]  # (N,) passed
    values: Sequence[float]  # (N,)
    colour: str
    dash: str = "solid"
    faint: bool = False  # what varies from step to step, behind its mean


class Panel(NamedTuple):
    """A drawing with what it shows, in words."""

    title: str
    hint: str
    curves: Sequence[Curve]
    levels: Mapping[str, float] = {}  # lines across, by their names
    course: Sequence[Course] = ()
    epochs: float = 0.0  # of the whole run, over which the course goes
    logarithmic: bool = False
    from_zero: bool = True

    @property
    def legend(self) -> list[Curve]:
        """The curves that a legend has to tell apart."""
        clear = [curve for curve in self.curves if not curve.faint]
        return clear if len(clear) > 1 else []


def draw_panel(panel: Panel) -> Figure:
    """
    >>> drawn = draw_panel(Panel("loss", "", [Curve("a run", [1, 2, 3], [1.0, 0.9, 0.8], COLOURS[0])]))
    >>> drawn.height
    190
    """
    from bokeh.models import DataRange1d, HoverTool, Range1d
    from bokeh.plotting import figure

    left, right = _width(panel)

    drawn = figure(
        height=HEIGHT,
        sizing_mode="stretch_width",
        tools="xpan,xbox_zoom,reset",
        active_drag=None,  # so that a finger that scrolls the page does so
        toolbar_location="above",
        y_axis_type="log" if panel.logarithmic else "linear",
    )
    drawn.toolbar.autohide, drawn.toolbar.logo = True, None
    _bare(drawn)
    if panel.course:
        share, low, middle, high = (np.array(column) for column in zip(*panel.course, strict=True))
        drawn.varea(x=share * panel.epochs, y1=low, y2=high, fill_color=GRAY, fill_alpha=0.25)
        drawn.line(x=share * panel.epochs, y=middle, line_color=GRAY, line_alpha=0.8)
    for height in panel.levels.values():
        drawn.line(x=[left, right], y=[height, height], line_color=GRAY, line_dash="dashed")
    for curve in panel.curves:
        epochs, values = thinned(curve.epochs, curve.values)
        line = drawn.line(
            x="x", y="y", source={"x": epochs, "y": values},
            line_color=curve.colour, line_dash=curve.dash, line_alpha=0.35 if curve.faint else 1.0,
            line_width=1 if curve.faint else 2,
        )  # fmt: skip
        if curve.faint:
            continue
        if len(epochs) == 1:
            line = drawn.scatter(x="x", y="y", source={"x": epochs, "y": values}, color=curve.colour, size=7)
        tip = f'<span style="color: {curve.colour}">{MARKS[curve.dash]}</span> @y{{0.[0000]}}'
        drawn.add_tools(HoverTool(renderers=[line], mode="vline", tooltips=tip, visible=False))
    drawn.x_range = Range1d(left, right)
    if panel.from_zero and not panel.logarithmic:
        drawn.y_range = DataRange1d(start=0)
    return drawn


def _width(panel: Panel) -> tuple[float, float]:
    last = max((float(np.max(np.asarray(curve.epochs))) for curve in panel.curves if np.size(curve.epochs)), default=1)
    return 0.0, max(last, panel.epochs if panel.course else 0.0)


def _bare(drawn: Figure) -> None:
    """No more than has to be seen; colours of what surrounds the curves are the page's (`--bk-` in its style)."""
    drawn.background_fill_color = drawn.border_fill_color = drawn.outline_line_color = None
    drawn.xgrid.visible = False
    for axis in drawn.axis:
        axis.minor_tick_line_color = axis.axis_line_color = None
        axis.major_tick_in, axis.major_tick_out = 0, 4
    drawn.yaxis.major_tick_line_color = None
    drawn.yaxis.ticker.desired_num_ticks = 4
    drawn.min_border_left = drawn.min_border_right = 8


def thinned(epochs: ArrayLike, values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most `MOST_POINTS` of a curve's points, each the mean of some neighbours; what is no number is left out.

    >>> epochs, values = thinned(range(10_000), range(10_000))
    >>> len(values), float(values[0])
    (500, 9.5)
    """
    x, y = np.asarray(epochs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) <= MOST_POINTS:
        return x, y
    parts = np.linspace(0, len(x), MOST_POINTS + 1).astype(int)[:-1]
    counts = np.diff([*parts, len(x)])
    return np.add.reduceat(x, parts) / counts, np.add.reduceat(y, parts) / counts
