"""What a grid's result says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from swav_cli.files import write_text
from swav_cli.report.classifier import confusion_text, describe_outcome, read_confusion


def results(chosen: float, rates: list[float]) -> dict[str, Any]:
    grid = [{"lr": rate, "weight_decay": 0.0, "top1": 50.0 + rate} for rate in rates]
    return {
        "seconds": 3.0, "top1": 60.0, "top5": 90.0, "mean_class_accuracy": 60.0, "count": 100, "majority_class": 10.0,
        "best": {}, "layers": {}, "per_class": {"a": 50.0, "b": 70.0}, "unread": 0, "protocol": "a linear layer",
        "grid": grid, "chosen": next(pair for pair in grid if pair["lr"] == chosen), "chosen_by": 20,
    }  # fmt: skip


def test_a_pair_that_nothing_chose_is_told() -> None:
    said = describe_outcome({**results(0.1, [0.01, 0.1, 1.0]), "chosen_by": 0}, Path("run"))
    assert "learning rate 0.1, weight decay 0: the middle of 3 pairs, as no class has two pictures to choose by" in said


@pytest.mark.parametrize(
    ("chosen", "rates", "edge"),
    [
        (0.1, [0.01, 0.1, 1.0], False),
        (1.0, [0.01, 0.1, 1.0], True),
        (0.01, [0.01, 0.1, 1.0], True),
        (0.1, [0.1], False),
    ],
)
def test_a_rate_at_the_edge_of_the_grid_is_told(chosen: float, rates: list[float], edge: bool) -> None:
    said = describe_outcome(results(chosen, rates), Path("run"))
    assert ("a wider grid may find better" in said) is edge
    assert f"learning rate {chosen:g}" in said
    assert "swav eval 'a b' --plot" in describe_outcome(results(chosen, rates), Path("a b")), "as a shell takes it"


def test_a_table_of_answers_is_read_as_it_was_written(tmp_path: Path) -> None:
    names, counts = ["caf\udce9", 'a "b", c', "two\nlines"], torch.arange(9).reshape(3, 3)
    write_text(tmp_path / "confusion.csv", confusion_text(counts, names))
    matrix, classes = read_confusion(tmp_path / "confusion.csv")
    assert torch.equal(matrix, counts)
    assert classes == names
