"""Folders with a table of their pictures, as `datasets` of Hugging Face reads them: `metadata.csv` beside the pictures.

It may lie in the folder itself or in its parts (`train/metadata.csv`), and counts where it has a column of labels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from swav_cli.data.lists.record_files import PARQUET, read_columns
from swav_cli.data.lists.tables import Listed, beside, listed_in, read_listed
from swav_cli.data.pictures import PART_NAMES
from swav_cli.errors import UserError

TABLES = ("metadata.csv", "metadata.jsonl", "metadata.tsv", "metadata.parquet")


class Described:
    """What the tables of a folder tell of its pictures."""

    def __init__(self, root: Path, tops: Sequence[str]) -> None:
        self._labels: dict[str, str] = {}  # by names below the root
        self.tables: list[str] = []
        self.remarks: list[str] = []
        for prefix, path in _tables(root, tops):
            try:
                listed = _read(path)
            except UserError as error:  # it may be of something else, and no label is needed for most that is done
                self.remarks.append(f"passed over: {error}")
                continue
            if listed.labels is not None:
                self.tables.append(str(path))
                self._add(prefix, listed)

    def _add(self, prefix: str, listed: Listed) -> None:
        for name, label in zip(listed.names, listed.labels or [], strict=True):
            self._labels[os.path.normpath(os.path.join(prefix, name)).replace(os.sep, "/")] = label

    def labels(self, names: Sequence[str]) -> list[str]:
        """The class of each picture; "" where no table tells one."""
        return [self._labels.get(name, "") for name in names]

    def missing(self, names: Sequence[str]) -> list[str]:
        """Pictures that a table names and that are not there."""
        there = set(names)
        return [name for name in self._labels if name not in there]


def _read(path: Path) -> Listed:
    if path.suffix == PARQUET:
        return listed_in(str(path), *read_columns(str(path)), beside(path))
    return read_listed(path, beside(path))


def _tables(root: Path, tops: Sequence[str]) -> Iterator[tuple[str, Path]]:
    for prefix in ("", *sorted(PART_NAMES.intersection(tops))):
        path = next((root / prefix / name for name in TABLES if os.path.isfile(root / prefix / name)), None)
        if path is not None:
            yield prefix, path
