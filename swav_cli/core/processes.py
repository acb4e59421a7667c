"""Processes that torchrun, srun or `--devices` started for one piece of work: joined, told apart, ended together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from swav_cli.core import distributed
from swav_cli.core.checkpoint import RunFolder, only_process_in
from swav_cli.errors import Interrupted, MemoryFull, PeerLost, UserError, is_memory_full

T = TypeVar("T")
_MEETINGS = count()  # a program may join its processes several times, each time anew
LONG = 60 * 24 * 30.0  # minutes: one that has finished its share waits for the slowest, however long
GRACE = 5.0  # seconds in which processes tell each other what happened to them
# How gloo and NCCL tell that a process they talk to is gone, or has not come.
GONE = (
    "connection closed", "connection reset", "connection refused", "broken pipe", "remote process exited",
    "communicator was aborted",
)  # fmt: skip
LATE = ("timed out", "timeout", "time out")


@contextmanager
def joined_processes(device: str = "cpu", minutes: float = LONG) -> Iterator[None]:
    """Where several processes were started for the work, join the others for as long as it lasts.

    What goes wrong in all of them is told once: the error of all others is marked as told.

    Args:
        device: auto, cpu, cuda or mps; on CUDA the processes talk by NCCL, and by gloo about what lies in memory.
        minutes: after which processes no longer wait for one that does not come.

    Raises:
        PeerLost: another process ended without a word, or did not come in time.
        MemoryFull: this process has no room for its pictures.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or "RANK" not in os.environ or dist.is_initialized():
        yield
        return
    store = _join(device, minutes)
    try:
        yield
    except (UserError, Interrupted) as error:
        error.told = not _first_to_say(store, str(error))
        raise
    except RuntimeError as error:
        known = MemoryFull() if is_memory_full(error) else _explain(store, error, minutes)
        if known is None:
            raise
        known.told = not _first_to_say(store, str(known))
        raise known from None
    finally:
        with suppress(RuntimeError):  # the others may be gone
            dist.destroy_process_group()


def _join(device: str, minutes: float) -> Store:
    where = distributed.pick_device(own_gpu(device))
    if where.type == "cuda":
        torch.cuda.set_device(where)
    timeout = timedelta(minutes=minutes)
    try:
        store, rank, world = next(iter(rendezvous("env://", timeout=timeout)))
        # What processes that died had written there must not be taken for what these have to say.
        store = PrefixStore(f"swav {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)} {next(_MEETINGS)}", store)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo",
            store=store, rank=rank, world_size=world, timeout=timeout,
        )  # fmt: skip
    except RuntimeError as error:
        if not any(word in str(error).lower() for word in (*LATE, *GONE)):
            raise
        raise PeerLost(
            f"the {os.environ['WORLD_SIZE']} processes did not all meet at {os.environ.get('MASTER_ADDR')} within "
            f"{minutes:g} minutes; is each of them started, and can they reach each other?"
        ) from None
    return store


def _first_to_say(store: Store, message: str) -> bool:
    """Whether this process is the first that has this to say; then it is the one that prints it."""
    try:
        return bool(store.add(f"said {message}", 1) == 1)
    except RuntimeError:  # the process that keeps the store is gone: rather twice than never
        return True


def _explain(store: Store, error: RuntimeError, minutes: float) -> PeerLost | None:
    """What became of the other processes, where the error tells of one that is gone or late; else None."""
    text = str(error).lower()
    late = any(word in text for word in LATE)
    if not late and not any(word in text for word in GONE):
        return None
    with suppress(RuntimeError):
        store.set(f"here {distributed.rank()}", "")
    time.sleep(GRACE if late else 1)  # so that one that fails with a reason of its own tells it first
    if not late:
        return PeerLost("another process of this run has ended, and all end with it. Go on with the same command")
    missing = [rank for rank in range(distributed.world_size()) if not _is_here(store, rank)]
    names = f"processes {', '.join(map(str, missing))} of {distributed.world_size()} did" if missing else "one did"
    return PeerLost(f"{names} not come within {minutes:g} minutes; all end. Go on with the same command")


def _is_here(store: Store, rank: int) -> bool:
    try:
        return bool(store.check([f"here {rank}"]))
    except RuntimeError:
        return False


def first_decides(decide: Callable[[], T]) -> T:
    """What the first process finds, or the error that it meets, in all of them."""
    if distributed.world_size() == 1:
        return decide()
    box: list[Any] = [None, None, 0]  # what was found, or an error's message and its signal
    if distributed.rank() == 0:
        try:
            box[0] = decide()
        except UserError as error:
            box[1] = str(error)
        except Interrupted as stop:
            box[1:] = str(stop), stop.exit_code - 128
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    found, message, signal_number = box
    if message is not None:
        raise Interrupted(message, signal_number) if signal_number else UserError(message)
    return found  # type: ignore[no-any-return]


@contextmanager
def only_run_in(folder: RunFolder) -> Iterator[None]:
    """`only_process_in` for all processes of a run: the first one holds the folder, and what it meets, all meet."""
    with ExitStack() as held:
        first_decides(lambda: held.enter_context(only_process_in(folder)))
        yield


def is_first() -> bool:
    """Whether this is the first of the processes that were started, joined yet or not: the one that speaks."""
    return os.environ.get("RANK", "0") == "0"


def was_restarted() -> bool:
    """Whether torchrun started the processes anew, after one of them died: then work goes on and never begins again."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def own_gpu(device: str) -> str:
    """Of several processes on a machine, each takes a GPU of its own.

    Raises:
        UserError: there are more processes than GPUs.
    """
    local = os.environ.get("LOCAL_RANK")
    if local is None or device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    if int(local) >= torch.cuda.device_count():
        raise UserError(
            f"{os.environ.get('LOCAL_WORLD_SIZE', 'several')} processes on a machine with {torch.cuda.device_count()} "
            "GPUs: start one a GPU, or use --device cpu"
        )
    return f"cuda:{local}"
