"""How far a command is with many pictures: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from swav_cli.report.printable import printable_lines

if TYPE_CHECKING:
    from tqdm import tqdm

PLAIN_SECONDS = 15.0  # between lines where there is no terminal


class Progress:
    """Tells on standard error; called with pictures done and pictures in all.

    Args:
        speaks: False for all but the first of several processes.
        bar: False where something else is written to the same terminal.
    """

    def __init__(self, speaks: bool = True, bar: bool = True) -> None:
        self.speaks, self.bar = speaks, bar
        self._shown: tqdm[Any] | None = None
        self._started: tuple[float, int] | None = None
        self._said_at = time.monotonic()

    def notice(self, text: str) -> None:
        if self.speaks:
            print(printable_lines(text), file=sys.stderr, flush=True)

    def __call__(self, done: int, count: int) -> None:
        if not self.speaks:
            return
        now = time.monotonic()
        since, before = self._started = self._started or (now, done)
        if sys.stderr.isatty():
            if self.bar:
                self._show(done, count)
        elif now - self._said_at > PLAIN_SECONDS and done > before:
            self._said_at = now
            self.notice(f"{done:,} of {count:,} pictures, {(done - before) / (now - since):,.0f} a second")

    def _show(self, done: int, count: int) -> None:
        from tqdm import tqdm

        if self._shown is None:
            self._shown = tqdm(total=count, initial=done, unit=" pictures", dynamic_ncols=True, leave=False)
        self._shown.update(done - self._shown.n)

    def close(self) -> None:
        if self._shown is not None:
            self._shown.close()
