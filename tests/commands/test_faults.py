"""Faults made on purpose in runs of two processes: killed, told to end, held up; nothing but time is lost.

SWAV_FAULT_ROUNDS=10 kills ten times instead of once.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from swav_cli.parallel.launching import SIGNALS
from tests.conftest import made_once
from tests.processes import environment, start, start_together, wait_until

ROUNDS = int(os.environ.get("SWAV_FAULT_ROUNDS", "1"))
RUN = (
    "pretrain", "tiny.yaml", "--set", "data.val=null", "--set", "data.train=shapes:240", "--set",
    f"training.epochs={3 + ROUNDS}",
    "--set", "checkpoint.every_minutes=0.0001", "--out", "run",
)  # fmt: skip
STEPS = 30 * (3 + ROUNDS)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """Whatever a test that failed had started."""
    yield
    for process in STARTED:
        if process.poll() is None:
            for pid in ranks(process).values():
                os.kill(pid, signal.SIGKILL)
            process.kill()
            process.communicate()
    STARTED.clear()


def begin(folder: Path, *more: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start two processes by our own launcher, or by another."""
    if launcher:
        process = subprocess.Popen(
            [*launcher, *RUN, *more], cwd=folder, env=environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    else:
        process = start(*RUN, "--devices", "2", *more, cwd=folder)
    STARTED.append(process)
    return process


def train_to_the_end(folder: Path) -> str:
    """What the first of two processes says, without the launcher, which would start them truly."""
    first, second = start_together(2, *RUN, "--set", "checkpoint.every_minutes=10", cwd=folder)
    STARTED.extend((first, second))
    _, said = first.communicate(timeout=300)
    _, failed = second.communicate(timeout=300)
    assert (first.returncode, second.returncode) == (0, 0), said + failed
    return said


def ranks(parent: subprocess.Popen[str]) -> dict[int, int]:
    """Rank to process, of the processes that a launcher started."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if int(re.search(r"PPid:\s+(\d+)", (entry / "status").read_text())[1]) != parent.pid:  # type: ignore[index]
                continue
            variables = dict(item.split("=", 1) for item in (entry / "environ").read_text().split("\0") if "=" in item)
        except (OSError, TypeError):  # gone meanwhile
            continue
        if "RANK" in variables:
            found[int(variables["RANK"])] = int(entry.name)
    return found


def step_of(folder: Path) -> int:
    try:
        lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
        return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)
    except (OSError, ValueError):
        return 0


def is_past(folder: Path, process: subprocess.Popen[str], step: int) -> bool:
    """Whether both processes run, and have come further."""
    return len(ranks(process)) == 2 and step_of(folder) > step


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "run" / "checkpoints" / "last.pt", weights_only=True)
    assert state["step"] == STEPS
    return dict(state["model"])


def assert_equal_weights(a: Path, b: Path) -> None:
    one, other = weights(a), weights(b)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        write_tiny(folder)
        train_to_the_end(folder)

    return made_once(tmp_path_factory, f"two-processes-of-{STEPS}-steps", make)


def write_tiny(folder: Path) -> None:
    import yaml

    from tests.conftest import TINY

    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_tiny(tmp_path)
    return tmp_path


def test_a_killed_process_costs_minutes_and_no_more(undisturbed: Path, place: Path) -> None:
    """kill -9 of either process at a step drawn."""
    drawn = random.Random(0)
    for _ in range(ROUNDS):
        process, first = begin(place), step_of(place)
        wait_until(partial(is_past, place, process, first + drawn.randrange(8)), process)
        os.kill(ranks(process)[drawn.randrange(2)], signal.SIGKILL)
        _, said = process.communicate(timeout=120)
        assert process.returncode not in (0, None)
        assert "Traceback" not in said
        assert "Go on with the same command" in said
        assert step_of(place) < STEPS - 10, "too short a run for so many rounds"
    train_to_the_end(place)
    assert_equal_weights(undisturbed, place)


def test_a_writer_that_is_killed_while_a_checkpoint_is_half_written(undisturbed: Path, place: Path) -> None:
    for saves in random.Random(1).sample(range(3, 12), ROUNDS):
        before = step_of(place)
        first, second = start_together(2, *RUN, cwd=place, module="tests.dying_writer", SAVES=str(saves))
        STARTED.extend((first, second))
        first.communicate(timeout=120)
        _, said = second.communicate(timeout=120)
        assert (first.returncode, second.returncode) == (-signal.SIGKILL, 1)
        assert "Traceback" not in said
        assert "Go on with the same command" in said
        assert before < step_of(place) < STEPS - 10
    train_to_the_end(place)
    assert_equal_weights(undisturbed, place)


def test_a_signal_to_the_launcher_saves_and_says_how_to_go_on(place: Path) -> None:
    process = begin(place)
    wait_until(lambda: step_of(place) >= 5, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.count("all is saved. Go on with the same command") == 1
    assert "torch" not in said  # the launcher keeps quiet


@pytest.mark.parametrize(("sent", "code"), [("SIGTERM", 143), ("SIGUSR1", 138)])
def test_a_signal_to_all_processes_is_told_once(place: Path, sent: str, code: int) -> None:
    """As launchers hand it on."""
    processes = start_together(2, *RUN, cwd=place)
    STARTED.extend(processes)
    wait_until(lambda: step_of(place) >= 5, processes[0])
    for process in processes:
        process.send_signal(getattr(signal, sent))
    said = "".join(process.communicate(timeout=120)[1] for process in processes)
    assert [process.returncode for process in processes] == [code, code], said
    assert "Traceback" not in said
    assert said.count("all is saved. Go on with the same command") == 1


def test_the_launcher_hands_on_every_signal_that_saves() -> None:
    assert set(SIGNALS.split(",")) == {"SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"}


def test_torchrun_starts_again_what_died(undisturbed: Path, place: Path) -> None:
    """--max-restarts: all processes are started anew and go on from the last checkpoint, --overwrite or not."""
    launcher = (
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "2",
        "-m", "swav_cli",
    )  # fmt: skip
    process = begin(place, "--overwrite", launcher=launcher)
    wait_until(lambda: is_past(place, process, 10), process)
    os.kill(ranks(process)[1], signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "going on at step" in said
    assert_equal_weights(undisturbed, place)


def test_one_that_does_not_come_is_named(place: Path) -> None:
    waiting, held = start_together(2, *RUN, "--set", "training.timeout_minutes=0.15", cwd=place)
    STARTED.extend((waiting, held))
    wait_until(lambda: step_of(place) > 3, waiting)
    held.send_signal(signal.SIGSTOP)
    _, said = waiting.communicate(timeout=120)
    assert waiting.returncode == 1
    assert (
        f"process 1 on {socket.gethostname()} did not come within 0.15 minutes and gave no answer: hung, stopped, or "
        "the machine is gone; all end; what each did last: run/flight. Go on with the same command"
    ) in said
    assert {path.name for path in (place / "run" / "flight").iterdir()} == {"rank_0", "stack_0.txt"}
    held.kill()
    held.communicate()


def test_what_all_processes_meet_is_told_once(place: Path) -> None:
    """A batch that two processes do not divide: both notice, and the first one tells."""
    process = begin(place, "--set", "training.batch_size=9")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said == ("swav: training.batch_size (9) does not divide evenly over 2 processes; try --batch-size 8\n")
    assert not (place / "run").exists()
