"""Which part bounds and what to change, from numbers that are given."""

from __future__ import annotations

from typing import Any

import pytest

from swav_cli.tasks.bench.conclusion import Numbers, conclude

# A GPU that is kept busy by forward and backward, on pictures that come quickly enough.
BUSY = Numbers(
    device="cuda", cores=16, workers=15, in_memory=False, a_core=146.0, loader=2300.0, step=1141.0, compiled=None,
    end_to_end=1130.0, waiting=0.0, shares={"views": 0.09, "network": 0.85, "update": 0.02}, busy=0.97, product=0.16,
    copy=0.6, precision="bf16", best_precision="bf16",
)  # fmt: skip
PROCESSOR = {
    "device": "cpu", "cores": 2, "workers": 0, "in_memory": True, "a_core": 4000.0, "loader": None, "step": 380.0,
    "busy": None, "precision": "float32", "best_precision": "float32",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "bound", "change"),
    [
        ({}, "memory", ["more GPUs: --devices N"]),
        ({"product": 0.7}, "arithmetic", ["more GPUs"]),
        ({"compiled": 1588.0}, "memory", ["--set training.compile=true: 1.39 times as fast"]),
        ({"compiled": 1150.0}, "memory", ["more GPUs"]),  # no gain to speak of
        ({"precision": "float32"}, "memory", ["--precision bf16"]),
        ({"loader": 584.0, "workers": 4}, "reading", ["--workers 8: so many keep up"]),
        ({"a_core": 40.0, "loader": 600.0}, "reading", ["--set data.cache=true", "pictures made", "more cores: 29"]),
        ({"loader": None, "workers": 0, "waiting": 0.3, "in_memory": True}, "reading", ["--workers 8"]),
        ({"busy": 0.5, "compiled": 2000.0}, "launches", ["--set training.compile=true: 1.75", "a larger --batch-size"]),
        ({"shares": {"views": 0.5, "network": 0.4}}, "views", ["smaller crops"]),
        ({"shares": {"update": 0.5, "network": 0.4}}, "update", ["a larger --batch-size"]),
        ({"step": None}, "unknown", []),
        (PROCESSOR, "memory", ["a GPU"]),
        ({**PROCESSOR, "a_core": 100.0}, "reading", ["more cores", "fewer crops"]),
        ({**PROCESSOR, "a_core": 250.0, "workers": 2, "in_memory": False}, "memory", ["a GPU"]),  # both cores read
    ],
)  # fmt: skip
def test_what_bounds_and_what_to_change(changed: dict[str, Any], bound: str, change: list[str]) -> None:
    found = conclude(BUSY._replace(**changed))
    assert found.bound == bound
    assert len(found.change) == len(change)
    assert all(told.startswith(begun) for told, begun in zip(found.change, change, strict=True))
    assert found.told
