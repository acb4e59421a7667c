from __future__ import annotations

import json
from pathlib import Path

from swav_cli.core.health import Health
from swav_cli.run.metrics import MetricsFile, Step, gist, read_metrics

STEP = Step(
    number=3, steps=9, epoch=0, epochs=3, loss=float("nan"), start_loss=2.0, epoch_loss=1.0, lr=0.1, gradient_norm=2.0,
    gradient_norms={"head": 1.0},    pictures_per_second=10.0, waiting=0.1, seconds=5.0, bad={},
)  # fmt: skip
HEALTH = Health(
    used_prototypes=2, perplexity=1.5, spread=0.1, rank=float("inf"), deviation=0.5, twins=0, code_entropy=0.5,
    prediction_entropy=0.5, agreement=None,
)  # fmt: skip


def test_lines_are_json_whatever_the_numbers(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "m.jsonl", 0)
    metrics.write_step(STEP)
    metrics.write_epoch(STEP, {"loss_over_ln_k": STEP.epoch_share, **HEALTH._asdict(), "knn": 40.0})
    step, epoch = (json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines())
    assert step["loss"] is None
    assert epoch["rank"] is None
    assert epoch["knn"] == 40.0


def test_why_a_run_failed_is_dropped_when_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    MetricsFile(path, 0).write_step(STEP)
    MetricsFile(path, 3).write_failure(3, ValueError("odd"))
    assert gist(path)[1] == {"kind": "failed", "step": 3, "diverged": False, "why": "ValueError: odd"}
    MetricsFile(path, 3)
    assert [line["kind"] for line in read_metrics(path)] == ["step"]


def test_lines_after_the_step_are_dropped_and_earlier_ones_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"kind": "step", "step": 1}\n{"kind": "step", "step": 2}\n{"kind": "st')
    MetricsFile(path, 1)
    assert read_metrics(path) == [{"kind": "step", "step": 1}]
    assert read_metrics(tmp_path / "none.jsonl") == []
