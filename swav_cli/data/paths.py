"""Many file names in little memory: one block of bytes and where each name begins."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
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

    def digest(self) -> str:
        """A number that changes with any name."""
        return hashlib.sha256(self._bytes.tobytes() + self._ends.tobytes()).hexdigest()

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return os.fsdecode(self._bytes[self._ends[index] : self._ends[index + 1]].tobytes())


def find_files(root: Path, suffixes: frozenset[str]) -> list[str]:
    """Names below `root` (with `/`, sorted) that end in one of the suffixes, in any case.

    Links are followed, each folder is entered once, and hidden files and folders are passed over.
    """
    names: list[str] = []
    seen: set[tuple[int, int]] = set()
    folders = [""]
    links: list[str] = []  # left for last: a folder goes by its own name rather than by that of a link to it
    while folders or links:
        prefix = folders.pop() if folders else links.pop(0)
        status = os.stat(root / prefix)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(root / prefix) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = prefix + entry.name
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    (links if entry.is_symlink() else folders).append(name + "/")
                elif os.path.splitext(entry.name)[1].lower() in suffixes and _can_be_read(entry):
                    names.append(name)
    return sorted(names)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _can_be_read(entry: os.DirEntry[str]) -> bool:
    """A file, or a link that leads nowhere, which is for the reader to report; but no pipe, which would never end."""
    try:
        return entry.is_file() or not os.path.exists(entry.path)
    except OSError:
        return True
