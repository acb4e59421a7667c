"""How far the indexing of shards is, on standard error, where it takes longer than a moment."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

QUIET_SECONDS = 1.0  # before anything is said
PLAIN_SECONDS = 15.0  # between lines where there is no terminal


class Stopped(Exception):
    """Ends a thread whose work is no longer wanted."""


class Progress:
    """Counts the bytes that threads have passed; a bar on a terminal, a plain line now and then elsewhere."""

    def __init__(self, shards: int, total: int) -> None:
        self.shards, self.total, self.done = shards, total, 0
        self._lock = threading.Lock()
        self._is_stopped = False
        self._next_line = time.monotonic() + QUIET_SECONDS
        self._started = time.monotonic()
        self._bar: tqdm[Any] | None = None
        self._speaks = os.environ.get("RANK", "0") == "0"  # the first of several processes speaks for all

    def __enter__(self) -> Progress:
        if self._speaks and sys.stderr.isatty():
            self._bar = tqdm(
                total=self.total, unit="B", unit_scale=True, desc="indexing shards", delay=QUIET_SECONDS, leave=False,
                dynamic_ncols=True,
            )  # fmt: skip
        return self

    def stop(self) -> None:
        """Let threads end where they next tell how far they are: after a mistake, or at Ctrl-C."""
        self._is_stopped = True

    def advance(self, count: int) -> None:
        if self._is_stopped:
            raise Stopped
        with self._lock:
            self.done += count
            if self._bar is not None:
                self._bar.update(count)
            elif self._speaks and time.monotonic() > self._next_line:
                self._next_line = time.monotonic() + PLAIN_SECONDS
                self._say(f"indexing shards, {self.shards:,} in all: {self.done / max(1, self.total):.0%}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        seconds = time.monotonic() - self._started
        if self._speaks and error is None and seconds > QUIET_SECONDS:
            self._say(f"indexed {self.shards:,} {'shard' if self.shards == 1 else 'shards'} in {seconds:.0f} s")

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
