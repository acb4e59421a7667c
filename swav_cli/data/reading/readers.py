"""The processes that read pictures: what they make, and what is said when one of them is killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.popen_fork import Popen
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader

from swav_cli.errors import UserError

GRACE = 1.0  # seconds in which the end of a process becomes known after its connection broke
LACK = "a lack of shared memory or of open files"
LACK_CODE = 75  # how a process ends that can't hand a batch over
LIKELY = {"SIGKILL": " (out of memory?)", "SIGBUS": " (shared memory full?)"}
HAS_SIGCHLD = hasattr(signal, "SIGCHLD")  # not on Windows


class Killed(UserError):
    """A process that reads pictures was ended from outside."""

    def __init__(self, by: str) -> None:
        self.by = by
        super().__init__(
            f"a process that reads pictures was ended by {by}{LIKELY.get(by, '')}; use fewer --workers, or give more "
            "memory"
        )


class Readers(Iterator[Any]):
    """A loader's batches. Its processes, if any, start at once and end with `close` or with the last batch.

    A batch whose process is killed raises Killed, in `next` and nowhere else. torch's own handler of SIGCHLD raises
    wherever the main thread happens to be, which may be in the middle of a training step, and where it doesn't, a
    process that was killed halfway through a message leaves its reader waiting for the rest of it for ever.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        others = set(multiprocessing.active_children())
        handler = signal.getsignal(signal.SIGCHLD) if HAS_SIGCHLD else None
        try:
            self._batches: Iterator[Any] = iter(loader)
        finally:
            if _handles_signals():
                signal.signal(signal.SIGCHLD, handler or signal.SIG_DFL)
        self._processes = [child for child in multiprocessing.active_children() if child not in others]
        self._one_more_ended = False

    def __next__(self) -> Any:
        with self._watching():
            self._check()
            try:
                return next(self._batches)
            except (UserError, StopIteration):
                raise
            except Exception:
                self._check_for(GRACE if self._processes else 0)
                raise  # a mistake of ours

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        """Within it, the end of a process is noticed at once, even while the main one waits for a batch."""
        if not _handles_signals():
            yield  # torch looks at its processes every five seconds
            return
        before = signal.signal(signal.SIGCHLD, self._on_an_end)
        try:
            yield
        finally:
            signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)

    def _on_an_end(self, _: int, interrupted: FrameType | None) -> None:
        # An error raised while a process is asked for its exit code loses the code, which the system tells once: the
        # process would count as running for good. Whoever asks there goes on, and hears of this end as well.
        if _is_asking(interrupted):
            self._one_more_ended = True
        else:
            self._check()

    def _check_for(self, seconds: float) -> None:
        """A connection breaks before the end of its process is known."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._check()
            time.sleep(0.01)

    def _check(self) -> None:
        self._one_more_ended = True
        while self._one_more_ended:
            self._one_more_ended = False
            codes = [process.exitcode for process in self._processes]
        for code in codes:
            if code not in (None, 0, -signal.SIGTERM):  # which is how torch ends those that don't end by themselves
                raise Killed(_who(code))

    def close(self) -> None:
        """End the processes now; left to the garbage collector it would take up to five seconds."""
        if any(process.exitcode for process in self._processes):
            self._end_beside_a_killed_one()
        self._processes = []
        end = getattr(self._batches, "_shutdown_workers", None)  # the loader's own iterator has no public way
        if end is not None:
            end()
        self._batches = iter(())

    def _end_beside_a_killed_one(self) -> None:
        """End the others from outside.

        To tell them, torch sets an event whose lock the killed one may have held: the main process would wait for ever.
        """
        for process in self._processes:
            process.kill()
            process.join()
        self._batches._workers_done_event = multiprocessing.Event()  # type: ignore[attr-defined]


def _who(code: int) -> str:
    if code == LACK_CODE:
        return LACK
    return signal.Signals(-code).name if code < 0 else f"itself with exit code {code}"


def end_for_lack(error: Exception, batch: object) -> None:
    """What a process does with a batch that it can't send."""
    os._exit(LACK_CODE)


def _is_asking(frame: FrameType | None) -> bool:
    """Whether a process is being asked for its exit code there."""
    while frame is not None and frame.f_code is not Popen.poll.__code__:
        frame = frame.f_back
    return frame is not None


def _handles_signals() -> bool:
    return HAS_SIGCHLD and threading.current_thread() is threading.main_thread()
