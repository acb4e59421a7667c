"""Copies: pictures of which one is enough. Which of them is kept, and how alike the others are to it.

Exact copies have the same pixels once decoded, whatever their files are called, tagged or packed by. Near copies are
alike to the model, by a cosine that is given, and to the eye: by the correlation of both shrunk to eight by eight
pixels. A model that has learnt kinds puts two birds as near to each other as a bird and its smaller copy. Measured: of
5,000 drawn pictures no two neighbours correlate by more than 0.93, and 99 of 100 copies by JPEG of quality 50, of half
or twice the size, or brighter by 15 % do by 0.97 or more. Of the pairs that this finds among CIFAR-10's test pictures
nearly all show the same thing, of those between 0.94 and 0.97 about half.

Of each set the largest picture is kept, since pixels that are gone can't be had back, and of equally large ones the
first by path. Every copy is alike to the very picture that is kept in its place: no chain of small changes joins what
has nothing in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swav_cli.evaluate.clustering.near import Neighbours, nearest

NEAR = 0.9  # cosine from which on pictures may be copies
ALIKE = 0.97  # correlation of the shrunk pictures, each channel less its mean
FLAT = 3.0  # of 255: pictures that differ by less on average are alike too, such as empty pages
PAIRS = 1 << 16  # compared at once
NONE = -1


class Looks(NamedTuple):
    """What pictures look like, a row for each."""

    points: NDArray[np.float32]  # (N, D) to the model
    digest: NDArray[np.uint8]  # (N, 16) of their pixels
    shrunk: NDArray[np.uint8]  # (N, 192) their pixels, shrunk to 8 by 8

    def alike(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:  # (P,), (P,) -> (P,)
        """Whether pictures are alike to the eye."""
        found = [np.zeros(0, dtype=bool)]
        for first in range(0, len(one), PAIRS):
            a, b = (self.shrunk[ids[first : first + PAIRS]].astype(np.float32) for ids in (one, other))
            found.append(np.abs(a - b).mean(axis=1) <= FLAT)
            a, b = (_less_means(each) for each in (a, b))
            lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            found[-1] |= (a * b).sum(axis=1) >= ALIKE * np.maximum(lengths, 1e-6)
        return np.concatenate(found)


def _less_means(shrunk: NDArray[np.float32]) -> NDArray[np.float32]:  # (P, 192)
    """Each channel less its mean: what a blue sky has in common with any other is no likeness."""
    channels = shrunk.reshape(len(shrunk), 3, -1)
    return np.asarray(channels - channels.mean(axis=2, keepdims=True)).reshape(len(shrunk), -1)


class Copies(NamedTuple):
    """A row for each picture."""

    copy_of: NDArray[np.int64]  # (N,) which picture is kept in its place; -1: this one is kept
    similarity: NDArray[np.float32]  # (N,) cosine with that; 1 of exact copies, NaN where it is kept
    exact: NDArray[np.bool_]  # (N,) whether it is an exact copy of the one that is kept


def preference(size: NDArray[np.int32], paths: Sequence[str]) -> NDArray[np.int64]:
    """Pictures in the order in which they would be kept: the largest first, then by path."""
    pixels = size[:, 0].astype(np.int64) * size[:, 1]
    by_path = np.empty(len(paths), dtype=np.int64)
    by_path[sorted(range(len(paths)), key=lambda index: paths[index])] = np.arange(len(paths))
    return np.lexsort((by_path, -pixels))


def find_copies(
    looks: Looks,
    order: NDArray[np.int64],  # (N,)
    neighbours: Neighbours,
    near: float = NEAR,
) -> Copies:
    """Sets of copies; which pictures are alike to the model is known of their neighbours alone.

    Args:
        order: see `preference`.
        near: cosine from which on pictures are copies; more than 1: exact ones alone.
    """
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    points, digest = looks.points, looks.digest
    copy_of = _exact(digest, rank)
    exact = copy_of != NONE
    members: dict[int, list[int]] = {}
    for copy in np.flatnonzero(exact).tolist():
        members.setdefault(int(copy_of[copy]), []).append(copy)
    asked = np.arange(len(points))
    while near <= 1 and len(asked):
        pairs = _pairs(asked, neighbours, near, copy_of, rank)
        pairs = pairs[looks.alike(pairs[:, 0], pairs[:, 1])]
        _merge(copy_of, members, pairs.tolist(), looks, near)
        # Whose last neighbour is alike too may have more than were looked for: what is left of all looks once more.
        full = np.zeros(len(points), dtype=bool)
        full[asked] = neighbours.cosines[:, -1] >= near
        left = np.flatnonzero(copy_of == NONE)
        if len(left) == len(asked) or not full[left].any():
            break
        asked = left
        neighbours = nearest(points[left], neighbours.ids.shape[1])
        neighbours = neighbours._replace(ids=np.where(neighbours.ids < 0, NONE, left[neighbours.ids]).astype(np.int32))
    similarity = np.full(len(points), np.nan, dtype=np.float32)
    copies = np.flatnonzero(copy_of != NONE)
    similarity[copies] = np.einsum("nd,nd->n", points[copies], points[copy_of[copies]]).clip(-1, 1)
    exact &= (digest == digest[np.maximum(copy_of, 0)]).all(axis=1)
    similarity[exact] = 1
    return Copies(copy_of, similarity, exact)


def _exact(digest: NDArray[np.uint8], rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each picture the first one, by rank, with the same pixels; -1 where that is itself."""
    copy_of = np.full(len(rank), NONE, dtype=np.int64)
    if not len(rank):
        return copy_of
    content = np.ascontiguousarray(digest).view(f"V{digest.shape[1]}")[:, 0]
    _, same = np.unique(content, return_inverse=True)
    order = np.lexsort((rank, same))
    firsts = np.flatnonzero(np.diff(same[order], prepend=-1))
    first = np.repeat(order[firsts], np.diff(firsts, append=len(order)))
    copy_of[order] = np.where(order == first, NONE, first)
    return copy_of


def _pairs(
    asked: NDArray[np.int64], neighbours: Neighbours, near: float, copy_of: NDArray[np.int64], rank: NDArray[np.int64]
) -> NDArray[np.int64]:  # (P, 2)
    """Pairs that are alike, the one to keep before the other; in the order in which the former would be kept."""
    row, column = np.nonzero((neighbours.cosines >= near) & (neighbours.ids >= 0))
    pairs = np.stack([asked[row], neighbours.ids[row, column]], axis=1)
    pairs = pairs[(copy_of[pairs] == NONE).all(axis=1)]
    swapped = rank[pairs[:, 0]] > rank[pairs[:, 1]]
    pairs[swapped] = pairs[swapped][:, ::-1]
    pairs = np.unique(pairs, axis=0)
    return pairs[np.lexsort((rank[pairs[:, 1]], rank[pairs[:, 0]]))]


def _merge(
    copy_of: NDArray[np.int64], members: dict[int, list[int]], pairs: list[list[int]], looks: Looks, near: float
) -> None:
    """Put a picture, with what it stands for, behind the one before it in a pair, where all of that is alike to it."""
    for kept, other in pairs:
        if copy_of[kept] != NONE or copy_of[other] != NONE:
            continue
        own = members.get(other, [])
        if own and float((looks.points[own] @ looks.points[kept]).min()) < near:
            continue
        if own and not looks.alike(np.full(len(own), kept), np.array(own)).all():
            continue
        copy_of[[other, *own]] = kept
        members.setdefault(kept, []).extend([other, *members.pop(other, [])])
