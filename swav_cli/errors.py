"""What can go wrong for a user: one line each, with an exit code; and how a user is told of anything else.

Everything else that is raised is a fault of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

Notice = Callable[[str], None]  # told of what is worth knowing
Told = Callable[[int, int], None]  # told of how many are done, and of how many in all


def silent(*told: object) -> None:
    """Tells nobody: what every `notice` and `progress` is where nothing is said."""


class UserError(Exception):
    """A mistake that the user can mend: the message says what, where and what to do.

    >>> from swav_cli import load_recipe
    >>> load_recipe("quikstart")
    Traceback (most recent call last):
        ...
    swav_cli.errors.UserError: no recipe 'quikstart'. Did you mean 'quickstart'? See them with: swav recipes
    """

    exit_code = 2
    told: bool | None = None  # of several processes: whether another has said it; None: all meet it alike


class Diverged(UserError):
    """The loss is no longer finite; the last good checkpoint is kept."""

    exit_code = 3


class Collapsed(UserError):
    """A run in trouble was to end (`training.on_collapse: stop`); all is saved."""

    exit_code = 3


class PeerLost(UserError):
    """Another process of the work ended without a word, or did not come."""

    exit_code = 1


class NotJudged(UserError):
    """A run is trained and saved, and what was to follow failed."""

    exit_code = 4


class MemoryFull(UserError):
    """A batch finds no room in the memory of the device that computes."""

    def __init__(self) -> None:
        super().__init__(
            "the memory is full; send fewer pictures through the network at a time: swav pretrain does so with "
            "--micro-batch auto (or a number), all else with a smaller --batch-size"
        )


def is_memory_full(error: BaseException) -> bool:
    """Of a GPU (by name, so that nothing need import torch for it), or of a processor that is asked for too much."""
    words = ("can't allocate memory", "STATUS_ALLOC_FAILED", "CUDA error: out of memory")
    return type(error).__name__ == "OutOfMemoryError" or any(each in str(error) for each in words)


class Interrupted(Exception):
    """A signal ended the work in good order; all is saved.

    Shells expect 128 + the signal's number as the exit code.
    """

    told: bool | None = None  # of several processes: whether another has said it; None: all meet it alike

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def first_line(error: BaseException) -> str:
    """What an error says in its first line; its kind where it says nothing.

    >>> first_line(ValueError("no room\\n  at line 3")), first_line(ValueError())
    ('no room', 'ValueError')
    """
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def counted(count: int, thing: str, things: str | None = None) -> str:
    """How many there are, as one says it.

    >>> counted(1, "picture"), counted(1200, "picture"), counted(2, "class", "classes")
    ('1 picture', '1,200 pictures', '2 classes')
    """
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'epsilon'?`, or nothing where no known word is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
