"""Paths as users write them, and the folder where this program keeps what it can make again. Loads nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path

from swav_cli.errors import UserError


def expanded(written: str | Path) -> Path:
    """A path as it is meant: a leading `~` or `~user` is that home folder, where a shell has left it as it was.

    Ask `os.path.exists`, `isdir` and `isfile` about it, and not the path's own methods, which raise OSError where a
    name is longer than any can be.

    >>> str(expanded("~backup.jpg"))    # nobody is called so
    '~backup.jpg'

    Raises:
        UserError: `~` is written, and the user has no home folder.
    """
    name = os.fspath(written)
    if not name.startswith("~"):
        return Path(written)
    path = Path(os.path.expanduser(name))
    if path.parts[0] == "~" or (path.parts[0] != Path(name).parts[0] and not path.is_absolute()):
        raise UserError(f"{name}: there is no home folder that ~ could stand for; write the whole path, or set HOME")
    return path


def names_beside(path: Path) -> list[str]:
    """Names of what lies where a path would, to find the nearest of; none where that can't be read."""
    try:
        return os.listdir(path.parent)
    except OSError:
        return []


def cache_folder() -> Path:
    """Where this program keeps what it can make or fetch again: `swav` in the user's cache folder.

    Raises:
        UserError: the user has no home folder, and none is named for it.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return expanded(base) / "swav"
    try:
        return expanded("~") / ".cache" / "swav"
    except UserError:
        raise UserError(
            "there is no home folder to keep files in; set XDG_CACHE_HOME to a folder that may be written to"
        ) from None


class keeping_nothing:  # noqa: N801  (reads as what it does: with keeping_nothing(): ...)
    """Within it no listing of a folder and no index of a shard is kept for the next start: for work that only looks."""

    active = False

    def __enter__(self) -> None:
        keeping_nothing.active = True  # of the process: shards are indexed by several threads

    def __exit__(self, *_: object) -> None:
        keeping_nothing.active = False


def kept_at(*parts: str) -> Path | None:
    """The place in the cache folder of what is as well made anew; None where there is no such folder."""
    try:
        return cache_folder().joinpath(*parts)
    except UserError:
        return None
