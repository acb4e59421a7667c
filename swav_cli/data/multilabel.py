"""Lists of pictures with several labels each, such as VOC07's."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.formats import SUFFIXES
from swav_cli.errors import UserError, nearest

DELIMITERS = {".csv": ",", ".tsv": "\t"}
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
    rows = _rows(path)
    heading = [cell.lower() for cell in rows[0][1]] if rows else []
    if COLUMN not in heading:
        raise UserError(
            f"{path}: has no column '{COLUMN}' in its first line, which reads: {', '.join(heading) or 'nothing'}."
            f"{nearest(COLUMN, heading)}"
        )
    column = next((position for _, row in rows[1:] for position, cell in enumerate(row) if _is_picture(cell)), None)
    if column is None:
        raise UserError(f"{path}: no column of it holds names of pictures ({', '.join(sorted(SUFFIXES))})")
    found: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    for line, row in rows[1:]:
        name = PurePath(row[column]).as_posix() if len(row) > column and row[column] else ""
        if not name:
            raise UserError(f"{path}: line {line} names no picture")
        if name in found:
            raise UserError(
                f"{path}: {name} stands in lines {lines[name]} and {line}; give each picture one line, with all of its "
                f"labels between '{BETWEEN}'"
            )
        cell = row[heading.index(COLUMN)] if len(row) > heading.index(COLUMN) else ""
        lines[name], found[name] = line, [label.strip() for label in cell.split(BETWEEN) if label.strip()]
    if not any((path.parent / name).exists() for name in found):
        raise UserError(
            f"{path}: none of its {len(found):,} files is there, first {next(iter(found))}; they start at {path.parent}"
        )
    known = classes or sorted({label for labels in found.values() for label in labels})
    if not known:
        raise UserError(f"{path}: the column '{COLUMN}' is empty in all of its {len(found):,} lines")
    return Multilabel(list(found), _as_matrix(path, found, known, lines), known)


def is_multilabel(source: str) -> bool:
    """Whether a source is a table with a column `labels`."""
    path = Path(source)
    if path.suffix.lower() not in DELIMITERS or not path.is_file():
        return False
    rows = _rows(path)
    return bool(rows) and COLUMN in [cell.lower() for cell in rows[0][1]]


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The lines that are not empty and no comments, with their numbers."""
    delimiter = DELIMITERS.get(path.suffix.lower())
    if delimiter is None:
        raise UserError(f"{path}: a list of pictures with several labels is a table ({', '.join(DELIMITERS)})")
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} can't be read ({error})") from None
    return [(line, row) for line, row in rows if any(row) and not row[0].startswith("#")]


def _is_picture(cell: str) -> bool:
    return os.path.splitext(cell)[1].lower() in SUFFIXES


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
