"""Which classes are taken for which, as a picture: a row for each true class, a column for each that was said."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from swav_cli.data.paths import expanded
from swav_cli.errors import UserError, nearest
from swav_cli.files import write_whole
from swav_cli.report.marked import SOFTWARE
from swav_cli.writable import check_place

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_SUFFIXES = (".png", ".pdf", ".svg")
NUMBERED = 15  # classes up to which each cell says how many pictures it stands for
NAMED = 120  # classes up to which their names can be read
LONGEST = 28  # characters of a name
DPI = 150


def save_confusion(path: Path, matrix: Tensor, class_names: Sequence[str], title: str) -> None:  # (C, C)
    """Colours show shares of the true class, so rows add up to one; a class without pictures is gray.

    From 16 classes on, colours rise as the square root of the share, of very many as its cube root, so that rare
    mistakes are seen too.

    Args:
        path: a .png, .pdf or .svg file, replaced where it is there.
        matrix: pictures, counted.

    Raises:
        UserError: matplotlib is not installed, another suffix, or the file can't be written.
    """
    check_drawing(path)
    from matplotlib import colors, rc_context
    from matplotlib.figure import Figure

    classes = len(class_names)
    counts = matrix.double()
    shares = 100 * (counts / counts.sum(dim=1, keepdim=True)).numpy()  # 0 / 0 is NaN: gray
    side = _side(classes)
    with rc_context({"text.usetex": False, "svg.hashsalt": "swav"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)  # drawn as an empty box
        # The cells fill the figure, which is saved with whatever room the names need around it.
        figure = Figure(figsize=(side, side))
        axes = figure.add_axes((0, 0, 1, 1), facecolor="0.8")
        norm = colors.PowerNorm(1 if classes <= NUMBERED else 1 / 2 if classes <= NAMED else 1 / 3, vmin=0, vmax=100)
        image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
        bar = figure.colorbar(image, cax=figure.add_axes((1 + 0.2 / side, 0.2, 0.15 / side, 0.6)))
        bar.set_label("% of the true class")
        axes.set_title(_clean(title, 2 * LONGEST), parse_math=False)
        if classes <= NAMED:
            axes.set(xlabel="said", ylabel="true")
            _name_ticks(axes, [_clean(name, LONGEST) for name in class_names])
        else:
            axes.set(xlabel="said, number of the class", ylabel="true, number of the class")
        if classes <= NUMBERED:
            _write_counts(axes, matrix)
        kind = path.suffix[1:].lower()
        mark = SOFTWARE if kind == "png" else None

        def draw(beside: Path) -> None:
            figure.savefig(beside, format=kind, dpi=DPI, bbox_inches="tight", metadata=mark)

        write_whole(path, draw)


def drawing_place(path: str | Path, option: str) -> Path:
    """Where a confusion will be drawn: nothing is computed for a picture that could not be drawn in the end.

    Raises:
        UserError: what `check_drawing` refuses, or a place that can't be written.
    """
    path = expanded(path)
    check_drawing(path)
    if not os.path.isdir(path.absolute().parent):
        raise UserError(f"{option} {path}: there is no folder {path.parent}; make it first")
    check_place(path, option)
    return path


def check_drawing(path: Path) -> None:
    """Before any work is done: can a picture be drawn into this file?

    Raises:
        UserError: matplotlib is not installed, or another suffix.
    """
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise UserError(
            f"{path}: a confusion is drawn as {', '.join(PLOT_SUFFIXES)}.{nearest(path.suffix, PLOT_SUFFIXES)}"
        )
    try:
        import matplotlib  # noqa: F401  (whether it is there)
    except ImportError:
        raise UserError(f"{path}: drawing needs matplotlib; install it with: pip install 'swav-cli[report]'") from None


def _side(classes: int) -> float:
    """Inches of the cells together: room for the names, and of very many classes whole pixels for each, up to 24."""
    if classes <= NAMED:
        return max(3.0, 0.42 * classes if classes <= NUMBERED else 4.0 + 0.1 * classes)
    return min(24.0, classes * max(1, 2000 // classes) / DPI)


def _clean(name: str, longest: int) -> str:
    """The name on one line, without what no font can draw; the middle of a long one left out."""
    plain = "".join(sign if sign.isprintable() else "\ufffd" for sign in name)
    return plain if len(plain) <= longest else f"{plain[: longest // 2]}…{plain[-(longest - 1) // 2 :]}"


def _name_ticks(axes: Axes, names: list[str]) -> None:
    size = max(4.5, min(10.0, 420 / len(names)))
    places = range(len(names))
    axes.set_yticks(places, names, fontsize=size, parse_math=False)
    short = len(names) <= 4 and max(map(len, names)) <= 10
    axes.set_xticks(places, names, fontsize=size, parse_math=False, rotation=0 if short else 90)
    if len(names) > 30:
        axes.tick_params(length=1.5, pad=1)


def _write_counts(axes: Axes, matrix: Tensor) -> None:
    rows = matrix.tolist()
    longest = max(len(f"{count:,}") for counts in rows for count in counts)
    for row, counts in enumerate(rows):
        for column, count in enumerate(counts):
            axes.text(
                column, row, f"{count:,}", ha="center", va="center", fontsize=min(9, 42 / longest),
                color="white" if 2 * count > sum(counts) else "black",
            )  # fmt: skip
