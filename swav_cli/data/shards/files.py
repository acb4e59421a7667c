"""Bytes out of shards, from any place, by threads and processes at once and through few open files."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import NamedTuple

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.decoding.images import read_patiently

OPEN_SHARDS = 64  # of a process; the least recently used is closed for another
_SEEKING = threading.Lock()


class Shard(NamedTuple):
    """A tar as it was when its index was made."""

    path: str
    size: int  # bytes
    changed: int  # nanoseconds


class _Descriptor:
    """A file that stays open for as long as somebody holds this: also one that is forgotten while it is read."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


@lru_cache(maxsize=OPEN_SHARDS)
def _opened(shard: Shard, process: int) -> _Descriptor:
    """A shard opened in this process: by its number, workers that were forked don't read through their parent's."""
    descriptor = _Descriptor(os.open(shard.path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
    status = os.fstat(descriptor.number)
    if (status.st_size, status.st_mtime_ns) != (shard.size, shard.changed):
        raise BadPicture("the shard has changed since its index was made")
    return descriptor


def read_part(shard: Shard, offset: int, size: int) -> bytes:
    """`size` bytes of a shard from `offset` on.

    Raises:
        BadPicture: they are not there, or not to be read after several tries.
    """
    try:
        return read_patiently(lambda: _read_once(shard, offset, size))
    except OSError as error:
        raise BadPicture(error.strerror or str(error)) from None


def _read_once(shard: Shard, offset: int, size: int) -> bytes:
    descriptor = _opened(shard, os.getpid())
    content = b""
    while len(content) < size:  # a system gives no more than 2 GB at once
        try:
            part = read_at(descriptor.number, size - len(content), offset + len(content))
        except OSError:
            _opened.cache_clear()  # a file of a network disk may have to be opened anew
            raise
        if not part:
            raise BadPicture("the shard ends before this picture does")
        content = content + part if content else part
    return content


def seek_and_read(number: int, size: int, offset: int) -> bytes:
    """What `os.pread` does, where a system has none: Windows."""
    with _SEEKING:
        os.lseek(number, offset, os.SEEK_SET)
        return os.read(number, size)


read_at = getattr(os, "pread", seek_and_read)
