"""torch's flight recorder: what each process told the others last, and where it stands when they wait for it in vain.

torch keeps the last calls between processes in a ring, those by NCCL as well as those by gloo. After a time-out every
process leaves its ring and the stacks of its threads beside the run, and gives an account of itself in a line; who
compares the accounts can name the one that lags.
"""

from __future__ import annotations

import faulthandler
import json
import os
import pickle
import sys
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from swav_cli.errors import UserError, counted
from swav_cli.files import write_whole
from swav_cli.parallel import distributed
from swav_cli.parallel.agreement import named

# Each with the name that it had before, which torch still reads.
RING = ("TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_TRACE_BUFFER_SIZE")
PREFIX = ("TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE")  # of files, the process's number behind it
AT_TIME_OUT = ("TORCH_NCCL_DUMP_ON_TIMEOUT",)
CALLS_KEPT = 2000
PACKAGE = Path(__file__).parent.parent
_OWN: list[Path] = []  # the folder that no user has named


def switch_on(variables: MutableMapping[str, str] = os.environ) -> None:
    """Have torch keep the last calls, and NCCL leave them where one of them times out, unless the user said otherwise.

    To be called before the processes join; it is what recent versions of torch do by themselves.
    """
    for names, value in ((RING, str(CALLS_KEPT)), (AT_TIME_OUT, "1")):
        if not any(name in variables for name in names):
            variables[names[0]] = value


def leave_traces_in(folder: Path) -> None:
    """What is left after a time-out is to lie in this folder, unless the user has named another place.

    The folder is there where there is something in it, and as long as NCCL, which makes none, may write into it.
    """
    if distributed.world_size() == 1 or (_prefix() is not None and not _OWN):
        return
    forget_folder()
    _OWN.append(folder.absolute())
    os.environ[PREFIX[0]] = f"{_OWN[0]}/rank_"
    if talks_by_nccl():
        with suppress(OSError):  # a machine that does not see the run's folder
            folder.mkdir(exist_ok=True)


def forget_folder() -> None:
    """The processes have parted, and all that there is to leave is left."""
    while _OWN:
        folder = _OWN.pop()
        os.environ.pop(PREFIX[0], None)
        with suppress(OSError):
            folder.rmdir()  # where it is empty


def _prefix() -> str | None:
    return next((os.environ[name] for name in PREFIX if os.environ.get(name)), None)


def talks_by_nccl() -> bool:
    return dist.is_initialized() and "nccl" in str(dist.get_backend_config())


class Account(NamedTuple):
    """What a process says of itself when others have waited too long.

    Args:
        calls: those in which all processes of a group take part, begun so far, over all groups.
        last: the last of them, in words; "" where none is known.
        waits: the last one is not over.
        stands: where its main thread is in the code.
    """

    calls: int
    last: str
    waits: bool
    stands: str

    def to_json(self) -> str:
        return json.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> Account:
        return cls(*json.loads(text))


def account(waits: bool = False) -> Account:
    """This process's own.

    Args:
        waits: its last call is known not to have ended; torch's ring takes one that timed out for ended.
    """
    entries = [entry for trace in _rings() for entry in trace.get("entries", []) if not entry["is_p2p"]]
    begun: dict[str, int] = {}  # of each group the number of its last call, as far as the ring goes back
    for entry in entries:
        group = f"{entry['profiling_name'].partition(':')[0]} {entry['process_group'][0]}"
        begun[group] = max(begun.get(group, 0), entry["collective_seq_id"])
    calls = sum(begun.values()) + distributed.Rounds.begun
    if distributed.Rounds.is_open:
        return Account(calls, distributed.largest_of_all.__name__, True, _where())
    last = max(entries, key=lambda entry: entry["time_created_ns"], default=None)
    is_open = last is not None and not last["retired"] and last["state"] != "completed"
    return Account(calls, _in_words(last) if last else "", waits or is_open, _where())


def _rings() -> Iterator[dict[str, Any]]:
    """Of gloo, and of NCCL where torch was built with it."""
    for name in ("_dump_fr_trace_json", "_dump_nccl_trace_json"):
        dump = getattr(_recorder(), name, None)
        if dump is not None:
            yield json.loads(dump())


def _recorder() -> Any:
    return torch._C._distributed_c10d


def _in_words(entry: Mapping[str, Any]) -> str:
    """
    >>> _in_words({"profiling_name": "gloo:all_reduce", "input_sizes": [[2, 3000]], "input_dtypes": ["Float"]})
    'all_reduce of 2 x 3000 float'
    """
    name = entry["profiling_name"].rpartition(":")[2]
    if not entry["input_sizes"]:
        return str(name)
    size = " x ".join(map(str, entry["input_sizes"][0])) or "1"
    return f"{name} of {size} {entry['input_dtypes'][0].lower()}"


def _where() -> str:
    """The innermost place of the main thread that is in this package, else the innermost one."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    innermost = frame
    while frame is not None and not Path(frame.f_code.co_filename).is_relative_to(PACKAGE):
        frame = frame.f_back
    return _place(frame or innermost)


def _place(frame: FrameType | None) -> str:
    if frame is None:
        return "an unknown place"
    path = Path(frame.f_code.co_filename)
    name = path.relative_to(PACKAGE.parent).as_posix() if path.is_relative_to(PACKAGE) else path.name
    return f"{name}:{frame.f_lineno} ({frame.f_code.co_name})"


def leave_traces(rank: int, by_torch: bool = False) -> None:
    """Write the ring and the stacks of this process where they belong, as `rank_3` and `stack_3.txt`.

    Args:
        rank: of this process.
        by_torch: torch itself writes the ring, which is NCCL's.
    """
    prefix = _prefix()
    if prefix is None:
        return
    with suppress(OSError, RuntimeError, UserError):  # the account is what matters
        folder = Path(prefix).parent
        folder.mkdir(exist_ok=True)
        with open(folder / f"stack_{rank}.txt", "w", encoding="utf-8") as stacks:
            faulthandler.dump_traceback(stacks)
        if not by_torch:
            write_whole(Path(f"{prefix}{rank}"), _write_ring)


def _write_ring(path: Path) -> None:
    """gloo's ring, as `torchfrtrace` reads it: torch leaves out the names of gloo's groups, without which it fails."""
    trace = pickle.loads(_recorder()._dump_fr_trace())  # made by this process
    groups: dict[Any, dict[int, int]] = dist.distributed_c10d._world.pg_group_ranks
    ranks = {group.group_name: sorted(ranks) for group, ranks in groups.items()}
    trace["pg_config"] = {
        name: {"name": name, "desc": description, "ranks": str(ranks.get(name, []))}
        for name, description in {tuple(entry["process_group"]) for entry in trace.get("entries", [])}
    }
    path.write_bytes(pickle.dumps(trace))


def traces_lie() -> str:
    """Where, as a part of a sentence; "" where they are nowhere."""
    prefix = _prefix()
    if prefix is None or not Path(prefix).parent.is_dir():
        return ""
    return f"; what each did last: {_shown(Path(prefix).parent)}"


def _shown(folder: Path) -> str:
    with suppress(ValueError):
        return str(folder.relative_to(Path.cwd()))
    return str(folder)


def who_lags(accounts: Sequence[Account | None], hosts: list[str], minutes: float) -> str:
    """Which processes the others wait for, as one sentence.

    Args:
        accounts: of each process; None of one that gave none.
        hosts: the machine of each.

    >>> waiting, reading = Account(812, "all_reduce of 6000 float", True, ""), Account(811, "", False, "loader.py:214")
    >>> who_lags([waiting, reading, waiting], ["a", "a", "b"], 30)
    'process 1 on a did not come within 30 minutes: it stands at loader.py:214, 1 call before the others, which wait in call 812 (all_reduce of 6000 float)'
    """  # noqa: E501
    late = f"did not come within {minutes:g} minutes"
    silent = [rank for rank, each in enumerate(accounts) if each is None]
    if silent:
        return f"{named(silent, hosts)} {late} and gave no answer: hung, stopped, or the machine is gone"
    given = [each for each in accounts if each is not None]
    most = max(given, key=lambda each: (each.calls, each.waits))
    call = f"call {most.calls} ({most.last})"
    behind = [rank for rank, each in enumerate(given) if each.calls < most.calls]
    lagging = behind or [rank for rank, each in enumerate(given) if not each.waits]
    if not lagging:
        return f"{call}, to which all processes came, did not end within {minutes:g} minutes: what they send is lost"
    first = given[lagging[0]]
    where = f"{'it stands' if len(lagging) == 1 else 'the first of them stands'} at {first.stands}"
    missing = most.calls - first.calls
    before = f", {counted(missing, 'call')} before the others, which wait in {call}" if missing else ""
    return f"{named(lagging, hosts)} {late}: {where}{before}"
