"""Linear SVMs on frozen features: what low-shot transfer is judged by, and VOC07 with several labels a picture.

As in arXiv 1905.01235 and the code published with it: rows of unit length, squared hinge loss, a cost chosen by
three-fold cross-validation. scikit-learn's liblinear does the work on float64 copies of all rows, so this is for
thousands of pictures, not for millions.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.errors import Told, UserError, silent

COSTS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
FOLDS = 3
STEPS = 2000  # of the solver; the published one stops there too

Values = Tensor | NDArray[Any]


class SvmScore(NamedTuple):
    metric: str  # accuracy, or mean average precision
    score: float  # per cent
    costs: list[float | None]  # one, or one for each class; None for a class that can't be trained
    per_class: list[float | None]  # accuracy or average precision, per cent; None for a class that can't be judged
    converged: bool  # every final solution is one; where not, the last step's is judged


def memory_needed(pictures: int, features: int) -> float:
    """Bytes: rows of unit length in float64, and what they are made from or the solver copies."""
    return 2.0 * 8 * pictures * features


def svm_accuracy(
    train: Values,  # (N, F)
    train_labels: Values,  # (N,)
    test: Values,  # (M, F)
    test_labels: Values,  # (M,)
    costs: Sequence[float] = COSTS,
    seed: int = 0,
) -> SvmScore:
    """One-vs-rest SVMs of one cost, that of the best accuracy in cross-validation; of equal ones the lowest.

    >>> rows, labels = np.eye(2).repeat(6, axis=0), np.array([0, 1]).repeat(6)
    >>> svm_accuracy(rows, labels, rows, labels, costs=[0.1, 1.0]).score
    100.0

    A class's only picture is trained on in every part of the cross-validation and judged in none. Where no class has
    two, there is nothing to choose a cost by, and the grid's middle one is taken.

    Raises:
        UserError: all training pictures are of one class, or features are not finite.
    """
    x, y = _unit(train), np.asarray(train_labels)
    counts = np.unique(y, return_counts=True)[1]
    if len(counts) < 2:
        raise UserError("an SVM needs pictures of two classes or more to train on; there is one class")
    cost = _best_cost(x, y, costs, "accuracy", min(FOLDS, int(counts.max())), None, seed)
    solution = _fit(x, y, cost, None, seed)
    truth = np.asarray(test_labels)
    right = solution.predict(_unit(test)) == truth
    classes = int(max(y.max(), truth.max())) + 1
    per_class = [_percent(right[truth == number]) for number in range(classes)]
    return SvmScore("accuracy", 100 * float(right.mean()), [cost], per_class, _is_solved(solution))


def svm_mean_average_precision(
    train: Values,  # (N, F)
    train_targets: Values,  # (N, C), 0 or 1
    test: Values,  # (M, F)
    test_targets: Values,  # (M, C)
    costs: Sequence[float] = COSTS,
    seed: int = 0,
    progress: Told = silent,
) -> SvmScore:
    """An SVM for each class against all other pictures, with the cost of the best average precision of its own.

    Positive pictures weigh twice as much, as published. Average precision is scikit-learn's `average_precision_score`,
    in cross-validation and on the test pictures: the area under the precisions as they are. The published one takes at
    each recall the highest precision at that recall or beyond, which is never lower and mostly a little higher.

    A class with fewer than two training pictures on either side gets the grid's middle cost. One that has none on
    either side, or none among the test pictures, has no average precision and no part in the mean.

    Args:
        progress: told of classes done and classes in all.

    Raises:
        UserError: no class can be judged.
    """
    from sklearn.metrics import average_precision_score

    x, unseen = _unit(train), _unit(test)
    targets, truth = np.asarray(train_targets).astype(np.int64), np.asarray(test_targets).astype(np.int64)
    chosen: list[float | None] = []
    precisions: list[float | None] = []
    converged = True
    for number in range(targets.shape[1]):
        y = targets[:, number]
        rarer = min(int(y.sum()), int((1 - y).sum()))
        if rarer and truth[:, number].any():
            cost = _best_cost(x, y, costs, "average_precision", min(FOLDS, rarer), {0: 1, 1: 2}, seed)
            solution = _fit(x, y, cost, {0: 1, 1: 2}, seed)
            converged &= _is_solved(solution)
            chosen.append(cost)
            precisions.append(100 * average_precision_score(truth[:, number], solution.decision_function(unseen)))
        else:
            chosen.append(None)
            precisions.append(None)
        progress(number + 1, targets.shape[1])
    judged = [precision for precision in precisions if precision is not None]
    if not judged:
        raise UserError("no class has pictures with and without it to train on and pictures to judge by")
    return SvmScore("mean average precision", float(np.mean(judged)), chosen, precisions, converged)


def _unit(rows: Values) -> NDArray[np.float64]:  # (N, F)
    """Rows of unit length; a row of zeros stays one."""
    wide = np.asarray(rows.float() if isinstance(rows, Tensor) else rows).astype(np.float64)
    if not np.isfinite(wide).all():
        raise UserError("an SVM needs features that are finite; leave out those of pictures that can't be read")
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(lengths > 0, lengths, 1)


def _best_cost(
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    costs: Sequence[float],
    scoring: str,
    folds: int,
    weights: dict[int, int] | None,
    seed: int,
) -> float:
    """The cost with the best mean over folds, of equal ones the lowest; the middle one where no folds can be made."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import cross_val_score

    ordered = sorted(costs)
    if len(ordered) == 1 or folds < 2:
        return ordered[len(ordered) // 2]
    parts = _parts(x, y, folds, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        means = [
            cross_val_score(_machine(cost, weights, seed), x, y, cv=parts, scoring=scoring).mean() for cost in ordered
        ]
    return ordered[int(np.argmax(means))]


def _parts(
    x: NDArray[np.float64], y: NDArray[np.int64], folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows to train on and to judge by, the classes spread evenly; those that are alone in their class in no judging.

    A part of which the rest is of one class can't be trained, and no classifier knows a class that it has not seen.
    """
    from sklearn.model_selection import StratifiedKFold

    _, number, counts = np.unique(y, return_inverse=True, return_counts=True)
    alone, several = np.flatnonzero(counts[number] == 1), np.flatnonzero(counts[number] > 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # some folds lack a rare class
        parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(x[several], y[several]))
    return [(np.sort(np.concatenate([several[rest], alone])), several[judged]) for rest, judged in parts]


def _machine(cost: float, weights: dict[int, int] | None, seed: int) -> Any:
    from sklearn.svm import LinearSVC

    # The order in which the solver takes the pictures is random, and fixed by the seed.
    return LinearSVC(C=cost, class_weight=weights, max_iter=STEPS, dual="auto", random_state=seed)


def _fit(x: NDArray[np.float64], y: NDArray[np.int64], cost: float, weights: dict[int, int] | None, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the result tells
        return _machine(cost, weights, seed).fit(x, y)


def _is_solved(solution: Any) -> bool:
    return int(solution.n_iter_) < STEPS


def _percent(right: NDArray[np.bool_]) -> float | None:
    return 100 * float(right.mean()) if len(right) else None
