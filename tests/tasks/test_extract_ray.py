"""How many workers a cluster is asked for, and what each takes."""

from __future__ import annotations

import pytest

from swav_cli.errors import UserError
from swav_cli.evaluate.extraction.extract import ExtractRequest
from swav_cli.tasks.extract_ray import places_on

HEAD, CPUS, GPUS = {"CPU": 8.0}, {"CPU": 16.0}, {"CPU": 16.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("machines", "device", "workers", "devices", "expected"),
    [
        ([HEAD, CPUS], "auto", None, None, (24, 1, 0, "cpu", 0)),
        ([HEAD, GPUS, GPUS], "auto", None, None, (8, 4, 1, "cuda", 4)),
        ([HEAD, GPUS, {"CPU": 4.0, "GPU": 2.0}], "cuda", None, None, (6, 2, 1, "cuda", 2)),
        ([GPUS], "auto", 2, 3, (3, 2, 1, "cuda", 2)),
        ([GPUS], "cpu", None, None, (16, 1, 0, "cpu", 0)),
        ([{"CPU": 2.0, "GPU": 4.0}], "auto", None, None, (4, 1, 1, "cuda", 1)),
    ],
)
def test_a_worker_for_each_gpu_or_else_processor(
    machines: list[dict[str, float]], device: str, workers: int | None, devices: int | None,
    expected: tuple[int, int, int, str, int],
) -> None:  # fmt: skip
    found = places_on(machines, ExtractRequest(device=device, workers=workers), devices)
    assert (found.workers, found.cpus, found.gpus, found.request.device, found.request.workers) == expected


@pytest.mark.parametrize(
    ("machines", "device", "message"),
    [
        ([CPUS], "cuda", "no machine of the Ray cluster has a GPU"),
        ([GPUS], "cuda:1", "Ray deals out the GPUs"),
        ([{"memory": 1.0}], "auto", "no machine of the cluster has a processor"),
    ],
)
def test_what_no_machine_has_is_told(machines: list[dict[str, float]], device: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        places_on(machines, ExtractRequest(device=device), None)
