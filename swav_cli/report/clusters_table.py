"""What was found about pictures as a table, a row a picture; and as lists of paths."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.lists.tables import one_line
from swav_cli.errors import UserError
from swav_cli.evaluate.clustering.found import Found, Match
from swav_cli.files import as_utf8, write_as_text, write_whole
from swav_cli.report.answers import UnixLines

TableFormat = Literal["csv", "parquet"]
TABLE_FORMATS: tuple[TableFormat, ...] = get_args(TableFormat)
PART = 10_000  # rows at a time
LISTS = ("keep", "delete", "outliers", "unread", "against")


def check_format(written: str) -> TableFormat:
    """
    Raises:
        UserError: no such format, or what writes it is not installed.
    """
    if written not in TABLE_FORMATS:
        raise UserError(f"--format {written}: use {' or '.join(TABLE_FORMATS)}")
    if written == "parquet" and find_spec("pyarrow") is None:
        raise UserError("--format parquet needs pyarrow; install it with: pip install 'swav-cli[parquet]'")
    return "parquet" if written == "parquet" else "csv"


def check_atlas() -> None:
    """
    Raises:
        UserError: what writes it is not installed.
    """
    if find_spec("pyarrow") is None:
        raise UserError("--atlas needs pyarrow; install it with: pip install 'swav-cli[parquet]'")


def columns(found: Found, rows: slice) -> dict[str, list[Any]]:
    """Some rows of the table, column by column; None where there is nothing to say."""
    read = found.read[rows]

    def numbers(values: NDArray[Any], there: NDArray[np.bool_] = read) -> list[Any]:
        return [value if is_there else None for value, is_there in zip(values[rows].tolist(), there, strict=True)]

    def rounded(values: NDArray[np.float32]) -> list[float | None]:
        return [round(value, 6) if math.isfinite(value) else None for value in values[rows].tolist()]

    copy_of = found.copy_of[rows].tolist()
    return {
        "path": found.paths[rows],
        "cluster": numbers(found.cluster),
        "probability": rounded(found.probability),
        "second": numbers(found.second, read & (found.second[rows] >= 0)),
        "margin": rounded(found.margin),
        "group": numbers(found.group),
        "outlier": rounded(found.outlier),
        "copy_of": [found.paths[number] if number >= 0 else None for number in copy_of],
        "similarity": rounded(found.similarity),
        "keep": numbers(found.keep),
        "error": [error or None for error in found.errors[rows]],
    }


def write_table(path: Path, found: Found, written: TableFormat) -> None:
    """
    Raises:
        UserError: it can't be written.
    """
    _write(path, written, len(found.paths), lambda rows: columns(found, rows), SCHEMA)


def write_matches(path: Path, found: Found, written: TableFormat) -> None:
    """Which pictures are among others too: path, other, similarity, exact."""

    def part(rows: slice) -> dict[str, list[Any]]:
        chosen: list[Match] = found.against[rows]
        return {
            "path": [found.paths[match.picture] for match in chosen],
            "other": [match.other for match in chosen],
            "similarity": [round(match.similarity, 6) for match in chosen],
            "exact": [match.exact for match in chosen],
        }

    _write(path, written, len(found.against), part, OF_MATCHES)


SCHEMA = {
    "path": "string", "cluster": "int32", "probability": "float", "second": "int32", "margin": "float",
    "group": "int32", "outlier": "float", "copy_of": "string", "similarity": "float", "keep": "bool", "error": "string",
}  # fmt: skip
OF_MATCHES = {"path": "string", "other": "string", "similarity": "float", "exact": "bool"}


def _write(
    path: Path, written: TableFormat, count: int, part: Callable[[slice], dict[str, list[Any]]], schema: dict[str, str]
) -> None:
    def parts() -> Iterator[dict[str, list[Any]]]:
        for first in range(0, count, PART):
            yield part(slice(first, first + PART))

    if written == "parquet":
        write_whole(path, lambda beside: write_parquet(beside, parts(), schema))
        return

    def write(stream: Any) -> None:
        rows = csv.writer(UnixLines(stream))
        rows.writerow(schema)
        for each in parts():
            rows.writerows(zip(*([_cell(value) for value in column] for column in each.values()), strict=True))

    write_as_text(path, write)


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def write_parquet(path: Path, parts: Iterator[dict[str, list[Any]]], schema: dict[str, str]) -> None:
    """Columns of some rows after others; texts that are no UTF-8 have their bytes escaped."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"string": pa.string(), "int32": pa.int32(), "float": pa.float32(), "bool": pa.bool_()}
    fields = pa.schema([(name, kinds[kind]) for name, kind in schema.items()])
    # Opened here, since pyarrow takes no path that is not UTF-8.
    with open(path, "wb") as file, parquet.ParquetWriter(file, fields) as writer:
        for part in parts:
            arrays = [
                pa.array(readable(values) if schema[name] == "string" else values, type=kinds[schema[name]])
                for name, values in part.items()
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=fields))


def readable(texts: Sequence[str | None]) -> list[str | None]:
    return [None if text is None else as_utf8(text) for text in texts]


def check_list(words: str) -> None:
    """
    Raises:
        UserError: `--print` names nothing that could be printed.
    """
    kind, colon, number = words.partition(":")
    if words in LISTS or (colon and kind in ("group", "cluster") and number.lstrip("-").isdecimal()):
        return
    raise UserError(f"--print {words}: use {', '.join(LISTS)}, group:NUMBER or cluster:NUMBER")


def listed(found: Found, words: str) -> list[str]:
    """Paths of the pictures that `--print` asks for.

    Raises:
        UserError: there is no such group or cluster.
    """
    kind, _, number = words.partition(":")
    if kind in ("group", "cluster"):
        of_each = found.group if kind == "group" else found.cluster
        known = {each.number for each in found.groups} if kind == "group" else set(range(found.clusters))
        if int(number) not in known:
            raise UserError(f"--print {words}: there are {kind}s {min(known, default=0)} to {max(known, default=0)}")
        chosen = np.flatnonzero((of_each == int(number)) & found.read)
    elif kind == "outliers":
        chosen = found.odd
    elif kind == "unread":
        chosen = np.flatnonzero(~found.read)
    elif kind == "against":
        chosen = np.array([match.picture for match in found.against], dtype=np.int64)
    else:
        chosen = np.flatnonzero((found.keep if kind == "keep" else ~found.keep) & found.read)
    return [found.paths[index] for index in chosen.tolist()]


def write_list(path: Path, paths: Sequence[str]) -> None:
    """A path a line; what any reader takes for a line's end is escaped."""
    write_as_text(path, lambda stream: stream.writelines(one_line(each) + "\n" for each in paths))
