"""Linear SVMs: the cost that cross-validation finds best, and scores against a count one by one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from swav_cli.errors import UserError
from swav_cli.evaluate import svm
from swav_cli.evaluate.svm import COSTS, svm_accuracy, svm_mean_average_precision

CENTERS = torch.randn(4, 6, generator=torch.Generator().manual_seed(9))


def labelled(count: int, seed: int, noise: float = 1.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    return CENTERS[labels] + noise * torch.randn(count, 6, generator=generator), labels


def tagged(count: int, seed: int, noise: float = 1.5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(count, 4, generator=generator) < 0.35).long()
    return targets.float() @ CENTERS + noise * torch.randn(count, 6, generator=generator), targets


def unit(rows: Tensor) -> np.ndarray:
    return (rows.double() / rows.double().norm(dim=1, keepdim=True)).numpy()


def slow_average_precision(truth: list[int], scores: list[float]) -> float:
    """The mean, over the positive pictures, of the precision among all that score as high or higher."""
    precisions = []
    for own, score in zip(truth, scores, strict=True):
        if own:
            above = [other for other, theirs in zip(truth, scores, strict=True) if theirs >= score]
            precisions.append(sum(above) / len(above))
    return sum(precisions) / len(precisions)


def searched(x: np.ndarray, y: np.ndarray, scoring: str, weights: dict[int, int] | None) -> Any:
    """The same by scikit-learn's own search, whose import takes a while."""
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.svm import LinearSVC

    machine = LinearSVC(class_weight=weights, max_iter=2000, dual="auto", random_state=0)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    return GridSearchCV(machine, {"C": COSTS}, scoring=scoring, cv=folds).fit(x, y)


def test_accuracy_is_that_of_a_search_over_the_costs() -> None:
    (train, labels), (test, truth) = labelled(150, 0), labelled(90, 1)
    other = searched(unit(train), labels.numpy(), "accuracy", None)
    right = torch.from_numpy(other.predict(unit(test))) == truth
    found = svm_accuracy(train, labels, test, truth)
    assert found.costs == [other.best_params_["C"]]
    assert found.score == pytest.approx(100 * float(right.double().mean()))
    assert found.per_class == pytest.approx([100 * float(right[truth == c].double().mean()) for c in range(4)])
    assert 50 < found.score < 95
    assert (found.metric, found.converged) == ("accuracy", True)


def test_average_precision_is_that_of_a_search_for_each_class() -> None:
    (train, targets), (test, truth) = tagged(200, 0), tagged(100, 1)
    found = svm_mean_average_precision(train, targets, test, truth)
    for number in range(4):
        other = searched(unit(train), targets[:, number].numpy(), "average_precision", {0: 1, 1: 2})
        scores = other.decision_function(unit(test)).tolist()
        expected = 100 * slow_average_precision(truth[:, number].tolist(), scores)
        assert found.costs[number] == other.best_params_["C"]
        assert found.per_class[number] == pytest.approx(expected)
    assert found.score == pytest.approx(np.mean(found.per_class))
    assert 40 < found.score < 95
    assert found.metric == "mean average precision"
    assert len(set(found.costs)) > 1  # each class has its own


def test_the_same_again_and_whatever_the_rows_are_kept_in() -> None:
    (train, labels), (test, truth) = labelled(80, 0), labelled(40, 1)
    found = svm_accuracy(train, labels, test, truth)
    assert svm_accuracy(train, labels, test, truth) == found
    assert svm_accuracy(train.numpy(), labels.numpy(), test.numpy(), truth.numpy()) == found
    assert svm_accuracy(train * torch.rand(80, 1).add(0.1), labels, test * 50, truth).score == found.score
    assert svm_accuracy(train.bfloat16(), labels, test.bfloat16(), truth).score == pytest.approx(found.score, abs=6)


def test_what_is_far_apart_is_told_apart() -> None:
    assert svm_accuracy(*labelled(60, 0, noise=0.01), *labelled(60, 1, noise=0.01)).score == 100
    empty = torch.zeros(3, 6)  # rows without a direction do no harm
    train, labels = labelled(60, 0, noise=0.01)
    assert svm_accuracy(torch.cat([train, empty]), torch.cat([labels, labels[:3]]), train, labels).score == 100


def test_classes_that_cannot_be_judged_have_no_score() -> None:
    train, labels = labelled(80, 0)
    found = svm_accuracy(train, labels, train[labels < 2], labels[labels < 2])
    assert [score is None for score in found.per_class] == [False, False, True, True]
    assert svm_accuracy(train, labels, train[:1], torch.tensor([6])).per_class == [None] * 6 + [0]


def test_labels_that_cannot_be_trained_or_judged_have_no_part_in_the_mean() -> None:
    (train, targets), (test, truth) = tagged(80, 0), tagged(60, 1)
    targets[:, 0], targets[:, 1], truth[:, 2] = 0, 1, 0
    told: list[tuple[int, int]] = []
    found = svm_mean_average_precision(
        train, targets, test, truth, progress=lambda done, count: told.append((done, count))
    )
    assert found.per_class[:3] == found.costs[:3] == [None] * 3
    assert found.score == found.per_class[3]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(UserError, match="no class has pictures with and without it"):
        svm_mean_average_precision(train, targets[:, :3], test, truth[:, :3])


def test_rare_classes() -> None:
    (train, targets), (test, truth) = tagged(80, 0), tagged(60, 1)
    targets[:, 0] = 0
    targets[7, 0] = 1  # no folds can be made: the middle cost
    targets[:, 1] = 0
    targets[:2, 1] = 1  # two folds
    found = svm_mean_average_precision(train, targets, test, truth, costs=[100, 0.5, 7])
    assert found.costs[0] == 7
    assert found.costs[1] in (0.5, 7, 100)
    x, labels = labelled(60, 0)
    labels[labels == 3] = 2
    labels[0] = 3
    assert svm_accuracy(x, labels, x, labels).score > 40


def test_too_few_to_choose_a_cost() -> None:
    one_each = CENTERS, torch.arange(4)
    assert svm_accuracy(*one_each, *labelled(40, 1), costs=[1, 30, 20]).costs == [20]  # the middle one
    assert svm_accuracy(*one_each, *labelled(40, 1), costs=[10]).costs == [10]
    with pytest.raises(UserError, match="two classes or more"):
        svm_accuracy(CENTERS, torch.zeros(4, dtype=torch.long), *labelled(40, 1))


@pytest.mark.parametrize("counts", [(1, 5), (1, 1, 2), (2, 2), (1, 2, 30), (5, 1, 1, 1, 1, 1)])
def test_a_class_with_fewer_pictures_than_parts_is_trained_and_nothing_is_said(counts: tuple[int, ...]) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    noise = torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(0))
    rows = torch.eye(len(counts), 8)[labels] + 0.05 * noise
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = svm_accuracy(rows, labels, rows, labels, costs=[10.0, 100.0])
    assert found.score == 100
    assert found.costs[0] in (10, 100)


def test_parts_are_scikit_learns_where_no_class_is_alone() -> None:
    from sklearn.model_selection import StratifiedKFold

    x, labels = (each.numpy() for each in labelled(40, 0))
    expected = StratifiedKFold(3, shuffle=True, random_state=5).split(x, labels)
    for (rest, judged), (its_rest, its_judged) in zip(svm._parts(x, labels, 3, 5), expected, strict=True):
        assert rest.tolist() == its_rest.tolist()
        assert judged.tolist() == its_judged.tolist()


def test_features_that_are_not_finite_never_reach_scikit_learn() -> None:
    x, labels = labelled(40, 0)
    x[3, 2] = float("nan")
    targets = torch.nn.functional.one_hot(labels)
    with pytest.raises(UserError, match="features that are finite"):
        svm_accuracy(x, labels, x, labels)
    with pytest.raises(UserError, match="features that are finite"):
        svm_mean_average_precision(x, targets, x, targets)


def test_a_solution_that_was_not_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svm, "STEPS", 1)
    assert not svm_accuracy(*labelled(80, 0), *labelled(40, 1), costs=[1]).converged
    assert not svm_mean_average_precision(*tagged(80, 0), *tagged(40, 1), costs=[1]).converged
