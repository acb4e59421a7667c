"""Many file names in little memory: one block of bytes and where each name begins."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class PathTable(Sequence[str]):
    """A list of names kept as flat arrays, which processes share without a copy in each.

    >>> PathTable(["a.jpg", "b.jpg"])[1]
    'b.jpg'
    """

    def __init__(self, names: Sequence[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    @classmethod
    def from_arrays(
        cls,
        block: NDArray[np.uint8],  # all names one after another
        ends: NDArray[np.int64],  # (N + 1,): name i is block[ends[i]:ends[i + 1]]
    ) -> PathTable:
        """A table of arrays as they are; nothing is copied."""
        table = cls.__new__(cls)
        table._bytes, table._ends = block, ends
        return table

    @classmethod
    def of_folder(cls, prefix: str, names: list[str]) -> PathTable:
        """What lies in one folder, without a Python object for each whole name: they are encoded all at once."""
        if not names:
            return cls([])
        joint = prefix + ("\0" + prefix).join(names)  # which no name of a file holds
        text = np.frombuffer(os.fsencode(joint), dtype=np.uint8)
        gaps = np.flatnonzero(text == 0)
        ends = np.concatenate([[0], gaps - np.arange(len(gaps)), [len(text) - len(gaps)]]).astype(np.int64)
        return cls.from_arrays(text[text != 0], ends)

    @classmethod
    def joined(cls, tables: Sequence[PathTable]) -> PathTable:
        """The names of all tables, one table after another; those of a single one without a copy."""
        if len(tables) == 1:
            return tables[0]
        lengths = [np.diff(table._ends) for table in tables]
        ends = np.cumsum(np.concatenate([np.zeros(1, dtype=np.int64), *lengths]))
        return cls.from_arrays(np.concatenate([np.empty(0, dtype=np.uint8), *(t._own_bytes() for t in tables)]), ends)

    def part(self, start: int, stop: int) -> PathTable:
        """The names from one position to another, as a view."""
        return PathTable.from_arrays(self._bytes, self._ends[start : stop + 1])

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """What `from_arrays` takes, the first name beginning at 0."""
        return self._own_bytes(), self._ends - self._ends[0] if self._ends[0] else self._ends

    def _own_bytes(self) -> NDArray[np.uint8]:
        return self._bytes[self._ends[0] : self._ends[-1]]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def digest(self) -> str:
        """A number that changes with any name."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        hasher = hashlib.sha256()
        for array in self.arrays():
            hasher.update(np.ascontiguousarray(array).data)
        return hasher.hexdigest()

    def are_from_the_root(self) -> bool:
        """Whether all begin with a slash, without a look at each."""
        starts, ends = self._ends[:-1], self._ends[1:]
        return bool((ends > starts).all() and (self._bytes[starts] == ord("/")).all())

    def common_folder(self) -> int:
        """Bytes of the folder in which all names lie, with its slash; 0 where they lie in none."""
        starts = self._ends[:-1]
        if not len(starts):
            return 0
        first = self._bytes[starts[0] : starts[0] + np.diff(self._ends).min()]
        length = 0
        for position, byte in enumerate(first.tolist()):
            if (self._bytes[starts + position] != byte).any():
                break
            if byte == ord("/"):
                length = position + 1
        return length

    def without(self, length: int) -> PathTable:
        """The names without so many bytes at the beginning of each."""
        if not length:
            return self
        block, ends = self.arrays()
        kept = np.ones(len(block), dtype=bool)
        for position in range(length):
            kept[ends[:-1] + position] = False
        return PathTable.from_arrays(block[kept], ends - length * np.arange(len(ends)))

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return os.fsdecode(self._bytes[self._ends[index] : self._ends[index + 1]].tobytes())
