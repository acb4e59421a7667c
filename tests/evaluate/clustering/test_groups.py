"""Groups: Ward's merges against the slow form and scikit-learn's, how many, by density, and that they stay."""

from __future__ import annotations

import numpy as np
import pytest

from swav_cli.errors import UserError
from swav_cli.evaluate.clustering.centres import assigned, find_centres
from swav_cli.evaluate.clustering.groups import NOBODY, Grouping, dense_groups, means_of, merged
from swav_cli.evaluate.clustering.merging import cut, merges
from tests.evaluate.clustering.made_up import kinds, unit_rows


def slow_merges(means: np.ndarray, weights: np.ndarray) -> list[tuple[int, int, float]]:
    """Of all pairs that with the least cost, again and again."""
    groups = {number: [number] for number in range(len(means))}

    def at(members: list[int]) -> tuple[np.ndarray, float]:
        own = weights[members]
        return (own[:, None] * means[members]).sum(axis=0) / own.sum(), own.sum()

    done = []
    while len(groups) > 1:
        best = (np.inf, 0, 0)
        for a in groups:
            for b in groups:
                if a < b:
                    (m, w), (n, v) = at(groups[a]), at(groups[b])
                    best = min(best, (w * v / (w + v) * ((m - n) ** 2).sum(), a, b))
        cost, a, b = best
        groups[a] += groups.pop(b)
        done.append((a, b, cost))
    return done


def test_merges_are_those_of_all_pairs_looked_at() -> None:
    rng = np.random.default_rng(0)
    means, weights = rng.standard_normal((25, 3)), rng.integers(1, 40, 25).astype(float)
    found = merges(means, weights)
    assert found == pytest.approx(np.array(slow_merges(means, weights)))
    assert not np.allclose(found[:, 2], merges(means, np.ones(25))[:, 2])


def test_weights_are_as_good_as_points_that_come_again() -> None:
    """And the groups are scikit-learn's."""
    from sklearn.cluster import AgglomerativeClustering

    rng = np.random.default_rng(1)
    means, weights = rng.standard_normal((12, 2)), rng.integers(1, 9, 12)
    own = cut(merges(means, weights.astype(float)), 12, 4)
    theirs = AgglomerativeClustering(4).fit(np.repeat(means, weights, axis=0)).labels_
    firsts = theirs[np.concatenate([[0], np.cumsum(weights)[:-1]])]
    assert len(set(zip(own.tolist(), firsts.tolist(), strict=True))) == 4


def test_as_many_groups_as_asked_for_and_as_there_are_kinds() -> None:
    points = kinds(7, 60, spread=0.08)
    centres = find_centres(points)
    cluster = assigned(points, centres)[:, 0].astype(int)
    assert len(np.unique(merged(points, cluster, centres, 3))) == 3
    group = merged(points, cluster, centres, None)[cluster]
    assert len(np.unique(group)) == 7
    assert all(len(np.unique(group[first : first + 60])) == 1 for first in range(0, 420, 60))
    assert merged(points, cluster, centres, 10_000).max() == len(np.unique(cluster)) - 1


def test_the_largest_group_is_the_first_and_an_empty_cluster_goes_with_the_nearest() -> None:
    points = np.concatenate([kinds(1, 5, seed=1), kinds(1, 30, seed=2)])
    cluster = np.array([0] * 5 + [2] * 30)
    centres = np.stack([points[0], points[10] + 0.01, points[10]])
    assert merged(points, cluster, centres, 2).tolist() == [1, 0, 0]


def test_means_are_those_of_the_clusters_pictures() -> None:
    points, cluster = unit_rows(40, 3), np.random.default_rng(0).integers(0, 5, 40)
    means, weights = means_of(points, cluster, 6)
    for number in range(5):
        assert means[number] == pytest.approx(points[cluster == number].mean(axis=0), abs=1e-6)
    assert (weights[5], means[5].tolist()) == (0, [0, 0, 0])


def test_groups_where_pictures_lie_densely() -> None:
    points = np.concatenate([kinds(1, 40, spread=0.05), kinds(1, 60, spread=0.05, seed=3), unit_rows(10, 16, seed=9)])
    chosen, group = dense_groups(points, 20)
    assert chosen.tolist() == list(range(110))
    assert (set(group[:40]), set(group[40:100])) == ({1}, {0})  # the largest is the first
    assert (group[100:] == NOBODY).sum() >= 7


@pytest.mark.parametrize(
    ("groups", "method", "smallest", "word"),
    [("0", "clusters", None, "--groups 0"), ("five", "clusters", None, "--groups five"),
     ("5", "density", None, "leave out --groups"), ("auto", "dbscan", None, "--method dbscan"),
     ("auto", "clusters", 9, "--smallest"), ("auto", "density", 1, "--smallest 1")],
)  # fmt: skip
def test_what_goes_together(groups: str, method: str, smallest: int | None, word: str) -> None:
    with pytest.raises(UserError, match=word):
        Grouping.wanted(groups, method, smallest)
