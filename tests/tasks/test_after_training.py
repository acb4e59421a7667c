"""What follows a classifier's training may fail; what was trained is there, and is judged without training again."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from swav_cli.core.classifier import ClassifierTrainer
from swav_cli.core.weights import Model, read_model, save_model
from swav_cli.errors import Interrupted, UserError
from swav_cli.tasks import classifier
from tests.commands.test_linear_eval import home
from tests.conftest import Command

__all__ = ["home"]
TRAIN = ("linear-eval", "--epochs", "2", "--out", "run", "--device", "cpu")
SMALL = ("--batch-size", "8", "--workers", "0", "--precision", "float32")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("run/confusion.csv: can't be written"), "run/confusion.csv: can't be written. Training is done and"),
        (torch.OutOfMemoryError("CUDA out of memory"), "the memory is full. Training is done and saved in run"),
    ],
)
def test_a_trained_classifier_is_kept(
    home: Path, swav_here: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(classifier, "finish", fail)
        said = swav_here(*TRAIN)
    assert said.code == 4
    assert words in said.err
    assert "`swav eval run` judges it" in said.err
    assert swav_here("eval", "run", "--device", "cpu").code == 0
    monkeypatch.setattr(ClassifierTrainer, "train_step", fail)
    said = swav_here(*TRAIN)
    assert said.code == 0, said.err
    assert "top-1" in said.err


def test_no_process_leaves_a_stopped_run_before_the_first_one_has_saved(
    home: Path, swav_here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that have left end the others, be they in the middle of writing."""
    deciding: list[bool] = [False]
    saved_together: list[bool] = []
    whole = classifier.first_decides

    def watched(decide: Callable[[], Any]) -> Any:
        deciding.append(True)
        try:
            return whole(decide)
        finally:
            deciding.pop()

    def stopped(*_: object) -> None:
        raise Interrupted("stopped", signal.SIGTERM)

    monkeypatch.setattr(classifier, "first_decides", watched)
    monkeypatch.setattr(classifier, "save_model", lambda *_: saved_together.append(deciding[-1]))
    monkeypatch.setattr(ClassifierTrainer, "train_step", stopped)
    assert swav_here(*TRAIN).code == 128 + signal.SIGTERM
    assert saved_together == [True]


def test_a_classifier_that_answers_nothing_has_no_accuracy(home: Path, swav_here: Command) -> None:
    """Statistics that are not finite stay so, while training goes by those of each batch."""
    found = read_model(Path("runs/tiny/model.safetensors"))
    model, about = found.network, found.about
    dict(model.named_buffers())["bn1.running_mean"][0] = float("nan")
    save_model(Path("runs/tiny/model.safetensors"), Model(model, about))
    said = swav_here("finetune", "--epochs", "2", "--out", "run", "--device", "cpu", *SMALL)
    assert said.code == 4, said.err
    assert "no answers to its 40 pictures: they can't be read, or the weights of run are not finite" in said.err
    assert "top-1" not in said.err
    assert "top1" not in json.loads(Path("run/results.json").read_text() if Path("run/results.json").exists() else "{}")
    shown = swav_here("models", "show", "runs/tiny")
    assert "not finite, first" in shown.err
