"""The machine's limits: each that is too small is told, with what gives more."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from swav_cli.data.reading import limits as reading_limits
from swav_cli.data.reading.limits import Limits, processors_of_container
from swav_cli.report.checkup import Check
from swav_cli.tasks.doctor import machine
from swav_cli.tasks.doctor.machine import (
    Build,
    check_disk,
    check_gpu,
    check_machine,
    driver_version,
    has_nvidia_gpu,
    why_no_gpu,
)

CPU = torch.device("cpu")


def states(tmp_path: Path) -> dict[str, Check]:
    return {check.name: check for check in check_machine(CPU, tmp_path / "runs")}


@pytest.fixture(autouse=True)
def a_good_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "limits", lambda: Limits(64e9, 65_536))
    monkeypatch.setattr(machine, "free_memory", lambda: 64e9)
    monkeypatch.setattr(machine, "free_disk", lambda folder: 500e9)
    monkeypatch.setattr(machine, "own_processors", lambda: 64)
    monkeypatch.setattr(machine, "load", lambda: 1.5)


def test_a_good_machine_is_ok_and_nothing_is_made(tmp_path: Path) -> None:
    assert {check.state for check in states(tmp_path).values()} == {"ok"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("reading", "value", "name", "state", "remedy"),
    [
        ("limits", lambda: Limits(64e6, 65_536), "shared memory", "warning", "--shm-size"),
        ("limits", lambda: Limits(64e9, 256), "open files", "warning", "ulimit -n"),
        ("free_memory", lambda: 1e9, "memory", "warning", "end other programs"),
        ("free_memory", lambda: 1e8, "memory", "problem", "end other programs"),
        ("free_disk", lambda folder: 1e9, "disk of runs", "warning", "make room"),
        ("free_disk", lambda folder: 0.0, "disk of runs", "problem", "make room"),
        ("free_disk", lambda folder: 0.0, "disk of caches", "warning", "make room"),  # all of it can be made again
        ("own_processors", lambda: 0, "processors", "warning", "OMP_NUM_THREADS=1"),
        ("load", lambda: 70.0, "load", "warning", "run it again"),
    ],
)
def test_each_lack_is_told(
    reading: str, value: object, name: str, state: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, reading, value)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    check = states(tmp_path)[name]
    assert check.state == state
    assert remedy in check.remedy


def test_a_run_that_does_not_fit_on_the_disk_is_a_problem(tmp_path: Path) -> None:
    assert check_disk("disk of the run", tmp_path, 600e9).state == "problem"
    assert check_disk("disk of the run", tmp_path, 300e9).state == "warning"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ({}, math.inf),
    ],
)
def test_a_containers_share_of_the_processors_counts(files: dict[str, str], cores: float, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert processors_of_container(tmp_path) == cores


def test_workers_are_no_more_than_a_container_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_limits, "processors_allowed", lambda: 64)
    monkeypatch.setattr(reading_limits, "processors_of_container", lambda: 2.5)
    assert reading_limits.own_processors() == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert reading_limits.own_processors() == 1


@pytest.mark.parametrize(
    ("build", "visible", "state", "words"),
    [
        (Build(None, ""), None, "problem", "built for processors alone"),
        (Build("13.0", "The NVIDIA driver on your system is too old"), None, "problem", "driver on your system"),
        (Build("13.0", "No CUDA GPUs are available"), "", "warning", "hides it"),
    ],
)
def test_a_gpu_that_is_there_and_not_used_is_told(build: Build, visible: str | None, state: str, words: str) -> None:
    found = why_no_gpu(build, True, visible)
    assert found is not None
    assert found.state == state
    assert words in found.found
    assert why_no_gpu(build, False, visible) is None


@pytest.mark.parametrize(
    ("capability", "free", "state", "words"),
    [
        ((9, 0), 70e9, "ok", "80 GB, 70 GB of it free, compute capability 9.0, driver 580.1"),
        ((9, 0), 30e9, "warning", "30 GB of it free"),
        ((7, 0), 70e9, "problem", "this build of torch has no code for it"),
    ],
)
def test_a_gpu_is_told_with_what_others_take(
    capability: tuple[int, int], free: float, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = SimpleNamespace(name="NVIDIA H100", major=capability[0], minor=capability[1])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: about)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (free, 80e9))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90"])
    monkeypatch.setattr(machine, "driver_version", lambda: "580.1")
    found = check_gpu(1)
    assert (found.name, found.state) == ("GPU 1", state)
    assert words in found.found
    assert bool(found.remedy) == (state != "ok")


def test_the_hardware_is_seen_whatever_drivers_are(tmp_path: Path) -> None:
    assert not has_nvidia_gpu(tmp_path)
    for number, (vendor, kind) in enumerate([("0x10de", "0x040300"), ("0x8086", "0x030000"), ("0x10de", "0x030200")]):
        assert not has_nvidia_gpu(tmp_path)  # a GPU's sound; another maker's
        device = tmp_path / "sys" / "bus" / "pci" / "devices" / str(number)
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    assert has_nvidia_gpu(tmp_path)


def test_the_drivers_version(tmp_path: Path) -> None:
    told = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (x)  2025\nGCC 12.2.0"
    (tmp_path / "version").write_text(told)
    assert driver_version(tmp_path / "version") == "580.65.06"
    assert driver_version(tmp_path / "none") is None
