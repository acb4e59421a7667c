"""One command's work on a folder of parts, as each engine is given it, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from swav_cli.core.weights import Model
from swav_cli.errors import Interrupted, Notice, Told, UserError, counted
from swav_cli.evaluate.extraction.extract import ExtractRequest
from swav_cli.evaluate.extraction.parts import Parts


class Made(NamedTuple):
    """What came of the work."""

    there_before: int  # parts
    unreadable: dict[int, str]  # files of which no part could be made, by number, and why


class Job(NamedTuple):
    """One command's work, all of it checked as far as one process can."""

    parts: Parts
    model: Model
    request: ExtractRequest
    notice: Notice
    progress: Told  # of bytes of files whose parts are there


def tell_begun(job: Job, before: int) -> None:
    count = len(job.parts.numbers)
    if before and before < count:
        job.notice(f"going on: {before:,} of {counted(count, 'part')} are there")


def refuse_stopped(parts: Parts, made: Made, received: int) -> None:
    """
    Raises:
        Interrupted: a signal came before all was made.
    """
    done = len(parts.there() & set(parts.numbers))
    if received and done + len(made.unreadable) < len(parts.numbers):
        count = counted(len(parts.numbers), "part")
        raise Interrupted(f"stopped at {done:,} of {count}; what is there is kept", received)


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """A full disk and the like in one line."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder}: can't be written ({error.strerror or error}); parts so far are kept, so mend that and go on "
            "with the same command"
        ) from None
