"""Pictures that are files, and their classes: those that a list tells, else the folders in which they lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.data.decoding.images import read_picture
from swav_cli.data.folders.path_table import PathTable
from swav_cli.data.pictures import Pictures, by_letters, class_order, digest, evenly_spread, lacks

NO_CLASS = {"", ".."}  # as first folders: pictures that lie in none


class FilePictures(Pictures):
    """Files below a root. Classes are those given, else the root's own subfolders, where every file lies in one.

    Args:
        classes: "" for a picture that has none.
        counts: how many files in a row each of the given classes has; one where nothing is said.
    """

    def __init__(
        self, root: Path, names: Sequence[str], channels: int, source: str, classes: list[str] | None = None,
        counts: NDArray[np.int64] | None = None,
    ) -> None:  # fmt: skip
        self.root, self.channels, self.source = root, channels, source
        self.paths = names if isinstance(names, PathTable) else PathTable(names)
        tops = [name.split("/", 1)[0] if "/" in name else "" for name in names] if classes is None else classes
        known = class_order(tops)
        if not NO_CLASS & set(known):
            number = {top: position for position, top in enumerate(known)}
            self.classes = known
            labels = np.fromiter((number[top] for top in tops), dtype=np.int64, count=len(tops))
            self.labels = labels if counts is None else np.repeat(labels, counts)
            self.drawn_by = by_letters(known)  # as pictures were drawn when all classes were in that order
        elif not set(known) <= NO_CLASS:
            outside = np.array([top in NO_CLASS for top in tops])
            lacking = np.flatnonzero(outside if counts is None else np.repeat(outside, counts))
            first = self.paths[int(lacking[0])]
            self.unlabelled = lacks(first, "lies in no folder of a class", len(lacking), len(self))

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        return read_picture(self.root / self.paths[index], self.channels, self.reduce)

    def name(self, index: int) -> str:
        return str(self.root / self.paths[index])

    def identity(self, index: int) -> str:
        return os.path.join(self.root, self.paths[index])

    def below(self, index: int) -> str:
        return self.paths[index]

    def fingerprint(self) -> str:
        """Of the names below the folder in which all lie: the same wherever that is, and whoever names them."""
        return digest([self.paths.without(self.paths.common_folder()).digest()])

    def former_fingerprints(self) -> set[str]:
        """Of all of each name; of names from the root, of what stands behind their common folder, with its slash."""
        slash = max(0, self.paths.common_folder() - 1) if self.paths.are_from_the_root() else 0
        return {digest([table.digest()]) for table in (self.paths, self.paths.without(slash))}

    def contents(self) -> list[str]:
        """Names alone, such as 0001.jpg, may be those of other pictures."""
        return [digest_of_file(self.root / self.paths[index]) for index in evenly_spread(len(self))]


def digest_of_file(path: Path) -> str:
    """Of its length and of its first megabyte; empty where it can't be read."""
    try:
        with open(path, "rb") as file:
            return digest([f"{os.fstat(file.fileno()).st_size} {hashlib.sha256(file.read(2**20)).hexdigest()}"])
    except (OSError, ValueError):  # no such file, or a name that none can have
        return ""
