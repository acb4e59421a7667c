"""Groups against classes: against all matchings there are, and pairs of pictures one by one."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from swav_cli.evaluate.clustering.classes import best_matching, counts_of, judged, weakest

GROUP = np.array([5, 5, 5, 7, 7, 9, 9, 9, 9])
LABELS = np.array([0, 0, 1, 1, 1, 2, 2, 0, 2])


def test_the_best_of_all_matchings() -> None:
    cells = counts_of(GROUP, LABELS, 3)
    slow = max(sum(cells[group, label] for group, label in enumerate(each)) for each in permutations(range(3)))
    assert best_matching(cells) == slow / 9


def test_which_two_classes_come_together() -> None:
    found = weakest(counts_of(GROUP, LABELS, 3), ["a", "b", "c"])
    for pair in found:
        one, other = ("abc".index(name) for name in pair[:2])
        in_one, in_other = ([g for g, label in zip(GROUP, LABELS, strict=True) if label == n] for n in (one, other))
        pairs = list(product(in_one, in_other))
        assert pair.together == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert [pair[:2] for pair in found] == [("a", "c"), ("a", "b")]


def test_all_of_it() -> None:
    found = judged(LABELS * 3 + 1, LABELS, ["a", "b", "c"])
    assert (found["accuracy"], found["nmi"], found["purity"], found["weakest"]) == (1.0, pytest.approx(1.0), 1.0, [])
