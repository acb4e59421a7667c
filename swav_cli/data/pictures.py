"""Pictures by index: what every source of them is, and some of another's."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.data.decoding.formats import Reduce
from swav_cli.errors import counted

Split = Literal["train", "val"]
# What parts of data sets are called, in names of files and folders; of several to judge by the first counts.
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid", "validation", "test", "dev")}
PART_NAMES = frozenset(chain.from_iterable(SPLIT_NAMES.values()))
SAMPLED = 32  # whose contents are looked at to tell pictures from others with the same names
NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")


class Pictures:
    """Pictures by index. `labels` holds a class for each, or is None; nothing but an evaluation reads it."""

    source: str
    channels: int
    labels: NDArray[np.int64] | None = None
    classes: list[str] | None = None
    unlabelled: str | None = None  # where labels are None since some pictures have none: which, in words
    remarks: Sequence[str] = ()  # what a user should know of how they were found, a line each
    reduce: Reduce | None = None  # by what a JPEG may be decoded smaller, where crops need no more
    drawn_by: NDArray[np.int64] | None = None  # (C,) what draws of a class's pictures hang on; its number where None

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, index: int) -> Tensor:
        """Picture as uint8 (C, H, W). Raises BadPicture."""
        raise NotImplementedError

    def decode_for(self, reduce: Reduce) -> None:
        """From here on decode JPEGs no larger than it says."""
        self.reduce = reduce

    def name(self, index: int) -> str:
        """What a person would call it: a path, or a number in a data set."""
        raise NotImplementedError

    def below(self, index: int) -> str:
        """The name without what stands before all names of the source: the same where the source has been moved."""
        return self.name(index)

    def identity(self, index: int) -> str:
        """What the same picture has wherever it is opened, and no other: where it lies, or its place in a data set."""
        return self.name(index)

    def some(self, count: int) -> Pictures:
        """What to look at where a few pictures are enough: all of them, or of a stream the first."""
        return self

    def fingerprint(self) -> str:
        """Changes when pictures come, go or are renamed, and not where all of them have been moved together."""
        return digest(("\n" if index else "") + self.name(index) for index in range(len(self)))

    def former_fingerprints(self) -> set[str]:
        """What runs of earlier versions may have noted of the same pictures instead."""
        return set()

    def contents(self) -> list[str]:
        """Digests of the contents of a few, evenly spread; none where the fingerprint tells all that can be told."""
        return []


def class_order(names: Iterable[str]) -> list[str]:
    """Classes in the order that their numbers follow: of their values where all are numbers, else of letters.

    >>> class_order({"10", "9"}), class_order({"10", "9", "a"})
    (['9', '10'], ['10', '9', 'a'])
    """
    known = sorted(set(names))
    return sorted(known, key=Decimal) if all(map(NUMBER.fullmatch, known)) else known


def by_letters(classes: list[str]) -> NDArray[np.int64]:
    """The place of each class among the names in the order of letters."""
    place = {name: position for position, name in enumerate(sorted(classes))}
    return np.array([place[name] for name in classes], dtype=np.int64)


def lacks(first: str, what: str, count: int, total: int) -> str:
    """Of pictures without a label, some words for `Pictures.unlabelled`."""
    others = "" if count == 1 else ", nor has another" if count == 2 else f", nor have {count - 1:,} others"
    are = "is" if count == 1 else "are"
    return f"{first} {what}{others} ({count:,} of {counted(total, 'picture')} {are} without a label)"


def tell(pictures: Pictures, notice: Callable[[str], None]) -> None:
    for remark in pictures.remarks:
        notice(f"{pictures.source}: {remark}")


def labels_digest(pictures: Pictures) -> str:
    """Changes with any picture's class, and not with the order of the classes; empty where there are no labels."""
    if pictures.labels is None or pictures.classes is None:
        return ""
    return digest(f"{pictures.classes[number]}\0" for number in pictures.labels.tolist())


def digest(parts: Iterable[str]) -> str:
    """Of the parts one after another, of which there may be millions."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(os.fsencode(part))
    return hasher.hexdigest()[:16]


def evenly_spread(count: int) -> list[int]:
    """The few of so many whose contents are looked at: names alone may be those of others.

    >>> evenly_spread(3), len(evenly_spread(1_000_000))
    ([0, 1, 2], 32)
    """
    return [int(index) for index in np.linspace(0, count - 1, min(SAMPLED, count), dtype=int)]


class Chosen(Pictures):
    """Some of the pictures, in the order given."""

    def __init__(self, pictures: Pictures, chosen: NDArray[np.int64]) -> None:
        self.pictures, self.chosen = pictures, chosen
        self.source, self.channels, self.classes = pictures.source, pictures.channels, pictures.classes
        self.unlabelled, self.drawn_by, self.remarks = pictures.unlabelled, pictures.drawn_by, pictures.remarks
        if pictures.labels is not None:
            self.labels = pictures.labels[self.chosen]

    def __len__(self) -> int:
        return len(self.chosen)

    def read(self, index: int) -> Tensor:
        return self.pictures.read(int(self.chosen[index]))

    def decode_for(self, reduce: Reduce) -> None:
        self.pictures.decode_for(reduce)

    def name(self, index: int) -> str:
        return self.pictures.name(int(self.chosen[index]))

    def below(self, index: int) -> str:
        return self.pictures.below(int(self.chosen[index]))

    def contents(self) -> list[str]:
        return self.pictures.contents()

    def identity(self, index: int) -> str:
        return self.pictures.identity(int(self.chosen[index]))

    def fingerprint(self) -> str:
        return self._with_numbers(self.pictures.fingerprint())

    def former_fingerprints(self) -> set[str]:
        return set(map(self._with_numbers, self.pictures.former_fingerprints()))

    def _with_numbers(self, fingerprint: str) -> str:
        numbers = ((", " if position else "") + str(number) for position, number in enumerate(self.chosen))
        return digest(chain([fingerprint, " ["], numbers, ["]"]))


class Limited(Chosen):
    """The first N pictures of a shuffle fixed by the seed, in their own order."""

    def __init__(self, pictures: Pictures, limit: int, seed: int) -> None:
        order = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(len(pictures))
        super().__init__(pictures, np.sort(order[:limit]))
