"""All that was found about pictures: one value, from which tables, lists, sheets, maps and pages are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.pictures import Pictures
from swav_cli.evaluate.clustering.near import Neighbours

SHOWN = 12  # typical pictures of a group, and as many doubtful ones


@dataclass(frozen=True)
class Group:
    """Pictures that belong together."""

    number: int  # -1: those that are in none, where groups are found by density
    pictures: NDArray[np.int64]  # (n,) in their order
    typical: list[int]  # pictures nearest to the group's mean, the nearest first; copies that are not kept left out
    doubtful: list[int]  # those that are least nearer to it than to another group's, the most doubtful first
    commonest: str | None = None  # class, where folders are classes
    purity: float | None = None  # share of the group's pictures that are of it


@dataclass(frozen=True)
class Match:
    """A picture that is among others too."""

    picture: int  # among those that were looked at
    other: str  # path of the one that is like it
    similarity: float  # cosine; 1 of exact copies
    exact: bool


@dataclass(frozen=True)
class Found:
    """A row for each picture, in their order; a picture that can't be read has -1 and NaN everywhere, and an error.

    `points`, of unit length, is where pictures are compared: the cosine of two is their product.
    """

    pictures: Pictures
    model: str
    kind: str  # what clusters are: "prototypes" of the model, or "centres" among its features
    clusters: int  # in all, with those that no picture is in
    paths: list[str]
    errors: list[str]  # empty where a picture could be read
    size: NDArray[np.int32]  # (N, 2) height and width in pixels
    points: NDArray[np.float32]  # (N, D)
    cluster: NDArray[np.int64]  # (N,) the nearest
    probability: NDArray[np.float32]  # (N,) of it, by softmax of cosine / 0.1
    second: NDArray[np.int64]  # (N,) the second nearest
    margin: NDArray[np.float32]  # (N,) cosine with the nearest less that with the second
    group: NDArray[np.int64]  # (N,) -1: in none
    outlier: NDArray[np.float32]  # (N,) mean of 1 - cosine over the ten nearest others: the larger, the odder
    is_outlier: NDArray[np.bool_]  # (N,) far above the others
    copy_of: NDArray[np.int64]  # (N,) the picture that is kept in its place; -1: none
    similarity: NDArray[np.float32]  # (N,) cosine with that
    exact: NDArray[np.bool_]  # (N,) whether it has the same pixels as that
    neighbours: Neighbours  # (N, k) numbers of pictures
    groups: list[Group] = field(default_factory=list)  # the largest first
    judged: dict[str, Any] = field(default_factory=dict)  # against classes: by clusters, by groups
    against: list[Match] = field(default_factory=list)

    @cached_property
    def read(self) -> NDArray[np.bool_]:  # (N,)
        """Which pictures could be read."""
        return np.array([not error for error in self.errors], dtype=bool)

    @cached_property
    def keep(self) -> NDArray[np.bool_]:  # (N,)
        """Which pictures to keep: all but copies of others."""
        return self.copy_of < 0

    @cached_property
    def odd(self) -> NDArray[np.int64]:
        """Outliers, the oddest first."""
        numbers = np.flatnonzero(self.is_outlier)
        return numbers[np.argsort(-self.outlier[numbers], kind="stable")]

    @cached_property
    def copies(self) -> list[tuple[int, list[int]]]:
        """Sets of copies: the one that is kept and the others, the most alike first; the largest set first."""
        sets: dict[int, list[int]] = {}
        for number in np.flatnonzero(self.copy_of >= 0).tolist():
            sets.setdefault(int(self.copy_of[number]), []).append(number)
        for others in sets.values():
            others.sort(key=lambda number: (-self.similarity[number], number))
        return sorted(sets.items(), key=lambda each: (-len(each[1]), each[0]))

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """The class of each picture, where folders are classes."""
        return self.pictures.labels

    @property
    def classes(self) -> list[str] | None:
        return self.pictures.classes
