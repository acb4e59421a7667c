"""Pictures by index: what every source of them is, and some of another's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Split = Literal["train", "val"]


class Pictures:
    """Pictures by index. `labels` holds a class for each, or is None; nothing but an evaluation reads it."""

    source: str
    channels: int
    labels: NDArray[np.int64] | None = None
    classes: list[str] | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, index: int) -> Tensor:
        """Picture as uint8 (C, H, W). Raises BadPicture."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """What a person would call it: a path, or a number in a data set."""
        raise NotImplementedError

    def some(self, count: int) -> Pictures:
        """What to look at where a few pictures are enough: all of them, or of a stream the first."""
        return self

    def fingerprint(self) -> str:
        """Changes when pictures come, go or are renamed."""
        return digest(("\n" if index else "") + self.name(index) for index in range(len(self)))


def digest(parts: Iterable[str]) -> str:
    """Of the parts one after another, of which there may be millions."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(os.fsencode(part))
    return hasher.hexdigest()[:16]


class Chosen(Pictures):
    """Some of the pictures, in the order given."""

    def __init__(self, pictures: Pictures, chosen: NDArray[np.int64]) -> None:
        self.pictures, self.chosen = pictures, chosen
        self.source, self.channels, self.classes = pictures.source, pictures.channels, pictures.classes
        if pictures.labels is not None:
            self.labels = pictures.labels[self.chosen]

    def __len__(self) -> int:
        return len(self.chosen)

    def read(self, index: int) -> Tensor:
        return self.pictures.read(int(self.chosen[index]))

    def name(self, index: int) -> str:
        return self.pictures.name(int(self.chosen[index]))

    def fingerprint(self) -> str:
        numbers = ((", " if position else "") + str(number) for position, number in enumerate(self.chosen))
        return digest(chain([self.pictures.fingerprint(), " ["], numbers, ["]"]))


class Limited(Chosen):
    """The first N pictures of a shuffle fixed by the seed, in their own order."""

    def __init__(self, pictures: Pictures, limit: int, seed: int) -> None:
        order = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(len(pictures))
        super().__init__(pictures, np.sort(order[:limit]))
