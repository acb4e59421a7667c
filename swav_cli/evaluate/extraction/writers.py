"""Files of features: one format a suffix, each written a part at a time from rows that lie on the disk.

`.npy` is those rows themselves; the other formats are made from them once all are there.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from swav_cli.data.lists.tables import one_line
from swav_cli.errors import UserError, first_line, nearest, silent
from swav_cli.files import LONGEST, as_utf8, shortened
from swav_cli.writable import check_moved_place, check_place

PART = 4e6  # numbers written at a time


class Table(NamedTuple):
    """All that is known of some pictures, a row each."""

    features: NDArray[np.float32]  # (N, ...), on the disk
    names: Callable[[int], str]
    labels: NDArray[np.int64] | None
    classes: list[str] | None
    description: dict[str, Any]
    check: Callable[[], None] = silent  # called between parts; may raise to end the work

    def parts(self) -> Iterator[slice]:
        step = max(1, int(PART / max(1, self.features[:1].size)))
        for first in range(0, len(self.features), step):
            self.check()
            yield slice(first, min(first + step, len(self.features)))

    def paths(self, rows: slice | None = None) -> list[str]:
        return [self.names(index) for index in range(*(rows or slice(None)).indices(len(self.features)))]

    def label_names(self, rows: slice) -> list[str]:
        """Classes in words, or as numbers where they have no names."""
        assert self.labels is not None
        numbers = self.labels[rows].tolist()
        return [self.classes[number] if self.classes else str(number) for number in numbers]


def write_npz(path: Path, table: Table) -> None:
    arrays: dict[str, Any] = {"features": table.features, "paths": np.array(table.paths())}
    if table.labels is not None:
        arrays["labels"] = table.labels
        arrays |= {"classes": np.array(table.classes)} if table.classes else {}
    with open(path, "wb") as file:
        np.savez(file, description=np.array(json.dumps(table.description)), **arrays)


def write_safetensors(path: Path, table: Table) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays: dict[str, NDArray[Any]] = {"features": table.features}
    if table.labels is not None:
        arrays["labels"] = table.labels
    try:
        save_file(arrays, path, {"swav": json.dumps(table.description)})
    except SafetensorError as error:  # a full disk
        raise OSError(str(error)) from None


def write_pt(path: Path, table: Table) -> None:
    """Tensors and plain values, which `torch.load` reads as they are."""
    content: dict[str, Any] = {"features": torch.from_numpy(table.features), "paths": table.paths()}
    if table.labels is not None:
        content |= {"labels": torch.from_numpy(table.labels), "classes": table.classes}
    try:
        torch.save({**content, "description": table.description}, path)
    except RuntimeError as error:  # so torch's writer tells of a full disk
        raise OSError(first_line(error)) from None


def write_csv(path: Path, table: Table) -> None:
    columns = ["path"] + ([] if table.labels is None else ["label"])
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, *(f"f{number}" for number in range(table.features.shape[1]))])
        for rows in table.parts():
            words = [table.paths(rows)] + ([] if table.labels is None else [table.label_names(rows)])
            for cells, values in zip(zip(*words, strict=True), table.features[rows].tolist(), strict=True):
                writer.writerow([*cells, *("%.9g" % value for value in values)])  # noqa: UP031  (the quickest by half)


def write_parquet(path: Path, table: Table) -> None:
    """Columns path, label where there is one, and features: a list of fixed length; a row group a part."""
    import pyarrow as pa
    from pyarrow import parquet

    width = int(np.prod(table.features.shape[1:]))
    fields = [("path", pa.string())] + ([] if table.labels is None else [("label", pa.string())])
    kind = pa.list_(pa.float32(), width)
    schema = pa.schema([*fields, ("features", kind)], {"swav": json.dumps(table.description)})
    # Opened here, since pyarrow takes no path that is not UTF-8. Features hardly repeat: a dictionary would cost time.
    with open(path, "wb") as file, parquet.ParquetWriter(file, schema, use_dictionary=[n for n, _ in fields]) as writer:
        for rows in table.parts():
            columns = [pa.array(list(map(as_utf8, table.paths(rows))))]
            columns += [] if table.labels is None else [pa.array(list(map(as_utf8, table.label_names(rows))))]
            flat = pa.array(np.ascontiguousarray(table.features[rows]).reshape(-1))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=kind))
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=rows.stop - rows.start)


def write_lines(path: Path, table: Table) -> None:
    """A path a line; what any reader takes for a line's end is escaped, as \\n and the like: line i is row i's."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for rows in table.parts():
            file.writelines(one_line(name) + "\n" for name in table.paths(rows))


class FeatureFormat(NamedTuple):
    """How a suffix is written."""

    write: Callable[[Path, Table], None] | None  # None: the rows themselves are the file
    bytes_per_number: int  # on the disk, beside the rows from which it is made
    holds_paths: bool


FEATURE_FORMATS = {
    ".npy": FeatureFormat(None, 0, holds_paths=False),
    ".npz": FeatureFormat(write_npz, 4, holds_paths=True),
    ".safetensors": FeatureFormat(write_safetensors, 4, holds_paths=False),
    ".parquet": FeatureFormat(write_parquet, 4, holds_paths=True),
    ".csv": FeatureFormat(write_csv, 13, holds_paths=True),
    ".pt": FeatureFormat(write_pt, 4, holds_paths=True),
}


class Output(NamedTuple):
    """The files of one extraction: features, and what lies beside them."""

    path: Path

    @property
    def format(self) -> FeatureFormat:
        return FEATURE_FORMATS[self.path.suffix.lower()]

    def _beside(self, ending: str) -> Path:
        whole = self.path.suffix.lower() != ".npy"  # files of other formats may lie beside feats.npy
        return self.path.with_name((self.path.name if whole else self.path.stem) + ending)

    @property
    def description(self) -> Path:
        return self._beside(".json")

    @property
    def paths(self) -> Path | None:
        return None if self.format.holds_paths else self._beside(".paths.txt")

    @property
    def labels(self) -> Path | None:
        return self._beside(".labels.npy") if self.path.suffix.lower() == ".npy" else None

    @property
    def unfinished(self) -> Path:
        name = f"{self.path.name}.part"
        if len(os.fsencode(name)) > LONGEST:
            digits = hashlib.sha256(os.fsencode(self.path.name)).hexdigest()[:8]
            ending = f".{digits}{self.path.suffix}.part"
            name = shortened(self.path.stem, LONGEST - len(ending)) + ending
        return self.path.with_name(name)

    def files(self) -> list[Path]:
        """All of them, the description last: once it is there, all are."""
        return [path for path in (self.path, self.paths, self.labels, self.description) if path]

    def write_into(self, folder: Path, table: Table) -> None:
        """All files but the rows themselves and the description, under their names in another folder."""
        if self.format.write is not None:
            self.format.write(folder / self.path.name, table)
        if self.paths:
            write_lines(folder / self.paths.name, table)
        if self.labels and table.labels is not None:
            np.save(folder / self.labels.name, table.labels)


def open_output(path: Path, is_map: bool) -> Output:
    """Where features go; `check_writable` tells whether they can.

    Args:
        is_map: the features of a picture are a map and not a row of numbers.

    Raises:
        UserError: no such format or folder.
    """
    suffix = path.suffix.lower()
    if suffix not in FEATURE_FORMATS:
        known = ", ".join(FEATURE_FORMATS)
        said = f"'{path.suffix}' is no format of features" if suffix else "the name tells no format"
        raise UserError(
            f"--out {path}: {said}.{nearest(suffix, FEATURE_FORMATS)} Known are {known}; with a / at its end it is a "
            "folder, with a Parquet file for each shard"
        )
    if os.path.isdir(path):
        raise UserError(f"--out {path}: is a folder; name a file, such as {path / 'features.npy'}")
    if not os.path.isdir(path.parent):
        raise UserError(f"--out {path}: there is no folder {path.parent}; make it first")
    if suffix == ".csv" and is_map:
        raise UserError(f"--out {path}: a feature map does not fit into a table; use {path.with_suffix('.npy')}")
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        raise UserError(f"--out {path}: .parquet needs pyarrow; install it with: pip install 'swav-cli[parquet]'")
    return Output(path)


def check_writable(output: Output) -> None:
    """
    Raises:
        UserError: one of the files can't be written where it is to lie.
    """
    for each in output.files():
        check_moved_place(each, "--out")
        check_place(each, "--out")
