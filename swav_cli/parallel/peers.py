"""What the other processes of one piece of work are told when one of them ends, and how the rest end with it.

gloo's sockets break with a process, and whoever waits for it gets an error at once. Whoever waits for it inside a GPU's
queue, as with NCCL, hears nothing and can do nothing: a thread of its own asks whether one has ended, and ends it.
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
from torch.distributed.distributed_c10d import Store

from swav_cli.errors import PeerLost
from swav_cli.parallel import distributed

ENDED, GONE, SIGNAL = "ended", "gone", "signal"  # keys of the common store
ASKED_EVERY = 1.0  # seconds
TIME_TO_AGREE = 20.0  # seconds in which all processes meet what they meet alike
TIME_TO_END = 5.0  # seconds in which a process ends by itself once another has ended


class Peers:
    """The other processes, as far as their common store tells.

    Args:
        store: in which all of them read and write.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._rank, self._world = distributed.rank(), distributed.world_size()
        self._over = threading.Event()
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
        on_gpus = dist.is_initialized() and "nccl" in str(dist.get_backend_config())
        keeps_store = self._rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        if not on_gpus:
            _break_off()  # sockets tell the others at once
        if on_gpus or keeps_store:
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

    def _end_behind_the_others(self, may_part: threading.Event, parting: threading.Thread) -> None:
        others = [f"{GONE} {rank}" for rank in range(self._world) if rank != self._rank]
        end = time.monotonic() + TIME_TO_END + 2 * ASKED_EVERY
        with suppress(RuntimeError):
            while not self.store.check(others) and time.monotonic() < end:
                time.sleep(0.05)
        may_part.set()
        parting.join(TIME_TO_END)

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

    def _watch(self, store: Store) -> None:
        """End this process where another has ended and this one doesn't notice."""
        with suppress(RuntimeError):  # the process that keeps the store is gone: sockets tell
            while not self._over.wait(ASKED_EVERY):
                if store.check([ENDED]):
                    break
        if self._over.wait(TIME_TO_END):
            return
        error = self.lost()
        if self.is_first_to_say(PeerLost.__name__):
            print(f"swav: {error}", file=sys.stderr, flush=True)
        with suppress(RuntimeError):
            self.store.set(f"{GONE} {self._rank}", "")
        os._exit(error.exit_code)


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
