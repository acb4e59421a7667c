"""Work in a process of its own: what ends that process, such as a lack of memory or of time, ends nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from swav_cli.errors import first_line, silent

PATIENCE = 0.2  # seconds between two looks at a process


class ProcessFailed(Exception):
    """The process ended without a word, or did not end."""


def in_own_process(
    work: Callable[..., Any], arguments: tuple[Any, ...], seconds: float, progress: Callable[[], object] = silent
) -> Any:
    """What a function returns that another process calls; it and all that it has started end with this process.

    Args:
        work, arguments: of a module, and plain values: they are sent.
        seconds: that it may take.
        progress: called now and then.

    Raises:
        ProcessFailed: with the reason.
    """
    context = multiprocessing.get_context("spawn")  # a GPU does not outlive a fork
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, work, arguments), daemon=True)
    process.start()
    there.close()
    ended = time.monotonic() + seconds
    try:
        while not here.poll(PATIENCE):
            progress()
            if time.monotonic() > ended:
                raise ProcessFailed("it took too long")
        failed, answer = here.recv()
    except EOFError:
        process.join(PATIENCE)
        raise ProcessFailed(f"its process ended with exit code {process.exitcode}") from None
    finally:
        _end(process)
        here.close()
    if failed:
        raise ProcessFailed(failed)
    return answer


def _end(process: SpawnProcess) -> None:
    """With what it has started, such as a compiler."""
    if process.pid:
        with suppress(AttributeError, ProcessLookupError, PermissionError):  # Windows; it has no group of its own yet
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _answer(told: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """What the process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the other ends this one
    with suppress(AttributeError):
        os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        told.send(("", work(*arguments)))
    except Exception as error:  # told by the other process
        told.send((first_line(error), None))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        with suppress(AttributeError, ProcessLookupError):
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)
