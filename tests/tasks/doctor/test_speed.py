"""Reading against training, and what limits; room, time and disk, from numbers that are given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from swav_cli.data.reading.limits import Limits
from swav_cli.data.sources import open_pictures
from swav_cli.planning import pace
from swav_cli.planning.pace import Reading
from swav_cli.planning.trial import Trial
from swav_cli.run.folder import RunFolder
from swav_cli.tasks.doctor import speed
from swav_cli.tasks.doctor.look import look_at
from swav_cli.tasks.doctor.speed import Measured, check_folder, check_speed
from tests.conftest import tiny_recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def reads(rate: float, in_memory: bool = False) -> Reading:
    return Reading(rate, in_memory, 10_000_000, 4)


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pace, speed):
        monkeypatch.setattr(module, "own_processors", lambda: 16)
    monkeypatch.setattr(pace, "spare_processors", lambda device: 2 if device.type == "cpu" else 15)


def told(reading: Reading, trial: Trial, device: torch.device, *overrides: str) -> dict[str, tuple[str, str, str]]:
    recipe, pictures = tiny_recipe("training.workers=4", *overrides), open_pictures("shapes:48")
    look = look_at(pictures, 60)
    checks = check_speed(Measured(recipe, pictures, look, reading, trial, device))
    return {check.name: (check.state, check.found, check.remedy) for check in checks}


def test_a_slow_reader_is_told_with_as_many_workers_as_would_do() -> None:
    found = told(reads(300), Trial(3000.0, 8, 8, 512, True, 8), GPU)
    assert found["limit"][0] == "warning"
    assert "4 workers read 1,200 pictures/s, and 3,000 can be trained; 10 workers would do" in found["limit"][1]
    assert found["limit"][2] == "--workers 10"
    assert found["batch size"][:2] == (
        "ok", "8 pictures at a time find room; the largest that does with a tenth to spare is 512, tried",
    )  # fmt: skip
    assert found["time"][1] == "about 0 s on one process: 18 steps at 1,200 pictures/s"
    found = told(reads(100), Trial(3000.0, 8, 8, 512, True, 8), GPU)
    assert found["limit"][2].startswith("more cores")  # no sixteen cores do


def test_a_batch_without_room_is_a_problem_with_the_part_that_has() -> None:
    found = told(reads(300), Trial(90.0, 4, 8, 7, True, 4), GPU)["batch size"]
    assert found[0] == "problem"
    assert found[2] == "--micro-batch 4, which keeps the batch"
    synchronised = told(reads(300), Trial(90.0, 4, 8, 7, True, 4), GPU, "training.sync_batchnorm=true")["batch size"]
    assert "training.sync_batchnorm=false" in synchronised[2]
    nothing = told(reads(300), Trial(0.0, 0, 8, 0, True, 0), GPU)
    assert {nothing["training"][0], nothing["batch size"][0]} == {"problem"}
    assert "time" not in nothing


def test_batches_without_room_in_shared_memory_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(3000.0, 8, 8, 512, True, 8)
    monkeypatch.setattr(speed, "limits", lambda: Limits(64e6, 65_536))
    state, found, remedy = told(reads(300), trial, GPU)["batches shared"]
    assert state == "warning"
    assert "/dev/shm has 64 MB free of the 480 MB needed" in found
    assert remedy == "docker run --shm-size=1g gives more"
    monkeypatch.setattr(speed, "limits", lambda: Limits(64e9, 100))
    assert "100 files may be open" in told(reads(300), trial, GPU)["batches shared"][1]


def test_a_processors_memory_is_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(300.0, 8, 8, 512, False, 8)
    assert told(reads(300), trial, CPU)["memory of a run"][0] == "ok"
    monkeypatch.setattr(speed, "free_memory", lambda: 1e8)
    assert told(reads(300), trial, CPU)["memory of a run"][0] == "problem"


def test_what_lies_in_the_runs_folder_is_told(tmp_path: Path) -> None:
    assert check_folder(tmp_path / "new").state == "ok"
    (tmp_path / "recipe.yaml").touch()
    assert "goes on" in check_folder(tmp_path).found
    RunFolder(tmp_path).results.write_text('{"recipe": "tiny"}')
    assert check_folder(tmp_path).state == "warning"
    (tmp_path / "recipe.yaml").unlink()
    assert check_folder(tmp_path).state == "problem"
