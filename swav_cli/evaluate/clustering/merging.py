"""Clusters merged into groups, as few as a person can look at: agglomerative, each cluster weighing as it is used.

Ward's criterion (1963): those two are merged whose union adds the least to the sum of squares within groups,
w_a w_b / (w_a + w_b) |m_a - m_b|^2 for weights w and means m. scikit-learn's has no weights, which is why it stands
here; nearest-neighbour chains (Murtagh 1983) find the same merges in K^2 steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def merges(
    means: NDArray[np.float64],  # (K, D)
    weights: NDArray[np.float64],  # (K,) above zero
) -> NDArray[np.float64]:  # (K - 1, 3): the two that are merged, and the cost; in the order of costs
    """A cluster goes by its number, and what two are merged into by the smaller of theirs.

    >>> merges(np.array([[0.0], [1.0], [5.0]]), np.ones(3))
    array([[ 0. ,  1. ,  0.5],
           [ 0. ,  2. , 13.5]])
    """
    means, weights = means.astype(np.float64).copy(), weights.astype(np.float64).copy()
    alive = np.ones(len(means), dtype=bool)
    done: list[tuple[int, int, float]] = []
    chain: list[int] = []
    while len(done) < len(means) - 1:
        chain = chain or [int(np.flatnonzero(alive)[0])]
        last = chain[-1]
        costs = weights * weights[last] / (weights + weights[last]) * ((means - means[last]) ** 2).sum(axis=1)
        costs[~alive] = costs[last] = np.inf
        near = int(costs.argmin())
        if len(chain) > 1 and costs[chain[-2]] <= costs[near]:
            near = chain[-2]  # of equally near ones, so that the chain ends
        if len(chain) < 2 or near != chain[-2]:
            chain.append(near)
            continue
        one, other = sorted(chain[-2:])
        del chain[-2:]
        done.append((one, other, float(costs[near])))
        total = weights[one] + weights[other]
        means[one] = (weights[one] * means[one] + weights[other] * means[other]) / total
        weights[one], alive[other] = total, False
    order = np.argsort([cost for _, _, cost in done], kind="stable")  # a chain finds them in another
    return np.array(done, dtype=np.float64).reshape(-1, 3)[order]


def cut(tree: NDArray[np.float64], count: int, groups: int) -> NDArray[np.int64]:  # (K,)
    """The number of the group that each of `count` clusters is in, where so many groups are left."""
    into = np.arange(count)

    def root(cluster: int) -> int:
        while into[cluster] != cluster:
            into[cluster] = into[into[cluster]]
            cluster = into[cluster]
        return cluster

    for one, other, _ in tree[: max(0, count - groups)]:
        first, second = sorted((root(int(one)), root(int(other))))
        into[second] = first
    roots = np.array([root(cluster) for cluster in range(count)])
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)
