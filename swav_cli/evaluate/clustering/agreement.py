"""Clusters that a model finds: how evenly they are used, and what they have to do with classes.

A picture's cluster is its nearest prototype.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Usage(NamedTuple):
    clusters: int  # in all
    used: int  # clusters with a picture
    perplexity: float  # exp of the entropy of the clusters' shares: how many are used evenly


class Agreement(NamedTuple):
    """Of clusters with classes. Purity rises with the number of clusters; the other two make up for it."""

    nmi: float  # 0 to 1: mutual information over the arithmetic mean of both entropies
    adjusted_rand: float  # 1 where both are the same, 0 on average by chance
    purity: float  # share of the pictures that are of their cluster's commonest class


def usage(nearest: Tensor, clusters: int) -> Usage:  # (N,)
    """How many clusters have pictures, and how evenly.

    >>> usage(torch.tensor([0, 0, 2, 2]), clusters=5)
    Usage(clusters=5, used=2, perplexity=2.0...)
    """
    counts = nearest.bincount(minlength=clusters)
    shares = counts.double() / counts.sum().clamp(min=1)
    return Usage(clusters, int((counts > 0).sum()), float(torch.special.entr(shares).sum().exp()))


def agreement(nearest: Tensor, labels: Tensor) -> Agreement:  # (N,) and (N,)
    """What clusters have to do with classes, whatever both are numbered; the numbers of scikit-learn, in float64.

    >>> found = agreement(torch.tensor([5, 5, 7, 7]), torch.tensor([0, 0, 1, 1]))
    >>> round(found.nmi, 3), found.adjusted_rand, found.purity
    (1.0, 1.0, 1.0)

    Its import takes half as long as torch's, and `swav eval` would always wait for it. Where neither clusters nor
    classes divide the pictures, they agree wholly, as they do there.
    """
    codes, labels = nearest.cpu().unique(return_inverse=True)[1], labels.cpu().unique(return_inverse=True)[1]
    cells, counts = torch.stack([codes, labels]).unique(dim=1, return_counts=True)
    in_cluster, in_class = codes.bincount().double(), labels.bincount().double()
    counts, n = counts.double(), len(labels)

    joint, independent = counts / n, in_cluster[cells[0]] * in_class[cells[1]] / n**2
    mutual = (joint * (joint / independent).log()).sum().clamp(min=0)
    entropies = torch.special.entr(in_cluster / n).sum() + torch.special.entr(in_class / n).sum()

    pairs = _pairs(counts)
    chance = _pairs(in_cluster) * _pairs(in_class) / max(n * (n - 1) / 2, 1)  # Hubert and Arabie 1985, eq. 5
    most = (_pairs(in_cluster) + _pairs(in_class)) / 2
    commonest = torch.zeros_like(in_cluster).scatter_reduce_(0, cells[0], counts, "amax")
    return Agreement(
        nmi=float(2 * mutual / entropies) if entropies else 1.0,
        adjusted_rand=float((pairs - chance) / (most - chance)) if most > chance else 1.0,
        purity=float(commonest.sum() / n),
    )


def _pairs(counts: Tensor) -> Tensor:
    """Pairs of pictures that are together, in all."""
    return (counts * (counts - 1) / 2).sum()
