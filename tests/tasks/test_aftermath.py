"""What follows a classifier's training may fail; what was trained is there, and is judged without training again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from swav_cli.core.classifier import ClassifierTrainer
from swav_cli.errors import UserError
from swav_cli.tasks import classifying
from tests.commands.test_linear_eval import home
from tests.conftest import Command

__all__ = ["home"]
TRAIN = ("linear-eval", "--epochs", "2", "--out", "run", "--device", "cpu")


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
        broken.setattr(classifying, "finish", fail)
        said = swav_here(*TRAIN)
    assert said.code == 4
    assert words in said.err
    assert "`swav eval run` judges it" in said.err
    assert swav_here("eval", "run", "--device", "cpu").code == 0
    monkeypatch.setattr(ClassifierTrainer, "train_step", fail)
    said = swav_here(*TRAIN)
    assert said.code == 0, said.err
    assert "top-1" in said.err
