from __future__ import annotations

from pathlib import Path

import pytest

from swav_cli.core.metrics import Progress
from swav_cli.report.console import Console, describe_results, duration


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (185, "3 min 05 s"), (3720, "1 h 02 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_no_accuracy_without_labels() -> None:
    results = {"recipe": "x", "seconds": 1.0, "loss": 2.0, "loss_over_ln_k": 0.5, "bad_pictures": 0}
    plain = describe_results(results, Path("runs/x"))
    assert "k-NN" not in plain
    assert "swav eval" not in plain  # there are no labelled pictures to judge by
    judged = describe_results(results | {"knn": 80.0, "knn_untrained": 30.0, "knn_raw_pixels": 35.0}, Path("runs/x"))
    assert "swav eval runs/x  " in judged
    assert "k-NN   learnt 80.0 %, raw pixels 35.0 %, untrained network 30.0 %" in judged


def test_plain_lines_come_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with console.training(0, 100):
        for step in range(1, 101):
            console.step(Progress(step, 100, 0, 1.0, 0.5, 10.0, 0.25))
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0].startswith("step 1/100 epoch 1: loss/ln K 0.500, 10 img/s, wait 25%, ")
    assert lines[-1].startswith("step 100/100")
    assert len(lines) == 2
