"""From what is known of pictures one by one to what they are to each other: clusters, groups, copies and odd ones."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from swav_cli.core.weights import Model
from swav_cli.data.pictures import Pictures
from swav_cli.errors import Told, silent
from swav_cli.evaluate.clustering.centres import assigned, find_centres
from swav_cli.evaluate.clustering.classes import counts_of, judged
from swav_cli.evaluate.clustering.copies import NEAR, Copies, Looks, find_copies, preference
from swav_cli.evaluate.clustering.found import SHOWN, Found, Group
from swav_cli.evaluate.clustering.groups import NOBODY, Grouping, dense_groups, merged
from swav_cli.evaluate.clustering.kept import Kept, Row
from swav_cli.evaluate.clustering.near import Neighbours, nearest
from swav_cli.evaluate.clustering.odd import are_odd, oddness

NEIGHBOURS = 20  # known of each picture
ROWS = 8192  # compared with all groups at once


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    Args:
        near: cosine from which on pictures may be copies.
    """

    grouping: Grouping = field(default_factory=Grouping)
    near: float = NEAR


def find(model: Model, pictures: Pictures, row: Row, kept: Kept, wanted: Wanted, progress: Told = silent) -> Found:
    """All that is to be found; clusters and groups that the folder knows stay as they are.

    Args:
        progress: told of pictures whose neighbours are known, and of pictures in all.
    """
    paths = [pictures.name(index) for index in range(len(pictures))]
    read = np.flatnonzero([not error for error in row.errors])
    points = row.points if len(read) == len(paths) else row.points[read]
    said, group, centres = _clusters(model, points, row.assigned[read], kept, wanted.grouping)
    near = nearest(points, NEIGHBOURS, progress=progress)
    order = preference(row.size[read], [paths[index] for index in read.tolist()])
    copies = find_copies(Looks(points, row.digest[read], row.shrunk[read]), order, near, wanted.near)
    _pass_over_names(copies, pictures, read)
    odd = oddness(near)
    everywhere = _Scattered(len(paths), read)
    cluster = said[:, 0].astype(np.int64)
    found = Found(
        pictures=pictures, model=model.name, kind="prototypes" if model.about.prototypes else "centres",
        clusters=len(centres), paths=paths, errors=row.errors, size=row.size, points=row.points,
        cluster=everywhere(cluster, NOBODY), probability=everywhere(said[:, 1], np.nan),
        second=everywhere(said[:, 2].astype(np.int64), NOBODY), margin=everywhere(said[:, 3], np.nan),
        group=everywhere(group, NOBODY), outlier=everywhere(odd, np.nan), is_outlier=everywhere(are_odd(odd), False),
        copy_of=everywhere(np.where(copies.copy_of < 0, NOBODY, read[copies.copy_of]), NOBODY),
        similarity=everywhere(copies.similarity, np.nan), exact=everywhere(copies.exact, False),
        neighbours=Neighbours(
            everywhere(np.where(near.ids < 0, NOBODY, read[near.ids]).astype(np.int32), NOBODY),
            everywhere(near.cosines, -np.inf),
        ),
    )  # fmt: skip
    found.groups.extend(_groups(found, read))
    found.judged.update(_judged(found, read, points, centres, wanted.grouping))
    return found


def _pass_over_names(copies: Copies, pictures: Pictures, read: NDArray[np.int64]) -> None:
    """Another name of the very file that is kept is no copy: who deletes what a link leads to has lost it."""
    for copy in np.flatnonzero(copies.exact).tolist():
        one, other = (pictures.identity(int(read[index])) for index in (copy, copies.copy_of[copy]))
        if os.path.realpath(one) == os.path.realpath(other):
            copies.copy_of[copy], copies.similarity[copy], copies.exact[copy] = NOBODY, np.nan, False


class _Scattered:
    """Columns of pictures that could be read, among all."""

    def __init__(self, count: int, read: NDArray[np.int64]) -> None:
        self.count, self.read = count, read

    def __call__(self, values: NDArray[Any], otherwise: float) -> NDArray[Any]:
        if len(self.read) == self.count:
            return values
        whole = np.full((self.count, *values.shape[1:]), otherwise, dtype=values.dtype)
        whole[self.read] = values
        return whole


def _clusters(
    model: Model, points: NDArray[np.float32], said: NDArray[np.float32], kept: Kept, grouping: Grouping
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:  # (N, 4), (N,), (K, E)
    """What is said of each picture, see `nearest_of`; its group; and where clusters have their centres."""
    known = kept.centres() or {}
    arrays: dict[str, NDArray[Any]] = {"centres": known["centres"] if known else _centres(model, points)}
    if not model.about.prototypes:
        said = assigned(points, arrays["centres"])
    cluster = said[:, 0].astype(np.int64)
    arrays["grouping"] = np.array(repr(grouping))
    if known and str(known["grouping"]) == repr(grouping):
        arrays = known
    elif not len(points):
        arrays["group"] = np.zeros(len(arrays["centres"]), dtype=np.int64)
    elif grouping.method == "density":
        chosen, arrays["dense_group"] = dense_groups(points, grouping.smallest)
        arrays["dense"] = points[chosen]
    else:
        arrays["group"] = merged(points, cluster, arrays["centres"], grouping.count)
    if arrays is not known and len(points):
        kept.keep_centres(arrays)
    if "dense" in arrays:
        return said, arrays["dense_group"][nearest(arrays["dense"], 1, points).ids[:, 0]], arrays["centres"]
    return said, arrays["group"][cluster], arrays["centres"]


def _centres(model: Model, points: NDArray[np.float32]) -> NDArray[np.float32]:
    if not model.about.prototypes:
        return find_centres(points)
    weights = model.network.state_dict()["prototypes.weight"].detach().float().cpu()
    return F.normalize(weights, dim=1).numpy()


def _groups(found: Found, read: NDArray[np.int64]) -> list[Group]:
    """The largest first; pictures of none come last."""
    numbers, counts = np.unique(found.group[read], return_counts=True)
    own = [numbers >= 0]
    order = np.lexsort((numbers, -counts, ~own[0]))
    near, apart = _nearness(found, read)
    groups = []
    for number in numbers[order].tolist():
        pictures = read[found.group[read] == number]
        kept = pictures[found.keep[pictures]] if found.keep[pictures].any() else pictures
        typical = kept[np.argsort(-near[kept], kind="stable")[:SHOWN]]
        doubtful = kept[np.argsort(apart[kept], kind="stable")[:SHOWN]]
        groups.append(Group(number, pictures, typical.tolist(), doubtful.tolist(), *_commonest(found, pictures)))
    return groups


def _nearness(found: Found, read: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # (N,), (N,)
    """Of each picture the cosine with its group's mean, and how much less that with the nearest other one's is."""
    numbers, place = np.unique(found.group[read], return_inverse=True)
    means = np.zeros((len(numbers), found.points.shape[1]), dtype=np.float64)
    for position in range(len(numbers)):
        means[position] = found.points[read[place == position]].sum(axis=0, dtype=np.float64)
    bank = F.normalize(torch.from_numpy(means).float(), dim=1).T
    near, apart = (np.full(len(found.paths), np.nan, dtype=np.float32) for _ in range(2))
    for first in range(0, len(read), ROWS):
        rows, own = read[first : first + ROWS], torch.from_numpy(place[first : first + ROWS])[:, None]
        cosines = torch.from_numpy(found.points[rows]) @ bank
        mine = cosines.gather(1, own)[:, 0]
        others = cosines.scatter(1, own, -1.0).amax(dim=1)
        near[rows], apart[rows] = mine.numpy(), (mine - others).numpy()
    return near, apart


def _commonest(found: Found, pictures: NDArray[np.int64]) -> tuple[str | None, float | None]:
    if found.labels is None or found.classes is None:
        return None, None
    counts = np.bincount(found.labels[pictures], minlength=len(found.classes))
    return found.classes[int(counts.argmax())], float(counts.max() / counts.sum())


def _judged(
    found: Found, read: NDArray[np.int64], points: NDArray[np.float32], centres: NDArray[np.float32], wanted: Grouping
) -> dict[str, Any]:
    """Against classes; also by as many groups as there are classes, for that is what an accuracy asks for."""
    labels, classes = found.labels, found.classes
    if labels is None or classes is None or len(np.unique(labels[read])) < 2:
        return {}
    labels = labels[read]
    results = {"clusters": judged(found.cluster[read], labels, classes)}
    results["clusters"].pop("weakest")
    results["groups"] = judged(found.group[read], labels, classes)
    count = int((counts_of(labels, labels, len(classes)).sum(axis=1) > 0).sum())
    if wanted.method == "clusters" and results["groups"]["groups"] != count:
        group = merged(points, found.cluster[read], centres, count)
        results["as_many_groups_as_classes"] = judged(group[found.cluster[read]], labels, classes)
    return results
