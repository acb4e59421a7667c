"""Lists of pictures with several labels each, such as VOC07's."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.lists.tables import TABLES, Row, beside, listed_in, read_rows
from swav_cli.data.paths import expanded
from swav_cli.errors import UserError, counted, nearest

COLUMN = "labels"
BETWEEN = ";"


class Multilabel(NamedTuple):
    names: list[str]  # N paths as they are written; relative ones start at the list's own folder
    targets: NDArray[np.int64]  # (N, C), 1 where the picture has the label
    classes: list[str]  # C, in alphabetical order


def read_multilabel(path: Path, classes: list[str] | None = None) -> Multilabel:
    """A table with a column of paths and a column `labels`, whose cells hold names between semicolons, or nothing.

        path,labels
        a.jpg,dog; person
        b.jpg,

    Args:
        classes: those of the list that is trained on, whose numbering this one gets; its own where nothing is said.

    Raises:
        UserError: no such table, or what is wrong in it and in which line.
    """
    heading, rows = _rows(path)
    if COLUMN not in heading:
        raise UserError(
            f"{path}: has no column '{COLUMN}' in its first line, which reads: {', '.join(heading) or 'nothing'}."
            f"{nearest(COLUMN, heading)}"
        )
    listed = listed_in(str(path), heading, rows, beside(path))
    found: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    for written, row in zip(listed.names, rows, strict=True):
        name = PurePath(written).as_posix()
        if name in found:
            raise UserError(
                f"{path}: {name} stands in lines {lines[name]} and {row.line}; give each picture one line, with all of "
                f"its labels between '{BETWEEN}'"
            )
        cell = row.cells[heading.index(COLUMN)] if len(row.cells) > heading.index(COLUMN) else ""
        lines[name], found[name] = row.line, [label.strip() for label in cell.split(BETWEEN) if label.strip()]
    if not any(os.path.exists(path.parent / name) for name in found):
        raise UserError(
            f"{path}: none of {counted(len(found), 'file')} is there, first {next(iter(found))}; they start at "
            f"{path.parent}"
        )
    known = classes or sorted({label for labels in found.values() for label in labels})
    if not known:
        raise UserError(f"{path}: the column '{COLUMN}' is empty in all of its {len(found):,} lines")
    return Multilabel(list(found), _as_matrix(path, found, known, lines), known)


def is_multilabel(source: str) -> bool:
    """Whether a source is a table with a column `labels`."""
    path = expanded(source)
    return path.suffix.lower() in TABLES and os.path.isfile(path) and COLUMN in _rows(path)[0]


def _rows(path: Path) -> tuple[list[str], list[Row]]:
    """The heading and the rows of a table."""
    if path.suffix.lower() not in TABLES:
        raise UserError(f"{path}: a list of pictures with several labels is a table ({', '.join(TABLES)})")
    return read_rows(path, beside(path))


def _as_matrix(
    path: Path, found: dict[str, list[str]], classes: list[str], lines: dict[str, int]
) -> NDArray[np.int64]:  # (N, C)
    number = {label: position for position, label in enumerate(classes)}
    targets = np.zeros((len(found), len(classes)), dtype=np.int64)
    for row, (name, labels) in enumerate(found.items()):
        for label in labels:
            if label not in number:
                raise UserError(
                    f"{path}: line {lines[name]} has the label '{label}', which is not among the {len(classes):,} that "
                    f"are trained on.{nearest(label, classes)}"
                )
            targets[row, number[label]] = 1
    return targets
