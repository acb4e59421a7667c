"""A part as it is written: a Parquet file with the columns path, label, error and features, alike in all parts."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.pictures import Pictures
from swav_cli.evaluate.extraction.writers import PART
from swav_cli.files import as_utf8


class PartRows(NamedTuple):
    """Some rows of a part."""

    first: int  # number of the first one
    values: NDArray[np.float32]  # (B, ...)
    errors: dict[int, str]  # rows of pictures that can't be read, and why


class PartFile:
    """Writes rows as they come, in order; some megabytes of them at a time.

    Args:
        pictures: of which the rows are.
        described: is kept in the file, by the name `swav`; `shape` is that of a row.
    """

    def __init__(self, path: Path, pictures: Pictures, described: dict[str, Any]) -> None:
        import pyarrow as pa

        self.rows = 0
        self._path, self._pictures = path, pictures
        self._waiting: list[PartRows] = []
        self._width = int(np.prod(described["shape"], dtype=np.int64))
        self._kind = pa.list_(pa.float32(), self._width)
        texts = [(name, pa.string()) for name in ("path", "label", "error")]
        self._schema = pa.schema([*texts, ("features", self._kind)], {"swav": json.dumps(described)})

    def __enter__(self) -> PartFile:
        from pyarrow import parquet

        with ExitStack() as opened:
            # Opened here, since pyarrow takes no path that is not UTF-8.
            file = opened.enter_context(open(self._path, "wb"))
            texts = self._schema.names[:-1]  # features hardly repeat: a dictionary would cost time
            self._writer = opened.enter_context(parquet.ParquetWriter(file, self._schema, use_dictionary=texts))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        with self._opened:
            if kind is None:
                self._write_waiting()

    def write(self, rows: PartRows) -> None:
        self._waiting.append(rows)
        self.rows += len(rows.values)
        if sum(len(each.values) for each in self._waiting) * self._width >= PART:
            self._write_waiting()

    def _write_waiting(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        values = np.concatenate([each.values.reshape(len(each.values), -1) for each in self._waiting])
        errors = {row: reason for each in self._waiting for row, reason in each.errors.items()}
        numbers = range(self.rows - len(values), self.rows)
        columns = [
            pa.array([as_utf8(self._pictures.name(row)) for row in numbers], pa.string()),
            pa.array(map(self._label, numbers), pa.string()),
            pa.array([errors.get(row) for row in numbers], pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=self._kind),
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema), row_group_size=len(values))
        self._waiting.clear()

    def _label(self, row: int) -> str | None:
        labels, classes = self._pictures.labels, self._pictures.classes
        return None if labels is None or classes is None else as_utf8(classes[labels[row]])
