"""Clusters against classes: against counts of pairs and pictures, one by one."""

from __future__ import annotations

import math
import warnings
from collections import Counter

import pytest
import torch
from torch import Tensor

from swav_cli.evaluate.clustering.agreement import agreement, usage


def slow_nmi(found: list[int], given: list[int]) -> float:
    def entropy(names: list) -> float:
        return -sum(count / len(names) * math.log(count / len(names)) for count in Counter(names).values())

    mutual = entropy(found) + entropy(given) - entropy(list(zip(found, given, strict=True)))
    return mutual / ((entropy(found) + entropy(given)) / 2)


def slow_adjusted_rand(found: list[int], given: list[int]) -> float:
    """Pairs that are together on both sides, less what chance makes together."""
    pairs = [(i, j) for i in range(len(found)) for j in range(i)]
    both = sum(found[i] == found[j] and given[i] == given[j] for i, j in pairs)
    a, b = (sum(side[i] == side[j] for i, j in pairs) for side in (found, given))
    chance = a * b / len(pairs)
    return (both - chance) / ((a + b) / 2 - chance)


def slow_purity(found: list[int], given: list[int]) -> float:
    inside = {cluster: [c for f, c in zip(found, given, strict=True) if f == cluster] for cluster in found}
    return sum(max(Counter(classes).values()) for classes in inside.values()) / len(found)


def sides() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (60,), generator=generator)
    noise = torch.rand(60, generator=generator) < 0.4
    return torch.where(noise, torch.randint(7, (60,), generator=generator), labels + 3), labels


def test_against_counts_one_by_one() -> None:
    found, given = sides()
    result = agreement(found, given)
    assert result.nmi == pytest.approx(slow_nmi(found.tolist(), given.tolist()))
    assert result.adjusted_rand == pytest.approx(slow_adjusted_rand(found.tolist(), given.tolist()))
    assert result.purity == pytest.approx(slow_purity(found.tolist(), given.tolist()))
    assert all(0.2 < value < 0.9 for value in result)


@pytest.mark.parametrize("seed", range(20))
def test_the_numbers_are_those_of_scikit_learn(seed: int) -> None:
    """Few pictures and many, one cluster or class, more clusters than pictures."""
    metrics = pytest.importorskip("sklearn.metrics")
    draw = torch.Generator().manual_seed(seed)
    count, clusters, classes = (int(torch.randint(1, most, (), generator=draw)) for most in (200, 30, 12))
    found = torch.randint(clusters, (count,), generator=draw)
    labels = torch.randint(classes, (count,), generator=draw)
    result = agreement(found, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert result.nmi == pytest.approx(metrics.normalized_mutual_info_score(labels, found), abs=1e-12)
        assert result.adjusted_rand == pytest.approx(metrics.adjusted_rand_score(labels, found), abs=1e-12)
    cells = metrics.cluster.contingency_matrix(labels, found)
    assert result.purity == pytest.approx(cells.max(axis=0).sum() / count)


def test_numbers_of_clusters_and_the_order_of_pictures_do_not_matter() -> None:
    found, given = sides()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    assert agreement(found * 17 + 2, given) == pytest.approx(agreement(found, given))
    assert agreement(found[order], given[order]) == pytest.approx(agreement(found, given))


def test_the_same_and_nothing_in_common() -> None:
    labels = torch.arange(60) % 3
    assert agreement(2 - labels, labels) == pytest.approx((1, 1, 1))
    alike = agreement(torch.zeros(60, dtype=torch.long), labels)
    assert alike == pytest.approx((0, 0, 1 / 3))


def test_a_cluster_a_picture_is_pure_and_says_nothing_more() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = agreement(torch.arange(30), torch.arange(30) % 3)
    assert found.purity == 1
    assert found.adjusted_rand == pytest.approx(0)


def test_usage_counts_clusters_and_how_evenly_they_are_used() -> None:
    assert usage(torch.tensor([2, 2, 0, 0]), 6) == (6, 2, pytest.approx(2))
    assert usage(torch.arange(12) % 6, 6) == (6, 6, pytest.approx(6))
    assert usage(torch.tensor([3, 3, 3]), 6) == (6, 1, pytest.approx(1))
    uneven = usage(torch.tensor([0, 0, 0, 1]), 2)
    assert uneven.perplexity == pytest.approx(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))
