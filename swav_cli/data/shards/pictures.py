"""Pictures that lie in tar files, each read by itself from its place there; nothing is unpacked."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.data.decoding.formats import SUFFIXES, BadPicture
from swav_cli.data.decoding.images import decode_picture
from swav_cli.data.folders.path_table import PathTable
from swav_cli.data.pictures import Pictures, by_letters, class_order, evenly_spread, lacks
from swav_cli.data.shards.files import read_part
from swav_cli.data.shards.index import Codes, ShardIndex, index_of
from swav_cli.data.shards.names import find_shards
from swav_cli.errors import Told, UserError, silent

INDEXERS = 8  # threads, which wait for the disk more than they compute


class ShardPictures(Pictures):
    """The pictures of tar files, in the order of the files and of their members.

    Classes are what `.cls` or `.json` tell, where they do for every picture; where they do for none, the first folders
    of names, where every picture lies in one.
    """

    def __init__(self, indexes: Sequence[ShardIndex], channels: int, source: str) -> None:
        self.channels, self.source = channels, source
        self.shards = [index.shard for index in indexes]
        self._starts = np.cumsum([0, *map(len, indexes)], dtype=np.int64)  # (S + 1,)
        none = np.empty(0, dtype=np.int64)
        self._offsets = np.concatenate([none, *(index.offsets for index in indexes)])  # (N,)
        self._sizes = np.concatenate([none, *(index.sizes for index in indexes)])  # (N,)
        self.paths = PathTable.joined([index.names for index in indexes])
        named = classes_of(indexes)
        if named is not None:
            self.labels, self.classes = named
            self.drawn_by = None if _tell_labels(indexes) else by_letters(self.classes)
        self.unlabelled = unlabelled_in(indexes)
        if remarks := remarks_on(indexes):
            self.remarks = remarks

    def __len__(self) -> int:
        return len(self._offsets)

    def read(self, index: int) -> Tensor:
        index, shard = self._located(index)
        content = read_part(self.shards[shard], int(self._offsets[index]), int(self._sizes[index]))
        return decode_picture(content, self.channels, self.reduce)

    def name(self, index: int) -> str:
        """`shards/train-000.tar/dog/0001.jpg`"""
        index, shard = self._located(index)
        return f"{self.shards[shard].path}/{self.paths[index]}"

    def below(self, index: int) -> str:
        """`train-000.tar/dog/0001.jpg`"""
        index, shard = self._located(index)
        return f"{os.path.basename(self.shards[shard].path)}/{self.paths[index]}"

    def fingerprint(self) -> str:
        """Of the names and sizes of pictures: the same wherever the shards lie, and whatever they are called."""
        return self._fingerprint("")

    def former_fingerprints(self) -> set[str]:
        return {self._fingerprint("\n".join(os.path.basename(shard.path) for shard in self.shards))}

    def _fingerprint(self, names_of_shards: str) -> str:
        hasher = hashlib.sha256(self.paths.digest().encode())
        hasher.update(self._sizes.tobytes() + self._starts.tobytes())
        hasher.update(os.fsencode(names_of_shards))
        return hasher.hexdigest()[:16]

    def contents(self) -> list[str]:
        return [self._digest_of(index) for index in evenly_spread(len(self))]

    def _digest_of(self, index: int) -> str:
        """Of the first megabyte of a picture; empty where it can't be read."""
        index, shard = self._located(index)
        try:
            content = read_part(self.shards[shard], int(self._offsets[index]), min(int(self._sizes[index]), 2**20))
        except BadPicture:
            return ""
        return hashlib.sha256(content).hexdigest()[:16]

    def _located(self, index: int) -> tuple[int, int]:
        """A picture's number counted from the first, and its shard's."""
        index = range(len(self))[index]
        return index, int(np.searchsorted(self._starts, index, side="right")) - 1


def classes_of(indexes: Sequence[ShardIndex]) -> tuple[NDArray[np.int64], list[str]] | None:
    """Labels (N,) and the classes' names, which many shards have together; None where there are none."""
    if _tell_labels(indexes):
        return _joined([index.labels for index in indexes], lambda names: sorted(names, key=_number_order))
    return _joined([index.folders for index in indexes], class_order)


def unlabelled_in(indexes: Sequence[ShardIndex]) -> str | None:
    """Which picture has no class where others have one, in words; None where there is no such."""
    told = _tell_labels(indexes)
    parts = [index.labels if told else index.folders for index in indexes]
    lacking = [np.flatnonzero(codes.numbers < 0) for codes in parts]
    count, total = sum(map(len, lacking)), sum(map(len, indexes))
    if count in (0, total):
        return None
    index, rows = next((index, rows) for index, rows in zip(indexes, lacking, strict=True) if len(rows))
    what = "has no class in a .cls or .json" if told else "lies in no folder of a class"
    return lacks(f"{index.shard.path}/{index.names[int(rows[0])]}", what, count, total)


def remarks_on(indexes: Sequence[ShardIndex]) -> list[str]:
    """What in the tars is not read, or comes twice."""
    lost = [f"{index.shard.path}/{name}" for index in indexes for name in index.lost.tolist()]
    again = sum(index.again for index in indexes)
    passed = f"{len(lost):,} links that lead out of their tar, or files with holes: passed over, first"
    return [
        *([f"{passed} {lost[0]}"] if lost else []),
        *([f"{again:,} names come again in the same tar; the last picture of each counts"] if again else []),
    ]


def _tell_labels(indexes: Sequence[ShardIndex]) -> bool:
    return any((index.labels.numbers >= 0).any() for index in indexes)


def _joined(
    parts: Sequence[Codes], in_order: Callable[[set[str]], list[str]]
) -> tuple[NDArray[np.int64], list[str]] | None:
    """Labels (N,) in one numbering over all shards, and the classes' names; None where a picture has no class."""
    if any((codes.numbers < 0).any() for codes in parts):
        return None
    names = {name for codes in parts for name in codes.names.tolist()}
    classes = in_order(names)
    number = {name: position for position, name in enumerate(classes)}
    translated = [
        np.array([number[name] for name in codes.names.tolist()], dtype=np.int64)[codes.numbers] for codes in parts
    ]
    labels = np.concatenate([np.empty(0, dtype=np.int64), *translated])
    return (labels, classes) if len(labels) else None


def _number_order(name: str) -> tuple[bool, int, str]:
    """Numbers by their value, before all other names."""
    is_number = re.fullmatch("[0-9]{1,18}", name) is not None
    return (not is_number, int(name) if is_number else 0, name)


def open_shards(sources: Sequence[str], channels: int = 3, progress: Told = silent) -> ShardPictures:
    """The pictures of tar files: paths, or patterns such as 'shards/*.tar' and 'train-{000..146}.tar'.

    Raises:
        UserError: a shard is not there, is compressed or damaged, or they hold no picture.
    """
    pictures = ShardPictures(index_shards(sources, progress=progress), channels, " ".join(sources))
    if not len(pictures):
        raise UserError(f"{pictures.source}: holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return pictures


def index_shards(sources: Sequence[str], force: bool = False, progress: Told = silent) -> list[ShardIndex]:
    """The indexes of all shards that the sources name, sorted by path; those that are not kept yet are made.

    Args:
        force: make all anew.
        progress: told of the bytes of shards passed, and of all of them; at the end of all, or of what fails, of those.

    Raises:
        UserError: a shard is not there, is compressed or damaged.
    """
    paths = find_shards(sources)
    total = sum(os.path.getsize(path) for path in paths)
    passing = _Passing(total, progress)
    with ThreadPoolExecutor(min(INDEXERS, len(paths))) as pool:
        try:
            return list(pool.map(lambda path: index_of(path, force, passing.advance), paths))
        except BaseException:
            passing.is_stopped = True
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            progress(total, total)


class _Stopped(Exception):
    """Ends a thread whose work is no longer wanted."""


class _Passing:
    """Counts the bytes that threads have passed."""

    def __init__(self, total: int, progress: Told) -> None:
        self.total, self.progress, self.done = total, progress, 0
        self.is_stopped = False  # after a mistake, or at Ctrl-C: threads end where they next tell how far they are
        self._lock = threading.Lock()

    def advance(self, count: int) -> None:
        if self.is_stopped:
            raise _Stopped
        with self._lock:
            self.done += count
            if self.done < self.total:
                self.progress(self.done, self.total)
