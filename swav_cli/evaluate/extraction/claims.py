"""Who makes which part: a file for each that is being made, which is there for as long as its owner is at work.

A claim is made whole or not at all and replaces none, so that of several processes, on any machines that share the
disk, one has it. Its owner holds the file's lock and renews its time while it gets on. A claim is taken over when its
owner is gone: one of this machine, when nobody holds the lock any more; any other, when it was not renewed for `STALE`
seconds by the clock of the disk. Claims only spare work that would be done twice; that each part is written once does
not hang on them, since a part that is there is never replaced.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any

from swav_cli.files import held, is_held, move, part_beside, replacing

STALE = 600.0  # seconds without a sign, after which an owner on another machine is taken for gone
RENEWED = 15.0  # seconds between two signs
BOOT = Path("/proc/sys/kernel/random/boot_id")  # of a machine from one start to the next, alike in its containers
TRIES = 4  # others may take over, let go and take again meanwhile


class Lost(Exception):
    """Another process has taken the claim over, having seen no sign of this one for long."""


class Claim:
    """What this process alone is to make, until it lets go of it."""

    def __init__(self, place: Path, token: str, lock: ExitStack) -> None:
        self._place, self._token, self._lock = place, token, lock
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Give a sign of life, where one is due.

        Raises:
            Lost: the claim is another's by now.
        """
        now = time.monotonic()
        if now - self._renewed < RENEWED:
            return
        if _owner(self._place).get("token") != self._token:
            raise Lost
        with suppress(FileNotFoundError):
            os.utime(self._place)
        self._renewed = now

    def release(self) -> None:
        """Let go of it. Can be called again."""
        if _owner(self._place).get("token") == self._token:
            self._place.unlink(missing_ok=True)
        self._lock.close()


class Claims:
    """The claims in a folder, which all processes of the work share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._clock: tuple[float, float] | None = None  # the disk's time and ours, when they were compared

    def take(self, name: str) -> Claim | None:
        """Claim something; None where another process has it."""
        place, token = self.folder / name, secrets.token_hex(8)
        owner = {"token": token, "machine": machine(), "host": socket.gethostname(), "pid": os.getpid()}
        for _ in range(TRIES):
            if not self._cleared(place):
                return None
            self.folder.mkdir(exist_ok=True)
            with (
                ExitStack() as stack,
                suppress(FileExistsError, FileNotFoundError),
            ):  # another was quicker, or cleared up
                with replacing(place, flush=False, keep=True) as part:
                    part.write_text(json.dumps(owner), encoding="utf-8")
                    stack.enter_context(held(part))  # the lock goes with the file to its place
                return Claim(place, token, stack.pop_all())
        return None

    def owner(self, name: str) -> str | None:
        """Who is at work on it, in words; None where nobody is."""
        place = self.folder / name
        seen = _seen(place)
        if seen is None or self._is_gone(place, seen):
            return None
        found = _owner(place)
        return f"process {found.get('pid', '?')} on {found.get('host', '?')}"

    def clear_up(self) -> None:
        """Remove the folder where nothing is claimed any more."""
        with suppress(OSError):
            for left in (*self.folder.glob(".*.part"), self.folder / ".swav.lock"):  # of processes that were killed
                left.unlink(missing_ok=True)
            self.folder.rmdir()

    def _cleared(self, place: Path) -> bool:
        """Whether the place is free now, since its claim's owner is gone or has let go of it."""
        seen = _seen(place)
        if seen is None:
            return True
        if not self._is_gone(place, seen):
            return False
        with suppress(FileNotFoundError), held(self.folder):  # of several that find it gone one clears it
            if _seen(place) != seen:
                return True
            aside = part_beside(place)
            os.rename(place, aside)
            if _seen(aside) != seen:  # on a disk without locks another was quicker: give it back what is its own
                with suppress(FileExistsError):
                    move(aside, place, keep=True)
            aside.unlink(missing_ok=True)
        return True

    def _is_gone(self, place: Path, seen: tuple[int, int]) -> bool:
        if _owner(place).get("machine") == machine():
            locked = is_held(place)
            if locked is not None:
                return not locked
        return self._now() - seen[1] / 1e9 > STALE

    def _now(self) -> float:
        """The time by the clock of the disk, which may be another machine's."""
        now = time.monotonic()
        if self._clock is None or now - self._clock[1] > STALE:
            fresh = part_beside(self.folder / "clock")
            fresh.touch()
            self._clock = os.stat(fresh).st_mtime, now
            fresh.unlink()
        return self._clock[0] + now - self._clock[1]


@cache
def machine() -> str:
    """Which machine this is, as far as locks tell of its processes."""
    try:
        return BOOT.read_text(encoding="utf-8").strip()
    except OSError:
        return socket.gethostname()


def _seen(place: Path) -> tuple[int, int] | None:
    """Which file lies there, and its time in nanoseconds; None where none does."""
    try:
        status = os.stat(place)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _owner(place: Path) -> dict[str, Any]:
    """What a claim tells of who made it; nothing where it is gone."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
