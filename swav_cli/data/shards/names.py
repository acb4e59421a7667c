"""Which tar files a source such as 'shards/train-{000..146}.tar' names, and which sources are streams of them."""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from swav_cli.data.paths import expanded, names_beside
from swav_cli.errors import UserError, nearest

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
GROUP = re.compile(r"\{(?:(\d{1,18})\.\.(\d{1,18})|([^{}]*,[^{}]*))\}")  # {000..146} or {train,val}
STREAMS = ("http://", "https://")
PIPE = "pipe:"  # before a command of the shell that writes a tar
MOST = 1_000_000  # beyond that a pattern is likelier a slip than a data set


def names_shards(source: str) -> bool:
    """Whether a source is of tar files, by its ending; compressed ones count, so that they can be refused by name."""
    endings = (SUFFIX, *COMPRESSED)
    if not any(ending[1:] in source.lower() for ending in endings) or os.path.isdir(os.path.expanduser(source)):
        return False
    return any(name.lower().endswith(endings) for name in expand_braces(source))


def is_stream(source: str) -> bool:
    """Whether a source is of shards that are read from an address or a command, from their beginning on."""
    return source.lower().startswith((*STREAMS, PIPE))


def runs_command(source: str) -> bool:
    """Whether to read a source is to run a command that it holds."""
    return source.lower().startswith(PIPE)


def refuse_stream(source: str) -> UserError:
    return UserError(
        f"{source}: shards are read from the disk; fetch them first, and give their paths (a stream is for "
        "`swav pretrain --data` alone)"
    )


def expand_braces(source: str) -> list[str]:
    """Each name of a pattern, as a shell would write them.

    >>> expand_braces("{train,val}-{08..10}.tar")[:4]
    ['train-08.tar', 'train-09.tar', 'train-10.tar', 'val-08.tar']

    Raises:
        UserError: more names than any data set has.
    """
    count = math.prod(_length(group) for group in GROUP.finditer(source))
    if count > MOST:
        raise UserError(f"{source}: names {count:,} shards, and no more than {MOST:,} can be given")
    return _expand(source)


def _expand(source: str) -> list[str]:
    group = GROUP.search(source)
    if group is None:
        return [source]
    before, rests = source[: group.start()], _expand(source[group.end() :])
    return [before + word + rest for word in _words(group) for rest in rests]


def _length(group: re.Match[str]) -> int:
    first, last, words = group.groups()
    return abs(int(last) - int(first)) + 1 if words is None else words.count(",") + 1


def _words(group: re.Match[str]) -> list[str]:
    """What a group in braces stands for; numbers of one width where an end of them is written with zeros before it."""
    first, last, words = group.groups()
    if words is not None:
        return str(words).split(",")
    padded = any(end.startswith("0") and len(end) > 1 for end in (first, last))
    width = max(len(first), len(last)) if padded else 0
    step = 1 if int(last) >= int(first) else -1
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + step, step)]


def find_shards(sources: Sequence[str]) -> list[str]:
    """The tar files that the sources name, sorted, each once.

    Raises:
        UserError: one that is not there, is compressed, or is no file.
    """
    places: dict[str, str] = {}
    for source in sources:
        for path in _found(source):
            places.setdefault(os.path.abspath(path), path)
    return sorted(places.values())


def _found(source: str) -> list[str]:
    if "://" in source or is_stream(source):
        raise refuse_stream(source)
    path = str(expanded(source))
    # A file whose own name holds braces or brackets is that file.
    names = [path] if os.path.exists(path) else [name for each in expand_braces(path) for name in _matching(each)]
    _check_names(source, names)
    missing = [name for name in names if not os.path.exists(name)]
    if missing and len(names) == 1:
        there = [name for name in names_beside(Path(path)) if name.lower().endswith(SUFFIX)]
        raise UserError(f"{source}: no such shard.{nearest(os.path.basename(path), there)}")
    if missing:
        raise UserError(
            f"{source}: {len(missing):,} of {len(names):,} shards are not there, first {missing[0]}; fetch them, or "
            "name those that are there"
        )
    return names


def _matching(pattern: str) -> list[str]:
    if not glob.has_magic(pattern) or os.path.exists(pattern):
        return [pattern]
    found = glob.glob(pattern, recursive=True)
    if not found:
        raise UserError(f"{pattern}: no shard has a name like that")
    return found


def _check_names(source: str, names: Iterable[str]) -> None:
    for name in names:
        if os.path.exists(name) and not os.path.isfile(name):
            raise UserError(f"{name}: is no file; name shards by their files, such as '{os.path.join(name, '*.tar')}'")
        if name.lower().endswith(COMPRESSED):
            raise refuse_compressed(name)
        if not name.lower().endswith(SUFFIX):
            raise UserError(f"{source}: {name} does not end in {SUFFIX}; name shards alone")


def refuse_compressed(path: str) -> UserError:
    return UserError(
        f"{path}: is compressed, so that no picture in it can be read without all those before it; unpack it to a "
        f"plain {SUFFIX} (gunzip, bunzip2, unxz or zstd -d) and name that"
    )


def hint_at_shards(folder: str) -> str:
    """What to write where a folder holds shards and no pictures; else nothing."""
    pattern = os.path.join(folder, f"*{SUFFIX}")
    return f"; for the shards in it write '{pattern}'" if glob.glob(os.path.expanduser(pattern)) else ""
