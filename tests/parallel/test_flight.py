"""Who lags is told by what torch's flight recorder knows of each process, which then lies beside the run."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from torch.distributed import HashStore, PrefixStore
from torch.distributed.flight_recorder.components.builder import build_db
from torch.distributed.flight_recorder.components.config_manager import JobConfig
from torch.distributed.flight_recorder.components.loader import read_dir

from swav_cli.parallel import flight, peers
from swav_cli.parallel.flight import Account, switch_on, who_lags
from tests.processes import start_together

HOST = socket.gethostname()
CALL = "call 4 (all_reduce of 2 x 3000 float)"  # two tell, when the processes meet, which GPUs they have


def ended(world: int, fault: str, folder: Path) -> str:
    """The line that names who lags, said once by all processes together; each ends by it."""
    processes = start_together(world, fault, cwd=folder, module="tests.parting", MINUTES="5")
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [1] * world, said
    (line,) = [line for text in said for line in text.splitlines() if "did not" in line]
    return line


def test_the_one_that_lags_is_named_and_what_each_did_is_left(tmp_path: Path) -> None:
    """Of those that wait one alone has waited too long."""
    line = ended(3, "lagging", tmp_path)
    assert line.startswith(f"swav: process 1 on {HOST} did not come within 5 minutes: it stands at threading.py:")
    assert line.endswith(
        f", 1 call before the others, which wait in {CALL}; all end; what each did last: flight. Go on with the same "
        "command"
    )
    assert {path.name for path in (tmp_path / "flight").iterdir()} == {
        f"{kind}{rank}{ending}" for rank in range(3) for kind, ending in (("rank_", ""), ("stack_", ".txt"))
    }
    assert " in dawdle\n" in (tmp_path / "flight" / "stack_1.txt").read_text()
    read_by_torchs_own_tool(tmp_path / "flight")


def read_by_torchs_own_tool(folder: Path) -> None:
    """Which finds the last call in two processes alone."""
    config: Any = JobConfig().parse_args([str(folder)])
    details, version = read_dir(config)
    assert {name: len(each["entries"]) for name, each in details.items()} == {"rank_0": 4, "rank_1": 3, "rank_2": 4}
    try:
        calls = build_db(details, config, version).collectives
    except AssertionError as error:
        if "gloo != 'nccl'" in str(error):
            return  # torch 2.11 reads what NCCL left alone
        raise
    assert [call.missing_ranks or set() for call in calls] == [set(), set(), set(), {1}]


def test_the_same_where_nccl_finds_it(tmp_path: Path) -> None:
    line = ended(2, "lagging on GPUs", tmp_path)
    assert line.startswith(f"swav: process 1 on {HOST} did not come within 5 minutes: it stands at ")
    assert f", 1 call before the others, which wait in {CALL}; all end" in line
    left = {path.name for path in (tmp_path / "flight").iterdir()}
    assert left == {"stack_0.txt", "stack_1.txt"}  # the rest is NCCL's to write


def test_a_time_out_of_an_earlier_start_is_forgotten() -> None:
    """torch leaves it in the launcher's own store, which outlives the processes."""
    launcher = HashStore()
    launcher.set(peers.LATE_BY_NCCL, "1")
    peers.forget_time_outs(PrefixStore("start 1", PrefixStore("inner", launcher)))
    assert not launcher.check([peers.LATE_BY_NCCL])


WAITING = Account(812, "all_reduce of 6000 float", True, "objective.py:7 (f)")
READING = Account(811, "all_gather of 1 long", False, "loader.py:214 (f)")
SENDING = Account(812, "all_reduce of 6000 float", False, "distributed.py:104 (f)")
IN_CALL = "which wait in call 812 (all_reduce of 6000 float)"


@pytest.mark.parametrize(
    ("accounts", "said"),
    [
        ([WAITING, READING._replace(calls=807), WAITING],
         "process 1 on b did not come within 30 minutes: it stands at loader.py:214 (f), 5 calls before the others, "
         f"{IN_CALL}"),
        ([READING, WAITING, READING],
         "process 0 on a, 2 on c did not come within 30 minutes: the first of them stands at loader.py:214 (f), "
         f"1 call before the others, {IN_CALL}"),
        ([WAITING, None, READING],
         "process 1 on b did not come within 30 minutes and gave no answer: hung, stopped, or the machine is gone"),
        ([WAITING, SENDING, WAITING],
         "process 1 on b did not come within 30 minutes: it stands at distributed.py:104 (f)"),
        ([WAITING, WAITING, WAITING],
         "call 812 (all_reduce of 6000 float), to which all processes came, did not end within 30 minutes: what they "
         "send is lost"),
    ],
)  # fmt: skip
def test_who_lags(accounts: list[Account | None], said: str) -> None:
    assert who_lags(accounts, ["a", "b", "c"], 30) == said


@pytest.mark.parametrize(
    ("there", "added"),
    [
        ({}, {"TORCH_FR_BUFFER_SIZE": "2000", "TORCH_NCCL_DUMP_ON_TIMEOUT": "1"}),
        ({"TORCH_NCCL_TRACE_BUFFER_SIZE": "0", "TORCH_NCCL_DUMP_ON_TIMEOUT": "0"}, {}),
    ],
)
def test_what_the_user_has_set_stays(there: dict[str, str], added: dict[str, str]) -> None:
    variables = dict(there)
    switch_on(variables)
    assert variables == there | added


@pytest.mark.parametrize("name", flight.PREFIX)
def test_a_place_that_the_user_has_named_is_kept(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    for each in flight.PREFIX:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setattr(flight.distributed, "world_size", lambda: 2)
    monkeypatch.setattr(flight, "talks_by_nccl", lambda: True)
    flight.leave_traces_in(tmp_path / "ours")
    assert flight._prefix() == f"{tmp_path}/ours/rank_"
    assert (tmp_path / "ours").is_dir()  # for NCCL
    flight.forget_folder()
    assert flight._prefix() is None
    assert not (tmp_path / "ours").exists()
    monkeypatch.setenv(name, "/elsewhere/fr_")
    flight.leave_traces_in(tmp_path / "ours")
    assert flight._prefix() == "/elsewhere/fr_"
    flight.forget_folder()
    assert flight._prefix() == "/elsewhere/fr_"
