"""Places where something can be written: what stands in the way is told before anything is computed.

Pipes and devices (`/dev/stdout`, bash's `>(…)`) can be written into and not replaced.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from swav_cli.errors import UserError

HOPS = 40  # from link to link, as many as the system goes


def check_place(path: Path, option: str, is_folder: bool = False) -> None:
    """Refuse a place where nothing could be written in the end, before anything is computed for it.

    Raises:
        UserError: it is a folder where a file is wanted or the other way round, its name is too long, or it lies where
            this user can't write.
    """
    try:
        target = Path(os.path.realpath(path))
        there = status_of(target)
    except OSError as error:  # most of all a name that is too long for the disk
        raise UserError(f"{option} {path}: can't be written ({error.strerror}); give another name") from None
    if is_pipe_or_device(path):
        if is_folder:
            raise UserError(f"{option} {path}: is a pipe or a device; name a folder")
        return
    if there is not None and stat.S_ISDIR(there.st_mode) != is_folder:
        raise UserError(f"{option} {path}: is a {'file; name a folder' if is_folder else 'folder; name a file'}")
    if there is not None and not is_folder and not stat.S_ISREG(there.st_mode):
        raise UserError(f"{option} {path}: is no file that could be replaced; give another name")
    if there is not None and not is_folder and not os.access(target, os.W_OK):
        raise UserError(f"{option} {path}: is protected against writing; give another name, or permit it")
    above = next(folder for folder in (target, *target.parents) if folder.is_dir())
    blocking = next((folder for folder in target.parents if folder.exists() and not folder.is_dir()), None)
    if blocking is not None or not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"{option} {path}: can't be written below {blocking or above}; name another place")


def check_utf8(path: Path, option: str) -> None:
    """
    Raises:
        UserError: the path holds bytes that are no UTF-8, and a model that lies there could be read by nobody.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{option} {path}: is no UTF-8, and no model is read from there; name another") from None


def check_moved_place(path: Path, option: str) -> None:
    """The same for a file or folder that is moved to its place together with others, or that is no stream of bytes.

    Raises:
        UserError: it is a link, a pipe or a device, which such a move would replace.
    """
    if os.path.islink(path):
        target = os.path.realpath(path)
        raise UserError(f"{option} {path}: is a link, and would be replaced; name what it leads to, {target}")
    if is_pipe_or_device(path):
        raise UserError(f"{option} {path}: is a pipe or a device, and would be replaced; name a file")


def status_of(path: Path) -> os.stat_result | None:
    """None where nothing is there; raises OSError where nothing can be."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_pipe_or_device(path: Path) -> bool:
    """Whether this is a pipe, a terminal or another device, or an open file of this process (`/dev/stdout`)."""
    if own_descriptor(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def own_descriptor(path: Path) -> int | None:
    """The number of the open file of this process for which a name stands."""
    own = re.compile(rf"/dev/fd/(\d+)|/proc/(?:self|{os.getpid()})(?:/task/\d+)?/fd/(\d+)")
    name = os.fspath(path)
    for _ in range(HOPS):
        name = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
        found = own.fullmatch(name)
        if found:
            return int(found[1] or found[2])
        try:
            name = os.path.join(os.path.dirname(name), os.readlink(name))
        except (OSError, ValueError):
            return None
    return None
