"""Processes that torchrun, srun or `--devices` started for one piece of work: joined, told apart, ended together."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from itertools import count
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from swav_cli.errors import Interrupted, MemoryFull, PeerLost, UserError, is_memory_full
from swav_cli.parallel import distributed
from swav_cli.parallel.flight import forget_folder, switch_on
from swav_cli.parallel.gpus import refuse_shared_gpus, taken_gpu
from swav_cli.parallel.peers import Peers, forget_time_outs
from swav_cli.parallel.place import check_environment

T = TypeVar("T")
_PEERS: list[Peers] = []  # the others, while they are joined
_MEETINGS = count()  # a program may join its processes several times, each time anew
CPU = torch.device("cpu")
LONG = 60 * 24 * 30.0  # minutes: one that has finished its share waits for the slowest, however long
MEETING = 30.0  # minutes: all of them are started at about the same time
# How gloo and NCCL tell that a process they talk to is gone, or has not come.
GONE = (
    "connection closed", "connection reset", "connection refused", "broken pipe", "remote process exited",
    "communicator was aborted",
)  # fmt: skip
TAKEN = ("eaddrinuse", "address already in use")
LATE = ("timed out", "timeout", "time out")


@contextmanager
def joined_processes(where: torch.device = CPU, minutes: float = LONG) -> Iterator[None]:
    """Where several processes were started for the work, join the others for as long as it lasts.

    What goes wrong in all of them is told once: the error of all others is marked as told. What goes wrong in one ends
    the others.

    Args:
        where: the device of this process; on CUDA the processes talk by NCCL, and by gloo about what lies in memory.
        minutes: after which processes no longer wait for one that does not come.

    Raises:
        UserError: the launcher's variables make no sense, or two processes have taken one GPU.
        PeerLost: another process ended, or did not come in time.
        MemoryFull: this process has no room for its pictures.
    """
    if dist.is_initialized() or check_environment() == 1:
        yield
        return
    peers = Peers(_join(where, minutes), minutes)
    _PEERS.append(peers)
    failed = True
    try:
        refuse_shared_gpus(taken_gpu(where))
        yield
        failed = False
    except (UserError, Interrupted) as error:
        error.told = not peers.is_first_to_say(str(error))
        raise
    except RuntimeError as error:
        known = MemoryFull() if is_memory_full(error) else _explain(peers, error)
        if known is None:
            raise
        known.told = not peers.is_first_to_say(PeerLost.__name__ if isinstance(known, PeerLost) else str(known))
        raise known from None
    finally:
        _PEERS.remove(peers)
        peers.leave(failed)
        forget_folder()


def _join(where: torch.device, minutes: float) -> Store:
    # Their functions have the group of all processes as a default: imported later, as torch's compiler does, they would
    # hold it for good.
    import_module("torch.distributed.nn.functional")
    switch_on()
    timeout = timedelta(minutes=minutes)
    meeting = timedelta(minutes=min(minutes, MEETING))
    try:
        store, rank, world = interruptibly(lambda: next(iter(rendezvous("env://", timeout=meeting))))
        # What processes that died had written there must not be taken for what these have to say.
        if rank == 0:
            forget_time_outs(store)  # all others wait for this process before they look
        store = PrefixStore(f"swav {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)} {next(_MEETINGS)}", store)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo",
            store=store, rank=rank, world_size=world, timeout=timeout,
        )  # fmt: skip
    except RuntimeError as error:
        text, place = str(error).lower(), f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        if any(word in text for word in TAKEN):
            raise UserError(
                f"{place}: another program listens where the processes are to meet; set MASTER_PORT to a free port"
            ) from None
        if not any(word in text for word in (*LATE, *GONE)):
            raise
        raise PeerLost(
            f"the {os.environ['WORLD_SIZE']} processes did not all meet at {place} within "
            f"{meeting.total_seconds() / 60:g} minutes; is each of them started, and can they reach each other?"
        ) from None
    return store


def interruptibly(wait: Callable[[], T]) -> T:
    """What a wait inside torch comes to. Python hears no signal in there, so that Ctrl-C would count for nothing."""
    box: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            box.append(wait())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if errors:
        raise errors[0]
    return box[0]


def _explain(peers: Peers, error: RuntimeError) -> PeerLost | None:
    """What became of the other processes, where the error tells of one that is gone or late; else None."""
    text = str(error).lower()
    if any(word in text for word in LATE):
        return peers.late()
    if not any(word in text for word in GONE):
        return None
    time.sleep(1)  # so that one that fails with a reason of its own tells it first
    return peers.lost()


def signal_of_any(received: int) -> int:
    """A signal that has reached this process, else one that has reached another of those joined; see `Peers.signal`."""
    return _PEERS[-1].signal(received) if _PEERS else received


def met_by_all(what: str) -> bool:
    """Whether an error that this process has met is one of all those joined. Who is alone with it has left the others
    waiting within the work, and must not go on to more of it.

    Args:
        what: names the occasion; no two of a run have the same.
    """
    return distributed.world_size() == 1 or (bool(_PEERS) and _PEERS[-1].all_meet(what))


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
