"""Which pictures of a source a file lists, by as much of their paths as the file gives."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.lists.tables import read_listed
from swav_cli.data.pictures import Pictures
from swav_cli.errors import UserError

Parts = list[str]


class Matches:
    """A source's pictures by their names, which may be written in whole, from the source on, or by their ends.

    `n01440764_10074.JPEG` and `n01440764/n01440764_10074.JPEG` both name the picture whose path ends so. A longer name,
    of a place where the pictures once lay, names the one whose whole path within the source it ends in.
    """

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self._ending: dict[str, list[int]] = {}
        for index in range(len(pictures)):
            self._ending.setdefault(_parts(pictures.below(index))[-1], []).append(index)
        self._in_folder: dict[str, dict[str, list[int]]] = {}  # the same by the folders' names, once they are asked for

    def of(self, written: str) -> list[int]:
        """Pictures that a name means: several rows of one file, or several files where the name is not enough."""
        wanted = _parts(written)
        alike = self._alike(wanted)
        if len(alike) == 1 and len(wanted) == 1:
            return alike
        whole = [index for index in alike if wanted in (_parts(self._name(index)), self._below(index))]
        ending = whole or [index for index in alike if _ends_in(self._full(index), wanted)]
        if ending:
            return ending
        moved = [index for index in alike if _ends_in(wanted, self._telling(index))]
        longest = max((len(self._below(index)) for index in moved), default=0)
        return [index for index in moved if len(self._below(index)) == longest]

    def _alike(self, wanted: Parts) -> list[int]:
        """Those whose last part it is, and the folder before it: each class may have all of the names."""
        alike = self._ending.get(wanted[-1], []) if wanted else []
        if len(wanted) < 2 or len(alike) < 2:
            return alike
        if wanted[-1] not in self._in_folder:
            folders: dict[str, list[int]] = {}
            for index in alike:
                folders.setdefault("".join(self._telling(index)[-2:-1]), []).append(index)
            self._in_folder[wanted[-1]] = folders
        return self._in_folder[wanted[-1]].get(wanted[-2], [])

    def _name(self, index: int) -> str:
        return self.pictures.name(index)

    def _full(self, index: int) -> Parts:
        return _parts(os.path.abspath(self._name(index)))

    def _telling(self, index: int) -> Parts:
        """The end of its path that a name from elsewhere must share: with a folder's name, if need be the source's."""
        below = self._below(index)
        return below if len(below) > 1 else self._full(index)[-2:]

    def _below(self, index: int) -> Parts:
        return _parts(self.pictures.below(index))


def listed_among(pictures: Pictures, path: Path) -> NDArray[np.int64]:
    """The numbers of the pictures that a list or a table names; labels in it don't count.

    Raises:
        UserError: it names none, some that are not there, one by less than tells it from others, or one twice.
    """
    matches = Matches(pictures)
    listed = read_listed(path, lambda name: bool(matches.of(name)))
    if not listed.names:
        raise UserError(f"--labels {path}: lists no pictures; write their names, one a line")
    chosen: dict[int, str] = {}  # and the name by which each was chosen
    missing = []
    for name, line in zip(listed.names, listed.lines, strict=True):
        found = matches.of(name)
        if not found:
            missing.append(name)
        different = sorted({pictures.name(index) for index in found})
        if len(different) > 1:
            raise UserError(
                f"--labels {path}: line {line:,}, {name}, is ambiguous: more than one picture of {pictures.source} "
                f"ends so, {different[0]} and {different[1]}; write as much of the path as tells them apart"
            )
        for index in found:
            before = chosen.setdefault(index, name)
            if not _agree(_parts(before), _parts(name)):
                raise UserError(
                    f"--labels {path}: line {line:,}, {name}, is ambiguous: {before} above it goes by "
                    f"{pictures.name(index)} as well; list pictures of {pictures.source} alone"
                )
    if missing:
        raise UserError(
            f"--labels {path}: {len(missing):,} of its {len(listed.names):,} pictures are not in {pictures.source}, "
            f"first {missing[0]}"
        )
    return np.array(sorted(chosen), dtype=np.int64)


def _parts(name: str) -> Parts:
    parts = [part for part in name.replace(os.sep, "/").split("/") if part not in ("", ".")]
    while parts and parts[0] == "..":
        parts.pop(0)
    return parts


def _ends_in(name: Parts, end: Parts) -> bool:
    return len(end) <= len(name) and name[-len(end) :] == end


def _agree(a: Parts, b: Parts) -> bool:
    """Whether two names may be of one file."""
    return _ends_in(a, b) or _ends_in(b, a)
