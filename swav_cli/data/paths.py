"""Many file names in little memory: one block of bytes and where each name begins."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np


class PathTable(Sequence[str]):
    """A list of names kept as flat arrays, which processes share without a copy in each.

    >>> PathTable(["a.jpg", "b.jpg"])[1]
    'b.jpg'
    """

    def __init__(self, names: Sequence[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return os.fsdecode(self._bytes[self._ends[index] : self._ends[index + 1]].tobytes())


def find_files(root: Path, suffixes: frozenset[str]) -> list[str]:
    """Names below `root` (with `/`, sorted) that end in one of the suffixes, in any case.

    Links are followed, once each folder; hidden files and folders are passed over.
    """
    return sorted(_walk(str(root), "", suffixes, set()))


def _walk(folder: str, prefix: str, suffixes: frozenset[str], seen: set[tuple[int, int]]) -> Iterator[str]:
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:
        return  # a link that leads back
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(entry.path, f"{prefix}{entry.name}/", suffixes, seen)
            elif os.path.splitext(entry.name)[1].lower() in suffixes:
                yield prefix + entry.name
