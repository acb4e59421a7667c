"""k nearest neighbours against a slow, obvious form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from swav_cli.errors import UserError
from swav_cli.evaluate import knn
from swav_cli.evaluate.knn import knn_accuracy, shared_labels


def slow_accuracy(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor, k: int, temperature: float
) -> float:
    right = 0
    for query, label in zip(queries.double(), query_labels.tolist(), strict=True):
        near = []
        for row, of_row in zip(bank.double(), bank_labels.tolist(), strict=True):
            cosine = float(query @ row) / (float(query.norm()) * float(row.norm()))
            near.append((cosine, of_row))
        votes: dict[int, float] = {}
        for cosine, of_row in sorted(near, reverse=True)[:k]:
            votes[of_row] = votes.get(of_row, 0.0) + math.exp(cosine / temperature)
        right += max(votes, key=lambda each: votes[each]) == label
    return 100 * right / len(queries)


def data(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(5, 8, generator=generator)
    bank_labels = torch.randint(5, (90,), generator=generator)
    query_labels = torch.randint(5, (41,), generator=generator)
    bank = (centers[bank_labels] + 1.2 * torch.randn(90, 8, generator=generator)) * 3
    queries = centers[query_labels] + 1.2 * torch.randn(41, 8, generator=generator)
    return bank, bank_labels, queries, query_labels


@pytest.mark.parametrize("k", [1, 3, 20, 90])
@pytest.mark.parametrize("temperature", [0.02, 0.07, 1.0])
def test_against_the_obvious_form(k: int, temperature: float) -> None:
    expected = slow_accuracy(*data(), k, temperature)
    assert 30 < expected < 95
    for chunk in (1, 7, 41, 1024):
        assert knn_accuracy(*data(), k, temperature, chunk) == pytest.approx(expected)


def test_k_is_at_most_the_bank() -> None:
    assert knn_accuracy(*data(), 5000, 0.07) == knn_accuracy(*data(), 90, 0.07)


def test_a_large_bank_is_compared_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = knn_accuracy(*data())
    for at_once in (10, 200):
        monkeypatch.setattr(knn, "COSINES_AT_ONCE", at_once)
        assert knn_accuracy(*data()) == expected


def test_a_very_low_temperature_is_the_nearest_neighbour() -> None:
    assert knn_accuracy(*data(), 20, 1e-6) == knn_accuracy(*data(), 1)


def test_lengths_do_not_matter_and_halves_will_do() -> None:
    bank, bank_labels, queries, query_labels = data()
    scaled = knn_accuracy(bank * torch.rand(90, 1).add(0.1), bank_labels, queries * 100, query_labels)
    assert scaled == knn_accuracy(*data())
    assert knn_accuracy(bank.bfloat16(), bank_labels, queries.bfloat16(), query_labels) > 30


def test_itself_as_neighbour_is_always_right() -> None:
    bank, labels, _, _ = data()
    assert knn_accuracy(bank, labels, bank, labels, k=1) == 100


def test_a_class_that_the_bank_lacks_is_never_right() -> None:
    bank, labels, queries, _ = data()
    assert knn_accuracy(bank, labels, queries, torch.full((41,), 9)) == 0


def test_labels_are_matched_by_name() -> None:
    bank, queries = shared_labels(
        np.array([0, 1, 2]), ["ant", "bee", "cat"], np.array([0, 1, 1]), ["cat", "ant"], "train", "val"
    )
    assert bank.tolist() == [0, 1, 2]
    assert queries.tolist() == [2, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((np.array([0]), ["a"], None, None), "val: has no labels"),
        ((None, None, np.array([0]), ["a"]), "train: has no labels"),
        ((np.array([0]), ["a"], np.array([0, 1]), ["a", "b"]), "val: class 'b' is not among the classes of train"),
    ],
)
def test_sides_that_do_not_go_together(arguments: tuple, said: str) -> None:
    with pytest.raises(UserError, match=said):
        shared_labels(*arguments, "train", "val")
