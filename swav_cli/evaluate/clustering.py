"""Clusters that a model finds: how evenly they are used, and what they have to do with classes.

A picture's cluster is its nearest prototype.
"""

from __future__ import annotations

import warnings
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
    counts = nearest.bincount(minlength=clusters)
    shares = counts.double() / counts.sum().clamp(min=1)
    return Usage(clusters, int((counts > 0).sum()), float(torch.special.entr(shares).sum().exp()))


def agreement(nearest: Tensor, labels: Tensor) -> Agreement:  # (N,) and (N,)
    """Numbers of scikit-learn, whatever the clusters and classes are numbered."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    found, given = nearest.cpu().numpy(), labels.cpu().numpy()
    with warnings.catch_warnings():
        # Few pictures and many prototypes: it takes numbers of clusters for measurements.
        warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
        return Agreement(
            nmi=float(normalized_mutual_info_score(given, found)),
            adjusted_rand=float(adjusted_rand_score(given, found)),
            purity=float(contingency_matrix(given, found, sparse=True).max(axis=0).sum() / len(given)),
        )
