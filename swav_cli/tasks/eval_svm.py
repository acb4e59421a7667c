"""Linear SVMs on a model's frozen features: what `swav eval --svm` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from swav_cli.core.device import joined_on
from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.data.multilabel import is_multilabel, read_multilabel
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.cache import free_memory
from swav_cli.errors import Told, UserError, counted
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.representation import gathered
from swav_cli.evaluate.svm import COSTS, FOLDS, SvmScore, memory_needed, svm_accuracy, svm_mean_average_precision
from swav_cli.parallel import distributed
from swav_cli.parallel.processes import first_decides
from swav_cli.report.classifier import judged_at
from swav_cli.report.console import Screen
from swav_cli.report.judgement import describe_svm
from swav_cli.run.pictures import run_of
from swav_cli.run.results import add_results
from swav_cli.tasks.eval_setting import (
    Setting,
    open_setting,
    pictures_for_features,
    refuse_disagreeing_inputs,
    represent_pictures,
)


@dataclass(frozen=True)
class Sides:
    """Pictures that an SVM is trained on and judged by, with what is true of them."""

    train: Pictures
    train_truth: Tensor  # (N,) classes, or (N, C) of 0 and 1 where a picture may have several
    test: Pictures
    test_truth: Tensor
    classes: list[str]
    several: bool


def judge_by_svm(
    model: str | Path | None = None,
    *,
    data: str | None = None,
    bank: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Train SVMs on the features of one side and judge them by the other; what `swav eval --svm --json` prints.

    >>> judge_by_svm("runs/quickstart", data="photos/", bank="photos/")["metric"]
    'accuracy'

    Args:
        data: labelled pictures to judge by: a folder a class, or a table whose column `labels` may hold several.
        bank: labelled pictures to train on, in the same form.

    Raises:
        UserError: no such model or pictures, or nothing to train on.
    """
    screen = screen or Screen()
    with joined_on(device):
        setting = open_setting(model, Inference.wanted(device, precision, batch_size, workers), screen)
        several = data is not None and is_multilabel(data)
        sides = _several_labels(setting, str(data), bank) if several else _one_label(setting, data, bank)
        refuse_disagreeing_inputs(setting, sides.test, sides.train)
        _refuse_too_many(setting, sides)
        if not several:
            _tell_of_lone_pictures(setting, sides)
        counts = [counted(len(pictures), "picture") for pictures in (sides.train, sides.test)]
        train = represent_pictures(setting, sides.train, f"features of {counts[0]} to train on")
        test = represent_pictures(setting, sides.test, f"features of {counts[1]} to judge by")
        train, test = gathered(train), gathered(test)

        def fit(progress: Told) -> SvmScore:
            truths = sides.train_truth[train.rows], sides.test_truth[test.rows]
            if not sides.several:
                return svm_accuracy(train.pooled, truths[0], test.pooled, truths[1])
            return svm_mean_average_precision(train.pooled, truths[0], test.pooled, truths[1], progress=progress)

        with screen.working(f"SVMs of {len(COSTS)} costs", "classes") as progress:
            score = first_decides(lambda: fit(progress))
        results = _results(setting, sides, score, train.unread + test.unread)
        run = run_of(setting.model.name)
        if run is not None and distributed.is_writer():
            add_results(run, "svm", results, screen.notice)
        screen.notice(describe_svm(results))
        return results


def _refuse_too_many(setting: Setting, sides: Sides) -> None:
    """
    Raises:
        UserError: the features find no room in the form in which scikit-learn takes them.
    """
    needed = memory_needed(len(sides.train) + len(sides.test), setting.model.network.feature_dim)
    free = free_memory()
    if needed > free:
        raise UserError(
            f"--svm: takes some {needed / 1e9:.1f} GB of memory for so many pictures, of which {free / 1e9:.1f} GB are "
            "free; give fewer, or train a linear classifier: swav linear-eval --cached"
        )


def _tell_of_lone_pictures(setting: Setting, sides: Sides) -> None:
    alone = [sides.classes[number] for number in (torch.bincount(sides.train_truth) == 1).nonzero().flatten().tolist()]
    if alone:
        more = f" and {len(alone) - 1:,} more have" if len(alone) > 1 else " has"
        setting.screen.notice(
            f"{sides.train.source}: class {alone[0]}{more} one picture to train on, without a part in choosing the cost"
        )


def _one_label(setting: Setting, data: str | None, bank: str | None) -> Sides:
    found = pictures_for_features(setting, data, bank)
    if found.bank is None or found.query_labels is None or found.bank_labels is None:
        raise UserError(
            "--svm: needs labelled pictures to train on beside those to judge by; name them with --data and --bank"
        )
    classes = found.bank.classes
    assert classes is not None
    return Sides(found.bank, found.bank_labels, found.queries, found.query_labels, classes, several=False)


def _several_labels(setting: Setting, data: str, bank: str | None) -> Sides:
    if bank is None:
        raise UserError(f"--data {data}: name the pictures to train on with --bank, a table of the same form")
    known = read_multilabel(expanded(bank))
    asked = read_multilabel(expanded(data), known.classes)
    sides = [
        FilePictures(expanded(table).parent, listed.names, setting.model.about.channels, table)
        for table, listed in ((bank, known), (data, asked))
    ]
    truths = [torch.from_numpy(listed.targets) for listed in (known, asked)]
    return Sides(sides[0], truths[0], sides[1], truths[1], known.classes, several=True)


def _results(setting: Setting, sides: Sides, score: SvmScore, unread: int) -> dict[str, Any]:
    return {
        "model": setting.model.name,
        "kind": "svm",
        "metric": score.metric,
        "score": score.score,
        "trained_on": sides.train.source,
        "judged_by": sides.test.source,
        "pictures": [len(sides.train), len(sides.test)],
        "unread": unread,
        "classes": len(sides.classes),
        "costs": score.costs,
        "converged": score.converged,
        "per_class": dict(zip(sides.classes, score.per_class, strict=False)),
        "protocol": f"linear SVM on pooled features of unit length, cost of {', '.join(f'{cost:g}' for cost in COSTS)} "
        f"by cross-validation in {FOLDS} parts{', each class for itself' if sides.several else ''}; "
        f"{judged_at(setting.model.about)}, {setting.how.precision}",
    }
