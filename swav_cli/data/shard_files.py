"""Files that each hold many pictures, as units of work: tars, Parquet and Arrow files; and several of them as one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from swav_cli.data.lists.record_pictures import find_records, names_records, open_records, records_in
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures
from swav_cli.data.shards.names import SUFFIX, find_shards, is_stream, names_shards, refuse_stream
from swav_cli.data.shards.pictures import open_shards
from swav_cli.errors import UserError

DEPTH = 2  # folders below the one that is named, in which tars are looked for, as Parquet files are


class ShardFile(NamedTuple):
    """A file of many pictures."""

    path: str  # as it was given
    name: str  # below the folder that all of them share
    size: int  # bytes


def find_shard_files(inputs: Sequence[str], without: Path) -> list[ShardFile]:
    """The files that the inputs name, sorted by path, each once: files, patterns such as 'shards/train-{000..146}.tar'
    or 'data/*.parquet', and folders that hold some.

    Args:
        without: a folder whose files are left out, since they are results.

    Raises:
        UserError: one that is not there, or that is no such file.
    """
    places: dict[str, str] = {}
    for given in inputs:
        for path in _named_by(given):
            places.setdefault(os.path.abspath(path), path)
    own = os.path.join(os.path.abspath(without), "")
    paths = sorted(path for place, path in places.items() if not place.startswith(own))
    if not paths:
        raise UserError(f"{' '.join(inputs)}: no shards there but those of {without}")
    shared = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    return [
        ShardFile(path, Path(os.path.relpath(os.path.abspath(path), shared)).as_posix(), os.path.getsize(path))
        for path in paths
    ]


def _named_by(given: str) -> list[str]:
    if is_stream(given):
        raise refuse_stream(given)
    if names_shards(given):
        return find_shards([given])
    if names_records(given):
        return find_records(given)
    folder = expanded(given)
    if os.path.isdir(folder):
        levels = ["/".join(["*"] * depth + [f"*{SUFFIX}"]) for depth in range(DEPTH + 1)]
        tars = [path for level in levels for path in glob(os.path.join(folder, level)) if os.path.isfile(path)]
        found = [*tars, *records_in(folder, None)]
        if found:
            return found
    elif not os.path.exists(folder):
        raise UserError(f"{given}: no such file or folder")
    raise UserError(
        f"{given}: holds no shards (.tar), Parquet or Arrow files, which a folder of parts is made of; for other "
        "pictures name a file: --out feats.npy"
    )


def open_shard_file(path: str, channels: int) -> Pictures:
    """The pictures of one file.

    Raises:
        UserError: it can't be read, or holds none.
    """
    return open_shards([path], channels) if names_shards(path) else open_records([path], channels)


class Joined(Pictures):
    """Pictures of several sources, one source's after another's; what each knows beside its pictures is asked there."""

    def __init__(self, parts: Sequence[Pictures]) -> None:
        self.parts = parts
        self.channels, self.source = parts[0].channels, " ".join(part.source for part in parts)
        self.starts = np.cumsum([0, *map(len, parts)], dtype=np.int64)  # (S + 1,)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, index: int) -> Tensor:
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.parts[part].read(index - int(self.starts[part]))

    def name(self, index: int) -> str:
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.parts[part].name(index - int(self.starts[part]))
