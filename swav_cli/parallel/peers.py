"""What the other processes of one piece of work are told when one of them ends or lags, and how the rest end with it.

gloo's sockets break with a process, and whoever waits for it gets an error at once. Whoever waits for it inside a GPU's
queue, as with NCCL, hears nothing and can do nothing: a thread of its own asks whether one has ended, and ends it. The
same thread gives an account of its process where another has waited too long, whatever the process is at.
"""

from __future__ import annotations

import atexit
import gc
import os
import socket
import sys
import threading
import time
from contextlib import suppress

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from swav_cli.errors import PeerLost
from swav_cli.parallel import distributed
from swav_cli.parallel.flight import Account, account, leave_traces, talks_by_nccl, traces_lie, who_lags

ENDED, GONE, SIGNAL, LATE, HOST, ACCOUNT = "ended", "gone", "signal", "late", "host", "account"  # keys of the store
LATE_BY_NCCL = "exception_dump"  # what torch writes into the store itself where a call of NCCL has timed out
ASKED_EVERY = 1.0  # seconds
TIME_TO_AGREE = 20.0  # seconds in which all processes meet what they meet alike
TIME_TO_END = 5.0  # seconds in which a process ends by itself once another has ended
TIME_TO_ANSWER = 5.0  # seconds in which every process gives an account of itself
TIME_TO_WRITE = 5.0  # seconds in which torch has written what it knows of NCCL's calls; it ends us in a minute


class Peers:
    """The other processes, as far as their common store tells.

    Args:
        store: in which all of them read and write.
        minutes: after which a call between them times out.
    """

    def __init__(self, store: Store, minutes: float) -> None:
        self.store, self.minutes = store, minutes
        self._rank, self._world = distributed.rank(), distributed.world_size()
        store.set(f"{HOST} {self._rank}", socket.gethostname())
        distributed.Rounds.begun, distributed.Rounds.is_open = 0, False
        self._over = threading.Event()
        self._answering, self._has_answered = threading.Lock(), False
        # A connection of its own: another thread may hold the first one while it waits for what never comes.
        self._watching = threading.Thread(target=self._watch, args=(store.clone(),), daemon=True)
        self._watching.start()

    def leave(self, failed: bool) -> None:
        """Part from the others; where this process has failed, they are told, and it waits for none of them."""
        self._over.set()
        if not failed:
            with suppress(RuntimeError):  # the others may be gone
                distributed.largest_of_all(0)  # nobody asks the common store any more once one of them may leave
            with suppress(RuntimeError):
                dist.destroy_process_group()
            _let_go_of_the_group()
            self._watching.join(TIME_TO_END)
            return
        with suppress(RuntimeError):
            if not self.store.check([ENDED]):
                self.store.set(ENDED, f"process {self._rank} on {socket.gethostname()}")
            self.store.set(f"{GONE} {self._rank}", "")
        atexit.register(_let_go_of_the_group)  # not now, while the error holds whatever was at work
        on_gpus = talks_by_nccl()
        if not on_gpus:
            _break_off()  # sockets tell the others at once
        if on_gpus or self._keeps_store:
            # It tells its reason and then ends behind the others. Where NCCL finds a peer gone it ends its process with
            # an account of C++ in place of our line, and the store ends with the process that keeps it.
            may_part = threading.Event()

            def part() -> None:
                may_part.wait()
                _break_off()

            # NCCL's shutdown waits for whatever is in the queue, and so for peers that may wait for this process; hence
            # in a thread, which Python starts no more once it ends.
            parting = threading.Thread(target=part, daemon=True)
            parting.start()
            atexit.register(self._end_behind_the_others, may_part, parting)

    @property
    def _keeps_store(self) -> bool:
        """The store ends with this process."""
        return self._rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"

    def _end_behind_the_others(self, may_part: threading.Event, parting: threading.Thread) -> None:
        self._let_the_others_end()
        may_part.set()
        parting.join(TIME_TO_END)

    def _let_the_others_end(self) -> None:
        others = [f"{GONE} {rank}" for rank in range(self._world) if rank != self._rank]
        end = time.monotonic() + TIME_TO_END + 2 * ASKED_EVERY
        with suppress(RuntimeError):
            while not self.store.check(others) and time.monotonic() < end:
                time.sleep(0.05)

    def ended(self) -> str:
        """Who has ended and told so, in words."""
        with suppress(RuntimeError):
            if self.store.check([ENDED]):
                return str(self.store.get(ENDED).decode())
        return "another process of this run"

    def is_first_to_say(self, what: str) -> bool:
        """Whether this process is the first that has this to say; then it is the one that prints it."""
        try:
            return bool(self.store.add(f"said {what}", 1) == 1)
        except RuntimeError:  # the process that keeps the store is gone: rather twice than never
            return True

    def signal(self, received: int) -> int:
        """A signal that has reached this process, else one that has reached another; 0 where none has.

        No process waits for another here, as it would in a reduction, so that each may ask as often as it likes.
        """
        with suppress(RuntimeError):
            if received:
                self.store.set(SIGNAL, str(received))
            elif self.store.check([SIGNAL]):
                return int(self.store.get(SIGNAL))
        return received

    def all_meet(self, what: str) -> bool:
        """Whether every process says that it meets this, once and within some seconds."""
        with suppress(RuntimeError):
            self.store.add(f"met {what}", 1)
            end = time.monotonic() + TIME_TO_AGREE
            while time.monotonic() < end:
                if self.store.add(f"met {what}", 0) == self._world:
                    return True
                time.sleep(0.02)
        return False

    def lost(self) -> PeerLost:
        return PeerLost(f"{self.ended()} has ended, and all end with it. Go on with the same command")

    def late(self) -> PeerLost:
        """What is to be said where a call has timed out in this process: who lags, and where."""
        with suppress(RuntimeError):  # the process that keeps the store is gone
            self._answer(self.store, waits=True)
            return self._who_lags(self.store)
        return self.lost()

    def _who_lags(self, store: Store) -> PeerLost:
        """To be asked once this process has answered."""
        store.set(LATE, "")
        keys = [f"{ACCOUNT} {rank}" for rank in range(self._world)]
        end = time.monotonic() + TIME_TO_ANSWER
        while not store.check(keys) and time.monotonic() < end:
            if store.check([ENDED]):
                return self.lost()
            time.sleep(0.05)
        answers = [Account.from_json(store.get(key).decode()) if store.check([key]) else None for key in keys]
        hosts = [store.get(f"{HOST} {rank}").decode() for rank in range(self._world)]
        said = who_lags(answers, hosts, self.minutes)
        return PeerLost(f"{said}; all end{traces_lie()}. Go on with the same command")

    def _answer(self, store: Store, waits: bool = False, by_torch: bool = False) -> None:
        """Leave what is known of this process's calls, and give an account of it, once."""
        with self._answering:
            if not self._has_answered:
                leave_traces(self._rank, by_torch)
            if not self._has_answered or waits:  # the ring takes what has timed out here for ended
                store.set(f"{ACCOUNT} {self._rank}", account(waits).to_json())
            self._has_answered = True

    def _watch(self, store: Store) -> None:
        """Answer where another waits too long. End this process where another has ended and this one doesn't notice."""
        with suppress(RuntimeError):  # the process that keeps the store is gone: sockets tell
            while not self._over.wait(ASKED_EVERY):
                if store.check([ENDED]):
                    break
                is_late = not self._has_answered and store.check([LATE])  # which comes after NCCL's own word
                if talks_by_nccl() and _shared(store).check([LATE_BY_NCCL]):
                    self._end_late(store)
                elif is_late:
                    self._answer(store)
        if not self._over.wait(TIME_TO_END):
            self._end(self.lost())

    def _end_late(self, store: Store) -> None:
        """A call of NCCL has timed out, in this process or another; who waits for it in a GPU's queue hears nothing."""
        self._answer(store, by_torch=True)
        error = self._who_lags(store)
        if not self._over.wait(TIME_TO_WRITE):
            self._end(error)

    def _end(self, error: PeerLost) -> None:
        if self.is_first_to_say(PeerLost.__name__):
            print(f"swav: {error}", file=sys.stderr, flush=True)
        with suppress(RuntimeError):
            self.store.set(f"{GONE} {self._rank}", "")
        if self._keeps_store:
            self._let_the_others_end()
        os._exit(error.exit_code)


def forget_time_outs(store: Store) -> None:
    """Those of processes that the same launcher had started before: by them NCCL would take these for late as well."""
    with suppress(RuntimeError):
        _shared(store).delete_key(LATE_BY_NCCL)


def _shared(store: Store) -> Store:
    """The store below all names that are put before its keys."""
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return store


def _let_go_of_the_group() -> None:
    """What still holds the group goes, such as a network whose parts hold each other, and with it gloo's threads.

    One that outlives Python ends the process by SIGABRT where it lets go of a tensor too late.
    """
    gc.collect()


def _break_off() -> None:
    """Part without a farewell."""
    if not dist.is_initialized():
        return
    with suppress(RuntimeError):
        if dist.group.WORLD is not None:
            dist.group.WORLD.abort()
    with suppress(RuntimeError):
        dist.destroy_process_group()
