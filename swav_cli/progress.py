"""How far a piece of work is: a bar on a terminal, a plain line now and then elsewhere; all on standard error."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from swav_cli.printable import printable_lines

if TYPE_CHECKING:
    from tqdm import tqdm

PLAIN_SECONDS = 15.0  # between lines where there is no terminal


def say(text: str) -> None:
    """A line on standard error, above whatever bar there is."""
    from tqdm import tqdm

    tqdm.write(printable_lines(text), file=sys.stderr)


def new_bar(count: int | None, done: int, unit: str, **more: Any) -> tqdm[Any]:
    """On standard error; without a known end where no count is given."""
    from tqdm import tqdm

    return tqdm(total=count, initial=done, unit=unit, file=sys.stderr, dynamic_ncols=True, leave=False, **more)


class Progress:
    """Shows how much is done; called with that and with how much there is, which changes with the next piece of work.

    Where 0 is how much there is, nobody knows, and a bar alone tells how much has come.

    >>> progress = Progress("pictures")
    >>> progress(100, 5000)
    >>> progress.close()

    Args:
        unit: what is counted; "B" are bytes, shown as a share.
        what: is done, in words, where the unit alone doesn't tell.
        after: seconds in which nothing is shown.
    """

    def __init__(self, unit: str, what: str = "", after: float = 0.0) -> None:
        self.unit, self.what, self.after = unit, what, after
        self._bar: tqdm[Any] | None = None
        self._count = -1
        self._began = 0.0
        self._before = 0  # was done before

    def __call__(self, done: int, count: int) -> None:
        now = time.monotonic()
        if count != self._count:
            self.close()
            self._count, self._began, self._before = count, now, done
            self._next_line = now + (self.after or PLAIN_SECONDS)
        if sys.stderr.isatty():
            if self._bar is None:
                is_bytes = self.unit == "B"
                unit = "B" if is_bytes else f" {self.unit}"
                self._bar = new_bar(
                    count or None, done, unit, desc=self.what or None, delay=self.after, unit_scale=is_bytes
                )
            self._bar.update(done - self._bar.n)
        elif count and now > self._next_line and done > self._before:
            self._next_line = now + PLAIN_SECONDS
            say(self._line(done, now))

    def _line(self, done: int, now: float) -> str:
        what = f"{self.what}: " if self.what else ""
        if self.unit == "B":
            return f"{what}{done / self._count:.0%}"
        rate = (done - self._before) / (now - self._began)
        return f"{what}{done:,} of {self._count:,} {self.unit}, {rate:,.0f} a second"

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
