"""Groups of clusters, or by density: what a person looks at in place of thousands of clusters.

The groups of a folder stay: what is kept is the group of each cluster, and new pictures join by their cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from swav_cli.errors import UserError
from swav_cli.evaluate.clustering.merging import cut, merges

Method = Literal["clusters", "density"]
AUTO = range(5, 31)  # numbers of groups that are tried; the silhouette of two or three is nearly always the largest
SAMPLE = 2000  # pictures that the number of groups is judged by
DENSE = 10_000  # pictures of which density is measured
NOBODY = -1  # the group of pictures that are in none


@dataclass(frozen=True)
class Grouping:
    """How pictures are grouped.

    Args:
        count: groups that clusters are merged into; None: as many as suit best, see `best_cut`.
        method: clusters are merged, or pictures are grouped where they lie densely.
        smallest: pictures of a group by density; None: half a hundredth of all, at least 5.
    """

    count: int | None = None
    method: Method = "clusters"
    smallest: int | None = None

    @classmethod
    def wanted(cls, groups: str | int = "auto", method: str = "clusters", smallest: int | None = None) -> Grouping:
        """What options of these names mean.

        Raises:
            UserError: no such method, no number, or two that don't go together.
        """
        if method not in ("clusters", "density"):
            raise UserError(f"--method {method}: use clusters or density")
        count = None if groups == "auto" else int(groups) if str(groups).isdecimal() else 0
        if count is not None and count < 1:
            raise UserError(f"--groups {groups}: a number from 1 on, or auto")
        if method == "density" and count is not None:
            raise UserError("--method density finds out itself how many groups there are; leave out --groups")
        if method == "clusters" and smallest is not None:
            raise UserError("--smallest is of --method density; leave one out")
        if smallest is not None and smallest < 2:
            raise UserError(f"--smallest {smallest}: at least 2 pictures")
        return cls(count, "density" if method == "density" else "clusters", smallest)


def merged(
    points: NDArray[np.float32],  # (N, D)
    cluster: NDArray[np.int64],  # (N,)
    centres: NDArray[np.float32],  # (K, E) of unit length, in whatever space clusters have theirs
    count: int | None,
) -> NDArray[np.int64]:  # (K,)
    """The group of each cluster, the largest group first.

    A cluster lies where its pictures do on average, and weighs as many. One without pictures goes with the nearest
    that has some.
    """
    clusters = len(centres)
    means, weights = means_of(points, cluster, clusters)
    used = np.flatnonzero(weights)
    tree = merges(means[used], weights[used])
    wanted = min(count, len(used)) if count else best_cut(tree, points, np.searchsorted(used, cluster), len(used))
    group = cut(tree, len(used), wanted)
    sizes = np.bincount(group, weights[used])
    place = np.empty(len(sizes), dtype=np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return place[group][(centres @ centres[used].T).argmax(axis=1)] if len(used) < clusters else place[group]


def means_of(
    points: NDArray[np.float32], cluster: NDArray[np.int64], clusters: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (K, D) and (K,)
    """Where the pictures of each cluster lie on average, and how many they are."""
    weights = np.bincount(cluster, minlength=clusters).astype(np.float64)
    order = np.argsort(cluster, kind="stable")
    starts = np.searchsorted(cluster[order], np.arange(clusters))
    sums = np.zeros((clusters, points.shape[1]))
    for number in np.flatnonzero(weights):
        own = order[starts[number] : starts[number] + int(weights[number])]
        sums[number] = points[own].sum(axis=0, dtype=np.float64)
    return sums / np.maximum(weights, 1)[:, None], weights


def best_cut(tree: NDArray[np.float64], points: NDArray[np.float32], cluster: NDArray[np.int64], clusters: int) -> int:
    """The number of groups, of `AUTO`, with the largest mean silhouette (Rousseeuw 1987) over a sample of pictures.

    By cosine distance between pictures; of equal ones the smallest.
    """
    from sklearn.metrics import silhouette_score

    sample = np.linspace(0, len(points) - 1, min(SAMPLE, len(points)), dtype=int)
    apart = np.maximum(0, 1 - points[sample] @ points[sample].T).astype(np.float32)
    np.fill_diagonal(apart, 0)
    best, wanted = -np.inf, min(AUTO[0], clusters)
    for count in AUTO:
        group = cut(tree, clusters, count)[cluster[sample]]
        if count > clusters or not 1 < len(np.unique(group)) < len(sample):
            continue
        score = float(silhouette_score(apart, group, metric="precomputed"))
        if score > best + 1e-6:
            best, wanted = score, count
    return wanted


def dense_groups(points: NDArray[np.float32], smallest: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where pictures lie densely, by HDBSCAN: of which pictures density was measured, and the group of each of them.

    The largest group comes first; `NOBODY` are those that lie in none. Of more than `DENSE` pictures so many are taken,
    evenly spread, and the others go with the nearest of them.
    """
    from sklearn.cluster import HDBSCAN

    chosen = np.linspace(0, len(points) - 1, min(DENSE, len(points)), dtype=int)
    share = len(chosen) / max(1, len(points))
    least = min(len(chosen), max(2, round(share * smallest) if smallest else max(5, len(chosen) // 200)))
    if least < 2:
        return chosen, np.full(len(chosen), NOBODY)
    labels = HDBSCAN(min_cluster_size=least, copy=True).fit(points[chosen]).labels_.astype(np.int64)
    sizes = np.bincount(labels[labels >= 0])
    place = np.empty(len(sizes), dtype=np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return chosen, np.where(labels >= 0, place[labels] if len(sizes) else NOBODY, NOBODY)
