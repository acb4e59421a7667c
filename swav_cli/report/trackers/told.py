"""What trackers are told, from what a run writes: curves by their names, in groups that their pages show together."""

from __future__ import annotations

import math
from typing import Any

JUDGED = ("knn", "top1", "top5")
OF_EPOCHS = ("epoch", "loss", "loss_over_ln_k", "seconds", "images_per_second", "memory")
NOT_DRAWN = ("kind", "step", "verdict", "advice")


def curves_of(line: dict[str, Any]) -> dict[str, float]:
    """The numbers of a line of `metrics.jsonl`.

    >>> curves_of({"kind": "step", "epoch": 0, "step": 7, "loss": 2.0, "images_per_second": 80.0})
    {'train/epoch': 0.0, 'train/loss': 2.0, 'train/images_per_second': 80.0}
    >>> curves_of({"kind": "epoch", "epoch": 0, "step": 7, "rank": 3.5, "knn": 40.0, "verdict": "healthy"})
    {'epoch/epoch': 0.0, 'health/rank': 3.5, 'eval/knn': 40.0}
    """
    if line["kind"] == "step":
        return {f"train/{key}": value for key, value in _numbers(line).items()}
    if line["kind"] != "epoch":
        return {}
    return {f"{_group(key)}/{key}": value for key, value in _numbers(line).items()}


def results_of(results: dict[str, Any]) -> dict[str, float]:
    """The numbers of `results.json` that stand for themselves.

    >>> results_of({"recipe": "quickstart", "knn": 88.1, "health": {"rank": 4.0}, "per_class": {"star": 97.0}})
    {'results/knn': 88.1, 'results/health/rank': 4.0}
    """
    health = results.get("health") or {}
    found = {f"results/{key}": value for key, value in _numbers(results).items()}
    return found | {f"results/health/{key}": value for key, value in _numbers(health).items()}


def _group(key: str) -> str:
    if key in JUDGED:
        return "eval"
    return "epoch" if key in OF_EPOCHS else "health"


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in values.items()
        if key not in NOT_DRAWN
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    }
