"""The index of a shard: where in the tar each picture's data lie, under which name and of which class.

It is made once by walking the tar's headers and kept as NAME.tar.index.npz beside the tar, or in the user's cache
folder where nothing can be written beside it. It counts as long as the tar has the size and the time that it then had.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.folders.path_table import PathTable
from swav_cli.data.paths import keeping_nothing, kept_at
from swav_cli.data.shards.files import Shard
from swav_cli.data.shards.members import read_samples
from swav_cli.errors import UserError, silent
from swav_cli.files import replacing

FORM = 3  # of the file; one of another form is made anew
NO_CLASS = ("", "..")  # as first folders: pictures that lie in none


class Codes(NamedTuple):
    """A name for each picture, or none: numbers (N,) into distinct names, -1 for none."""

    numbers: NDArray[np.int32]
    names: NDArray[np.str_]

    @classmethod
    def of(cls, words: Sequence[str | None]) -> Codes:
        names = sorted({word for word in words if word is not None})
        number = {name: position for position, name in enumerate(names)}
        numbers = [-1 if word is None else number[word] for word in words]
        return cls(np.array(numbers, dtype=np.int32), np.array(names, dtype=np.str_))


@dataclass(frozen=True)
class ShardIndex:
    """The pictures of a tar, in its order."""

    shard: Shard
    offsets: NDArray[np.int64]  # (N,)
    sizes: NDArray[np.int64]  # (N,)
    names: PathTable  # of the members; a key is a name up to the first dot of its last part
    labels: Codes  # what .cls or .json tells
    folders: Codes  # the first folder of each name
    passed_over: int  # pictures that lie beside their sample's picture
    again: int  # pictures whose name comes again behind them
    lost: NDArray[np.str_]  # pictures that are links to what is not in the tar, or files with holes
    kept: Path | None  # where it is kept; None where it could not be
    is_new: bool  # made now

    def __len__(self) -> int:
        return len(self.offsets)


def index_of(path: str, force: bool = False, advance: Callable[[int], None] = silent) -> ShardIndex:
    """The index of a tar: that which is kept, else a new one.

    Args:
        force: make it anew even if one is kept.
        advance: is told how many bytes of the tar have been passed since it was told before.

    Raises:
        UserError: the tar can't be read, or is none.
    """
    try:
        status = os.stat(path)
        shard = Shard(path, status.st_size, status.st_mtime_ns)
        if not force:
            for place in places(path):
                found = load_index(place, shard)
                if found is not None:
                    advance(shard.size)
                    return found
        arrays = _arrays(shard, advance)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror or error})") from None
    return _from_arrays(arrays, shard, kept=keep(arrays, path), is_new=True)


def places(path: str) -> list[Path]:
    """Where the index of a tar may lie, the likelier first."""
    absolute = os.path.abspath(path)
    name = hashlib.sha256(os.fsencode(absolute)).hexdigest()[:32]
    cached = kept_at("shards", f"{name}.npz")
    return [Path(f"{absolute}.index.npz"), *([cached] if cached else [])]


def _arrays(shard: Shard, advance: Callable[[int], None]) -> dict[str, NDArray[Any]]:
    """All that is kept of a tar."""
    samples = read_samples(shard.path, advance)
    pictures = samples.pictures()
    names = list(pictures)
    block, ends = PathTable(names).arrays()
    labels = Codes.of([samples.class_of(name) for name in names])
    folders = Codes.of([_first_folder(name) for name in names])
    return {
        "form": np.array(FORM),
        "tar": np.array([shard.size, shard.changed], dtype=np.int64),
        "offsets": np.array([place[0] for place in pictures.values()], dtype=np.int64),
        "sizes": np.array([place[1] for place in pictures.values()], dtype=np.int64),
        "names": block,
        "ends": ends,
        "labels": labels.numbers,
        "label_names": labels.names,
        "folders": folders.numbers,
        "folder_names": folders.names,
        "passed_over": np.array(len(samples) - len(names)),
        "again": np.array(samples.again),
        "lost": np.array(samples.lost, dtype=np.str_),
    }


def _first_folder(name: str) -> str | None:
    first, slash, _ = name.partition("/")
    return None if not slash or first in NO_CLASS else first


def _from_arrays(arrays: dict[str, NDArray[Any]], shard: Shard, kept: Path | None, is_new: bool) -> ShardIndex:
    return ShardIndex(
        shard, arrays["offsets"], arrays["sizes"], PathTable.from_arrays(arrays["names"], arrays["ends"]),
        Codes(arrays["labels"], arrays["label_names"]), Codes(arrays["folders"], arrays["folder_names"]),
        int(arrays["passed_over"]), int(arrays["again"]), arrays["lost"], kept, is_new,
    )  # fmt: skip


def load_index(place: Path, shard: Shard) -> ShardIndex | None:
    """A kept index; None where there is none, where the tar has changed since, or where the file is damaged."""
    try:
        with np.load(place, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if _fits(arrays, shard):
            return _from_arrays(arrays, shard, kept=place, is_new=False)
    except Exception:  # numpy and zipfile raise whatever a damaged file leads them to; it is made anew
        pass
    return None


def _fits(arrays: dict[str, NDArray[Any]], shard: Shard) -> bool:
    """Whether the arrays are of this tar, and nothing in them points outside of it."""
    if int(arrays["form"]) != FORM or arrays["tar"].tolist() != [shard.size, shard.changed]:
        return False
    offsets, sizes, ends, names = (arrays[name] for name in ("offsets", "sizes", "ends", "names"))
    whole = {"offsets": np.int64, "sizes": np.int64, "ends": np.int64, "names": np.uint8}
    return bool(
        all(arrays[name].dtype == kind and arrays[name].ndim == 1 for name, kind in whole.items())
        and len(offsets) == len(sizes) == len(ends) - 1
        and (offsets >= 0).all() and (sizes >= 0).all() and (sizes <= shard.size - offsets).all()
        and ends[0] == 0 and (np.diff(ends) >= 0).all() and ends[-1] == len(names)
        and arrays["lost"].dtype.kind == "U" and arrays["lost"].ndim == 1
        and all(_are_codes(arrays[each], arrays[f"{each[:-1]}_names"], len(offsets)) for each in ("labels", "folders"))
    )  # fmt: skip


def _are_codes(numbers: NDArray[Any], names: NDArray[Any], count: int) -> bool:
    if numbers.dtype != np.int32 or names.dtype.kind != "U" or names.ndim != 1 or numbers.shape != (count,):
        return False
    return bool((numbers >= -1).all() and (numbers < len(names)).all())


def keep(arrays: dict[str, NDArray[Any]], path: str) -> Path | None:
    """Write the index of a tar where that can be done; gives the place."""
    for number, place in enumerate([] if keeping_nothing.active else places(path)):
        try:
            if number == 0 and not os.stat(place.parent).st_mode & 0o222:
                continue  # a folder that nobody may write is left as it is, by root as well
            write_index(place, arrays)
        except OSError:
            continue
        return place
    return None


def write_index(place: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Under a name of its own first, so that several processes may do it at once; the last one's counts."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with replacing(place) as part, open(part, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
