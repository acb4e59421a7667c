"""Signals that end a run in good order."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")  # Ctrl-C, a scheduler's end, a scheduler's warning; what the system has


class StopSignal:
    """Within it, a first signal is only noted, so that a step can end and be saved; a second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.received: int = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python hands signals to the main thread alone
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise CtrlC
        self.received = number


class CtrlC(KeyboardInterrupt):
    """Ctrl-C, under a class of its own.

    Where a `KeyboardInterrupt` itself passes through code that was made from text (as torch.export makes it), Python
    remembers it and ends by the signal, whatever exit code was chosen afterwards.
    """


class Terminated(BaseException):
    """A signal's end of a command, in work that no `StopSignal` holds; no `except Exception` takes it for damage."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.exit_code = 128 + signal_number


def clear_away_when_ended() -> None:
    """Let SIGTERM, and the end of a terminal, raise `Terminated`, so that what is half-made is cleared away.

    Without it the process is gone at once, and hidden files stay behind. Ctrl-C raises `CtrlC`.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job has it ignored
        signal.signal(signal.SIGINT, _interrupt)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, _terminate)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise CtrlC


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one does not break off the clearing
    raise Terminated(number)
