"""k nearest neighbours against a slow, obvious form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from swav_cli.evaluate import knn
from swav_cli.evaluate.features import FeatureRows
from swav_cli.evaluate.knn import KnnAccuracy, LabelledRows, knn_accuracies, knn_accuracy


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


def accuracies(
    bank: FeatureRows, bank_labels: Tensor, queries: FeatureRows, query_labels: Tensor, *given: Any,
    own: Tensor | None = None, **options: Any,
) -> list[KnnAccuracy]:  # fmt: skip
    """`knn_accuracies` of what `data` gives."""
    sides = LabelledRows(bank, bank_labels), LabelledRows(queries, query_labels, own)
    return knn_accuracies(*sides, *given, **options)


@pytest.mark.parametrize("k", [1, 3, 20, 90])
@pytest.mark.parametrize("temperature", [0.02, 0.07, 1.0])
def test_against_the_obvious_form(k: int, temperature: float) -> None:
    expected = slow_accuracy(*data(), k, temperature)
    assert 30 < expected < 95
    for chunk in (1, 7, 41, 1024):
        assert knn_accuracy(*data(), k, temperature, chunk) == pytest.approx(expected)


def test_k_is_at_most_the_bank() -> None:
    assert knn_accuracy(*data(), 5000, 0.07) == knn_accuracy(*data(), 90, 0.07)


KS, TEMPERATURES = (1, 5, 20, 200), (0.07, 1.0)


def test_several_at_once_are_those_one_by_one() -> None:
    several = accuracies(*data(), KS, TEMPERATURES)
    assert [(found.k, found.temperature) for found in several] == [(k, t) for k in KS for t in TEMPERATURES]
    for found in several:
        assert found.top1 == knn_accuracy(*data(), found.k, found.temperature)
        assert found.neighbours == min(found.k, 90)


@pytest.mark.parametrize(("bank_chunk", "query_chunk"), [(1, 1), (3, 40), (7, 1000), (89, 2), (90, 41), (1000, 7)])
def test_parts_of_bank_and_queries_do_not_matter(bank_chunk: int, query_chunk: int) -> None:
    expected = accuracies(*data(), KS, TEMPERATURES)
    assert accuracies(*data(), KS, TEMPERATURES, chunks=(bank_chunk, query_chunk)) == expected


def test_a_wide_bank_is_taken_in_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, largest = accuracies(*data()), []
    unit = knn._unit
    monkeypatch.setattr(knn, "NUMBERS_AT_ONCE", 100)
    monkeypatch.setattr(knn, "BANK_CHUNK", 50)
    monkeypatch.setattr(knn, "_unit", lambda *given: largest.append(unit(*given).numel()) or unit(*given))
    assert accuracies(*data()) == expected
    assert max(largest) == 12 * 8


@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_against_scikit_learn(k: int, temperature: float) -> None:
    from sklearn.neighbors import KNeighborsClassifier  # half a second that every process of the suite would take

    bank, bank_labels, queries, query_labels = data()
    other = KNeighborsClassifier(k, metric="cosine", weights=lambda far: np.exp((1 - far) / temperature))
    other.fit(bank.double().numpy(), bank_labels.numpy())
    shares = torch.from_numpy(other.predict_proba(queries.double().numpy()))
    assert (shares.sort(descending=True).values.diff().abs()[:, 0] > 1e-6).all()  # no vote is tied
    found = accuracies(bank, bank_labels, queries, query_labels, [k], [temperature])[0]
    assert found.top1 == pytest.approx(100 * float((shares.argmax(dim=1) == query_labels).double().mean()))
    given = shares.gather(1, query_labels[:, None])[:, 0]  # all classes are among five here, if they have a vote
    assert found.top5 == pytest.approx(100 * float((given > 0).double().mean()))
    assert found.top1 < found.top5 or k == 1


def test_top5_against_votes_counted_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(12, 6, generator=generator)
    bank_labels, query_labels = (torch.randint(12, (count,), generator=generator) for count in (200, 60))
    bank = centers[bank_labels] + 1.5 * torch.randn(200, 6, generator=generator)
    queries = centers[query_labels] + 1.5 * torch.randn(60, 6, generator=generator)
    first, five = 0, 0
    for query, label in zip(queries.double(), query_labels.tolist(), strict=True):
        cosines = torch.nn.functional.cosine_similarity(query[None], bank.double())
        votes: dict[int, float] = {}
        for row in cosines.argsort(descending=True)[:30].tolist():
            votes[int(bank_labels[row])] = votes.get(int(bank_labels[row]), 0) + math.exp(float(cosines[row]) / 0.1)
        order = sorted(votes, key=lambda each: -votes[each])
        first, five = first + (label == order[0]), five + (label in order[:5])
    found = accuracies(bank, bank_labels, queries, query_labels, [30], [0.1])[0]
    assert 20 < found.top1 < 60 < found.top5 < 95
    assert (found.top1, found.top5) == (pytest.approx(100 * first / 60), pytest.approx(100 * five / 60))


def test_own_row_is_never_a_neighbour() -> None:
    bank, labels, _, _ = data()
    for k in (1, 5, 89, 90):
        one_by_one = [
            knn_accuracy(bank[rest], labels[rest], bank[i : i + 1], labels[i : i + 1], k)
            for i in range(90)
            for rest in [torch.arange(90) != i]
        ]
        found = accuracies(bank, labels, bank, labels, [k], [0.07], own=torch.arange(90), chunks=(7, 0))[0]
        assert found.top1 == pytest.approx(sum(one_by_one) / 90)
        assert found.top1 < 90
        assert found.neighbours == min(k, 89)


def test_queries_without_an_own_row_leave_none_out() -> None:
    expected = accuracies(*data())
    assert accuracies(*data(), own=torch.full((41,), -1)) == expected


def test_equal_votes_go_to_the_first_class_and_classes_without_votes_to_nobody() -> None:
    bank, queries = torch.eye(8)[:6], torch.ones(6, 8)
    found = accuracies(bank, torch.arange(6), queries, torch.arange(6), [6], [0.07])[0]
    assert (found.top1, found.top5) == (pytest.approx(100 / 6), pytest.approx(500 / 6))
    found = accuracies(bank[:2], torch.tensor([3, 3]), queries, torch.arange(6), [2], [1e-6])[0]
    assert found.top1 == found.top5 == pytest.approx(100 / 6)


def test_a_light_vote_counts_for_top5_however_low_the_temperature() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = accuracies(bank, torch.tensor([0, 1]), bank[:1], torch.tensor([1]), [2], [1e-6])[0]
    assert (found.top1, found.top5) == (0, 100)


def test_tiny_banks() -> None:
    bank = torch.ones(1, 3)
    found = accuracies(bank, torch.tensor([0]), torch.randn(4, 3), torch.tensor([0, 0, 0, 1]))[0]
    assert (found.neighbours, found.top1) == (1, 75)
    for queries, own in ((bank, torch.tensor([0])), (bank[:0], None)):
        with pytest.raises(ValueError, match="nothing to compare"):
            accuracies(bank, torch.tensor([0]), queries, torch.zeros(len(queries), dtype=torch.long), own=own)


def test_banks_on_disk_in_half_precision_and_in_columns(tmp_path: Path) -> None:
    bank, bank_labels, queries, query_labels = data()
    halves = bank.half()
    expected = accuracies(halves, bank_labels, queries, query_labels)
    np.save(tmp_path / "bank.npy", halves.numpy())
    for mode in ("r", "c"):
        mapped = np.load(tmp_path / "bank.npy", mmap_mode=mode)
        assert accuracies(mapped, bank_labels, queries.numpy(), query_labels, chunks=(7, 0)) == expected
    assert accuracies(np.asfortranarray(halves.numpy()), bank_labels, queries, query_labels) == expected
    assert np.array_equal(np.load(tmp_path / "bank.npy"), halves.numpy())


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
