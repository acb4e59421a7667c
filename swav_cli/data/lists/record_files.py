"""Parquet and Arrow files with a picture a row: which column holds them, and one row's bytes when they are asked for.

Nothing is read ahead. Of an Arrow file, which is mapped, a row's own bytes alone are touched; of a Parquet file its row
group, and the last few of these are kept. Each process opens files for itself, so that those that are forked don't read
through their parent's, and pyarrow uses no threads of its own.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.lists.tables import LABELS, NAMES, Row, cell_of, heading_word
from swav_cli.errors import UserError, first_line

PARQUET, ARROW = ".parquet", ".arrow"
RECORD_SUFFIXES = (PARQUET, ARROW)
BYTES = ("image", "bytes", "image_bytes", "img_bytes", "img", "jpg", "jpeg", "png", "webp", "content", "data")
KEPT = 256 << 20  # bytes of row groups that a process keeps
OPEN_FILES = 16  # of a process


class RecordFile(NamedTuple):
    """A file as it was when it was looked into."""

    path: str
    size: int  # bytes
    changed: int  # nanoseconds
    rows: int
    column: str  # of the pictures


class Looked(NamedTuple):
    """What is known of a file before any picture of it is read."""

    file: RecordFile
    labels: list[Any] | None  # N values, None where a row has none; None where there is no such column
    names: list[str] | None  # of the classes that labels number, where the file tells
    largest: int  # bytes of its largest row group
    is_features: bool  # written by swav extract


def look_into(path: str) -> Looked:
    """
    Raises:
        UserError: pyarrow is not installed, it can't be read, or holds no column of pictures.
    """
    with _told(path):
        status = os.stat(path)
        reader = _reader(path)
        schema = reader.schema
        column = _picture_column(path, schema)
        label, names = _label_column(schema, column)
        labels = None if label is None else reader.column(label)
        file = RecordFile(path, status.st_size, status.st_mtime_ns, reader.rows, column)
        return Looked(file, labels, names, reader.largest, b"swav" in (schema.metadata or {}))


def read_columns(path: str) -> tuple[list[str], list[Row]]:
    """All columns of a file as those of a table: headings in small letters, and rows of texts; classes by their names.

    Raises:
        UserError: pyarrow is not installed, or it can't be read.
    """
    with _told(path):
        reader = _reader(path)
        columns = []
        for name in reader.schema.names:
            names = _features(reader.schema).get(name, {}).get("names")
            columns.append([cell_of(_named(value, names)) for value in reader.column(name)])
        rows = [Row(number, list(cells)) for number, cells in enumerate(zip(*columns, strict=True), start=1)]
        return [heading_word(name) for name in reader.schema.names], rows


def _named(value: Any, names: Any) -> Any:
    """The class that a number stands for; nothing for a number of none."""
    if not isinstance(names, list) or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


@contextmanager
def _told(path: str) -> Iterator[None]:
    """What pyarrow has to say in one line."""
    try:
        import pyarrow as pa
    except ImportError:
        raise UserError(f"{path}: reading it needs pyarrow; install it with: pip install 'swav-cli[parquet]'") from None
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror or first_line(error)})") from None
    except pa.ArrowException as error:
        kind = Path(path).suffix[1:].title()
        raise UserError(f"{path}: is no {kind} file, or is damaged ({first_line(error)})") from None


def value_at(file: RecordFile, row: int) -> Any:
    """A cell of the column of pictures: bytes, a path, both in a mapping, or None.

    Raises:
        BadPicture: it can't be read.
    """
    import pyarrow as pa

    try:
        return _opened(file, os.getpid()).value(file.column, row)
    except OSError as error:
        raise BadPicture(error.strerror or first_line(error)) from None
    except pa.ArrowException as error:
        raise BadPicture(first_line(error)) from None


@lru_cache(maxsize=OPEN_FILES)
def _opened(file: RecordFile, process: int) -> _Parquet | _Arrow:
    status = os.stat(file.path)
    if (status.st_size, status.st_mtime_ns) != (file.size, file.changed):
        raise BadPicture("the file has changed since it was opened")
    return _reader(file.path)


def _reader(path: str) -> _Parquet | _Arrow:
    return _Parquet(path) if path.lower().endswith(PARQUET) else _Arrow(path)


class _Parquet:
    def __init__(self, path: str) -> None:
        from pyarrow import parquet

        self._file = parquet.ParquetFile(path, memory_map=True, pre_buffer=False)
        metadata = self._file.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self._starts = np.cumsum([0, *(group.num_rows for group in groups)])
        self.schema, self.rows = self._file.schema_arrow, int(self._starts[-1])
        self.largest = max((group.total_byte_size for group in groups), default=0)

    def column(self, name: str) -> list[Any]:
        return list(self._file.read(columns=[name], use_threads=False).column(0).to_pylist())

    def value(self, name: str, row: int) -> Any:
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        column = _row_groups(os.getpid()).column(self._file, group, name)
        return column[row - int(self._starts[group])].as_py()


class _RowGroups:
    """Columns of row groups, of all files together: the last ones that were read."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def column(self, file: Any, group: int, name: str) -> Any:
        with self._lock:
            column = self._kept.get((file, group))
            if column is None:
                column = file.read_row_group(group, columns=[name], use_threads=False).column(0)
                self._kept[file, group] = column
            self._kept.move_to_end((file, group))
            while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > KEPT:
                self._kept.popitem(last=False)
        return column


@lru_cache(maxsize=1)
def _row_groups(process: int) -> _RowGroups:
    """Those of this process: what is forked meanwhile must not find the lock held by a thread that it has not."""
    return _RowGroups()


class _Arrow:
    """A stream of Arrow, as `datasets` writes them, or a file of it."""

    largest = 0

    def __init__(self, path: str) -> None:
        import pyarrow as pa

        source = pa.memory_map(path)
        try:
            self._table = pa.ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            source.seek(0)
            self._table = pa.ipc.open_file(source).read_all()
        self.schema, self.rows = self._table.schema, self._table.num_rows

    def column(self, name: str) -> list[Any]:
        return list(self._table.column(name).to_pylist())

    def value(self, name: str, row: int) -> Any:
        return self._table.column(name)[row].as_py()


# --- which columns ------------------------------------------------------------------------------------------------


def _picture_column(path: str, schema: Any) -> str:
    """
    Raises:
        UserError: none holds pictures.
    """
    for candidates in (_told_as(schema, "Image"), _structs(schema), _binaries(schema), _paths(schema)):
        found = next(candidates, None)
        if found is not None:
            return found
    raise UserError(f"{path}: no column of it holds pictures; it has: {', '.join(schema.names) or 'none'}")


def _told_as(schema: Any, kind: str) -> Iterator[str]:
    """Columns that the description of `datasets` calls so."""
    return (name for name, told in _features(schema).items() if told.get("_type") == kind and name in schema.names)


def _features(schema: Any) -> dict[str, Any]:
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: value for name, value in told.items() if isinstance(value, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _structs(schema: Any) -> Iterator[str]:
    from pyarrow import types

    return (field.name for field in schema if types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)


def _binaries(schema: Any) -> Iterator[str]:
    from pyarrow import types

    binary = [field.name for field in schema if types.is_binary(field.type) or types.is_large_binary(field.type)]
    return iter(sorted(binary, key=_rank(BYTES)))


def _paths(schema: Any) -> Iterator[str]:
    from pyarrow import types

    texts = [field.name for field in schema if types.is_string(field.type) or types.is_large_string(field.type)]
    return iter(sorted((name for name in texts if heading_word(name) in NAMES), key=_rank(NAMES)))


def _rank(words: tuple[str, ...]) -> Callable[[str], int]:
    return lambda name: words.index(heading_word(name)) if heading_word(name) in words else len(words)


def _label_column(schema: Any, pictures: str) -> tuple[str | None, list[str] | None]:
    """Its name, and the classes' where labels number them."""
    told = next(_told_as(schema, "ClassLabel"), None)
    if told is not None:
        names = _features(schema)[told].get("names")
        return told, [str(name) for name in names] if isinstance(names, list) else None
    others = [name for name in schema.names if name != pictures and heading_word(name) in LABELS]
    return min(others, key=_rank(LABELS), default=None), None
