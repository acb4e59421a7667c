"""One process that ends for itself tells its own reason, and the others end at once, whatever they wait for."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.parting import FIRST_FAILS
from tests.processes import CAN_FORK, environment, run, start, start_together, stopped

HOST = socket.gethostname()


def ended(world: int, fault: str, folder: Path, **more: Any) -> tuple[list[int], list[str], list[str]]:
    """Exit codes, what each printed, and all lines that were said."""
    processes = start_together(world, fault, cwd=folder, module="tests.parting", **more)
    found = [process.communicate(timeout=100) for process in processes]
    lines = [line for _, said in found for line in said.splitlines()]
    return [process.returncode for process in processes], [out for out, _ in found], lines


@pytest.mark.parametrize("fault", ["stuck", "waiting"])
def test_the_others_end_with_one_that_fails(fault: str, tmp_path: Path) -> None:
    codes, _, lines = ended(3, fault, tmp_path)
    assert codes == [2, 1, 1]
    assert sorted(lines) == sorted([
        f"swav: {FIRST_FAILS}",
        f"swav: process 0 on {HOST} has ended, and all end with it. Go on with the same command",
    ])  # fmt: skip


def test_a_fault_of_ours_ends_the_others_too(tmp_path: Path) -> None:
    codes, _, lines = ended(2, "ours", tmp_path)
    assert codes == [1, 1]
    assert sum("Traceback" in line for line in lines) == 1
    assert f"[rank0]: ZeroDivisionError: {FIRST_FAILS}" in lines
    assert lines.count(f"swav: process 0 on {HOST} has ended, and all end with it. Go on with the same command") == 1


def test_judging_that_fails_in_one_process_alone_is_not_passed_over(tmp_path: Path) -> None:
    """It would train on, while the others wait for it in the midst of judging."""
    processes = start_together(2, "not judged", cwd=tmp_path, module="tests.parting", TIME_TO_AGREE="3")
    said = [process.communicate(timeout=100) for process in processes]
    assert [out for out, _ in said] == [f"not judged after epoch 1: {FIRST_FAILS}\n"] * 2
    assert said[0][1] == f"swav: {FIRST_FAILS}\n"
    assert [process.returncode for process in processes] == [2, 1]


def test_a_signal_to_one_of_a_shared_extraction_is_heard_by_all(tmp_path: Path) -> None:
    """Each has 20 rows to compute; both stop after the batch in which it was heard, and one that is read ahead."""
    codes, out, lines = ended(2, "signal", tmp_path)
    assert codes == [1, 1], lines
    counts = [[int(number) for number in each.split()] for each in out]
    assert [code for code, _ in counts] == [138, 138]
    assert all(read <= 8 for _, read in counts), counts


@pytest.mark.skipif(not CAN_FORK, reason="names of threads are read from /proc")
def test_no_thread_of_the_group_outlives_it(tmp_path: Path) -> None:
    """One that does may still let go of a tensor while Python ends, which ends the process by SIGABRT."""
    codes, out, lines = ended(2, "trained", tmp_path, forked=False)
    assert codes == [0, 0], lines
    for within, after in (each.splitlines() for each in out):
        assert "gloo" in within
        assert "gloo" not in after


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_waiting_for_the_others_may_be_ended(sent: signal.Signals, code: int, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    process = start("pretrain", "quickstart", "--device", "cpu", cwd=tmp_path, env=environment(**place))
    found, said = stopped(process, sent, lambda: listens(port))
    assert found == code
    assert "Traceback" not in said


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = str(other.getsockname()[1])
        place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        here = environment(**place, PYTHONPATH=str(Path.cwd()))
        done = run("nothing", cwd=tmp_path, module="tests.parting", env=here)
    assert done.returncode == 2
    where = f"127.0.0.1:{port}: another program listens where the processes are to meet"
    assert done.stderr == f"swav: {where}; set MASTER_PORT to a free port\n"
