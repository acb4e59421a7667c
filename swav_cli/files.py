"""Files written whole or not at all, JSON, and the one lock.

A file is made beside its place under a name that no other process has, flushed, and moved there: who reads meanwhile
finds the former file or the new one, two that write at once each leave a whole one, and after a failure what was there
is still there. Pipes and devices (`/dev/stdout`, bash's `>(…)`) can't be replaced so; they are written into.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from swav_cli.errors import UserError, silent
from swav_cli.writable import is_pipe_or_device, own_descriptor, status_of

LONGEST = 255  # bytes of a name, on nearly all disks
PART_NAME = 40  # bytes of a file's name in that of its part, which has 55 at most: any disk takes that
LEFT_BEHIND = 24 * 3600.0  # seconds without a change, after which the part of a killed process is removed


# --- whole or not at all --------------------------------------------------------------------------------------------


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file beside its final name, then move it there; on failure nothing is left.

    Raises:
        UserError: the disk is full or the folder can't be written.
    """
    try:
        Path(os.path.realpath(path)).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            write(part)
    except BaseException as error:
        if isinstance(error, OSError):
            raise UserError(f"{path}: can't be written ({error.strerror}); what was there before is kept") from None
        # how torch's writer and safetensors' tell of a full disk
        if "inline_container" in str(error) or "I/O error" in str(error):
            raise UserError(f"{path}: can't be written (is the disk full?); what was there before is kept") from None
        raise


def write_as_text(path: Path, write: Callable[[TextIO], object]) -> None:
    """The same for text that is written bit by bit, in UTF-8 with the line ends that it has.

    Raises:
        UserError: see `write_whole`.
    """

    def write_part(part: Path) -> None:
        with open(part, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            write(stream)

    write_whole(path, write_part)


def write_text(path: Path, text: str) -> None:
    write_as_text(path, lambda stream: stream.write(text))


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(json_ready(content), indent=2, allow_nan=False) + "\n")


def as_utf8(text: str) -> str:
    """Text that is UTF-8 in any case, which not all names of files are: other bytes are escaped.

    >>> as_utf8("caf\\udce9")
    'caf\\\\udce9'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def json_ready(value: Any) -> Any:
    """The value with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def replacing(path: Path, *, flush: bool = True, keep: bool = False) -> Iterator[Path]:
    """A file to be written within, which then takes its place; gone where that fails.

    A link's target is replaced and not the link; a pipe or a device gets the file's content, once that is whole.

    Args:
        flush: wait until it is on the disk, so that a power cut leaves the former file or this one.
        keep: a file that is there meanwhile is not replaced.

    Raises:
        FileExistsError: `keep`, and a file is there.
        OSError: the disk is full, the folder can't be written, or the place is no file's.
    """
    if is_pipe_or_device(path):
        with _copied_into(path) as part:
            yield part
        return
    target = Path(os.path.realpath(path))
    there = status_of(target)
    if there is not None and not stat.S_ISREG(there.st_mode):
        code = errno.EISDIR if stat.S_ISDIR(there.st_mode) else errno.EINVAL
        raise OSError(code, os.strerror(code), str(path))
    if not keep:  # of which there may be very many in one folder
        clear_left_behind(target.parent, target.name)
    part = part_beside(target)
    try:
        # Made here, so that it has the rights that the system gives to a new file.
        new = _new_file(part)
        yield part
        if flush:
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
        # What is replaced keeps its rights; and safetensors moves a file of its own there, which nobody else may read.
        if there is not None or os.stat(part).st_ino != new.st_ino:
            with suppress(OSError):  # a disk without rights
                os.chmod(part, stat.S_IMODE((there or new).st_mode))
        move(part, target, keep)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _new_file(path: Path) -> os.stat_result:
    with open(path, "xb") as file:
        return os.fstat(file.fileno())


def move(part: Path, target: Path, keep: bool) -> None:
    """Move a file to its place; with `keep` no file that is there is replaced.

    Raises:
        FileExistsError: `keep`, and a file is there.
    """
    if not keep:
        os.replace(part, target)
        return
    try:
        os.link(part, target)  # unlike a move, refused by the system itself where a file is there
    except FileExistsError:
        raise
    except OSError:  # no second names on this disk
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.rename(part, target)
    else:
        part.unlink()


def part_beside(target: Path) -> Path:
    """A hidden name beside a file or folder for what will become it; never longer than disks allow."""
    return target.with_name(f".{shortened(target.name, PART_NAME)}.{secrets.token_hex(4)}.part")


def shortened(name: str, most: int) -> str:
    """The beginning of a name that takes so many bytes, without half a letter at its end."""
    raw = os.fsencode(name)
    return name if len(raw) <= most else raw[:most].decode("utf-8", "ignore")


def clear_left_behind(folder: Path, name: str | None = None) -> None:
    """Remove the parts of a file or folder, or of all in a folder, that killed processes left there long ago."""
    beginning = ".*" if name is None else re.escape(shortened(name, PART_NAME))
    part = re.compile(rf"\.{beginning}\.[0-9a-f]{{8}}\.part")
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if part.fullmatch(entry.name) and time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFT_BEHIND:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


# --- pipes and devices ----------------------------------------------------------------------------------------------


@contextmanager
def _copied_into(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part"
        yield part
        with open(part, "rb") as whole, _open_stream(path) as stream:
            shutil.copyfileobj(whole, stream)


def _open_stream(path: Path) -> BinaryIO:
    number = own_descriptor(path)
    # An open file goes on where it stands: opened anew by its name, `>> all.csv` would lose what is in it.
    return open(os.dup(number) if number is not None else os.open(path, os.O_WRONLY), "wb")


# --- the lock -------------------------------------------------------------------------------------------------------


@contextmanager
def held(place: Path, busy: Callable[[], None] = silent) -> Iterator[None]:
    """Hold the lock of a folder, or of a file, which is made. It ends with the process, however that ends.

    Args:
        busy: called where another process holds it. It raises an error, or returns, and the other is waited for.

    Raises:
        OSError: it can't be opened.
    """
    if find_spec("fcntl") is None:  # no such locks on this system, which can't remove open files either
        yield
        return
    while True:
        try:
            handle = os.open(place, os.O_RDONLY if place.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:
            if not place.is_dir():
                raise
            yield  # a folder that may be written and not be read
            return
        try:
            if not _lock(handle, busy) and place.is_dir():
                with held(place / ".swav.lock", busy):  # NFS locks only what is open for writing
                    yield
                return
            if not _is_still(place, handle):
                continue  # who held it before has removed it
            yield
            return
        finally:
            os.close(handle)


def _lock(handle: int, busy: Callable[[], None]) -> bool:
    """Whether it is locked now: this disk may have no such locks."""
    import fcntl

    try:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if not _is_only_looked_at(handle):
                busy()
                fcntl.flock(handle, fcntl.LOCK_EX)
                return True
    except OSError:
        return False


def _is_only_looked_at(handle: int) -> bool:
    """Whether who has the lock shares it, as `is_held` does for a moment, so that nobody holds it."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(handle, fcntl.LOCK_UN)
    return True


def is_held(place: Path) -> bool | None:
    """Whether some process holds the lock of a file; None where that can't be known.

    Who looks disturbs nobody: nothing is written, and `held` knows a look from a hold. On NFS the lock of another
    machine is seen as well, unless the disk is mounted so that locks stay on each machine.
    """
    if find_spec("fcntl") is None:
        return None
    import fcntl

    try:
        handle = os.open(place, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return None if _locks_stay_here(place) else False


def _locks_stay_here(place: Path) -> bool:
    """Whether the disk is another machine's and this one tells it of no lock (NFS's `nolock` and `local_lock`)."""
    with suppress(OSError, ValueError):
        device = os.stat(place).st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for mount, _, disk in (line.partition(" - ") for line in mounts):
                if mount.split()[2] == number and disk.startswith("nfs"):
                    return re.search(r"\b(nolock|local_lock=(all|flock))\b", disk) is not None
    return False


def _is_still(place: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(place), os.fstat(handle))
    except FileNotFoundError:
        return False
