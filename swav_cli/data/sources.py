"""Where pictures come from: a folder, a list of files, a torchvision data set, or `shapes`.

All are `Pictures`: a length, a way to read one as uint8, a name for each, and labels where the source has them.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import inspect
import os
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from swav_cli.data.images import SUFFIXES, BadPicture, from_pillow, read_picture
from swav_cli.data.paths import PathTable, find_files
from swav_cli.data.shapes import KINDS, shape_picture
from swav_cli.errors import UserError, nearest

Split = Literal["train", "val"]
LISTS = (".txt", ".csv", ".tsv")  # suffixes of files that list pictures
# What data sets of torchvision call their parts, the likeliest first.
PARTS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "trainval", "train-standard"),
    "val": ("test", "val", "valid"),
}


class Pictures:
    """Pictures by index. `labels` holds a class for each, or is None; nothing but an evaluation reads it."""

    source: str
    channels: int
    labels: NDArray[np.int64] | None = None
    classes: list[str] | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, index: int) -> Tensor:
        """Picture as uint8 (C, H, W). Raises BadPicture."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """What a person would call it: a path, or a number in a data set."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Changes when pictures come, go or are renamed."""
        return _digest("\n".join(self.name(index) for index in range(len(self))))


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


class FilePictures(Pictures):
    """Files below a root. Classes are the root's own subfolders, where every file lies in one."""

    def __init__(self, root: Path, names: list[str], channels: int, source: str) -> None:
        self.root, self.paths, self.channels, self.source = root, PathTable(names), channels, source
        tops = [name.split("/", 1)[0] if "/" in name else "" for name in names]
        known = sorted(set(tops))
        if not {"", ".."} & set(known):
            number = {top: position for position, top in enumerate(known)}
            self.classes = known
            self.labels = np.fromiter((number[top] for top in tops), dtype=np.int64, count=len(tops))

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        return read_picture(self.root / self.paths[index], self.channels)

    def name(self, index: int) -> str:
        return str(self.root / self.paths[index])

    def fingerprint(self) -> str:
        """Of the names below the root: the same where the folder has been moved."""
        return _digest(self.paths.digest())


class ShapePictures(Pictures):
    """The pictures that draw themselves; see `shapes.py`."""

    kinds = tuple(KINDS)

    def __init__(self, count: int, seed: int, split: Split) -> None:
        self.count, self.seed, self.split, self.channels = count, seed, split, 3
        self.source = f"shapes:{count}:{seed}"
        self.classes = list(self.kinds)
        self.labels = np.arange(count, dtype=np.int64) % len(self.kinds)

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Tensor:
        return shape_picture(self.seed, self.split, index)

    def name(self, index: int) -> str:
        return f"shapes/{self.split}/{self.kinds[index % len(self.kinds)]}/{index:06d}"

    def fingerprint(self) -> str:
        return _digest(f"{self.source}:{self.split}")


class TorchvisionPictures(Pictures):
    """A data set of torchvision."""

    def __init__(self, dataset: Any, channels: int, source: str) -> None:
        self.dataset, self.channels, self.source = dataset, channels, source
        self.labels = _labels(dataset)
        if self.labels is not None:
            names = getattr(dataset, "classes", None) or range(int(self.labels.max()) + 1)
            classes = [str(name[0]) if isinstance(name, tuple) else str(name) for name in names]
            if len(set(classes)) < len(classes):  # ImageNet has two kinds of crane
                classes = [f"{name} {number}" for number, name in enumerate(classes)]
            self.classes = classes

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, index: int) -> Tensor:
        try:
            return from_pillow(self.dataset[index][0], self.channels)
        except BadPicture:
            raise
        except Exception as error:  # a file of the data set that is damaged, or no longer there
            raise BadPicture(str(error) or type(error).__name__) from None

    def name(self, index: int) -> str:
        return f"{self.source}/{index}"


def _labels(dataset: Any) -> NDArray[np.int64] | None:
    """A class for each picture, under whichever name the data set keeps them."""
    for name in ("targets", "labels", "_labels", "_samples"):
        found = getattr(dataset, name, None)
        if found is None or len(found) != len(dataset):
            continue
        labels = np.asarray([sample[1] for sample in found] if name == "_samples" else found)
        # One whole number each; STL10 marks pictures without a label by -1.
        whole = labels.ndim == 1 and labels.size > 0 and labels.dtype.kind in "iu"
        return labels.astype(np.int64) if whole and labels.min() >= 0 else None
    return None


class Limited(Pictures):
    """The first N pictures of a shuffle fixed by the seed, in their own order."""

    def __init__(self, pictures: Pictures, limit: int, seed: int) -> None:
        order = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(len(pictures))
        self.pictures, self.chosen = pictures, np.sort(order[:limit])
        self.source, self.channels, self.classes = pictures.source, pictures.channels, pictures.classes
        if pictures.labels is not None:
            self.labels = pictures.labels[self.chosen]

    def __len__(self) -> int:
        return len(self.chosen)

    def read(self, index: int) -> Tensor:
        return self.pictures.read(int(self.chosen[index]))

    def name(self, index: int) -> str:
        return self.pictures.name(int(self.chosen[index]))

    def fingerprint(self) -> str:
        return _digest(f"{self.pictures.fingerprint()} {self.chosen.tolist()}")


def open_pictures(
    source: str, split: Split = "train", *, channels: int = 3, limit: int | None = None, seed: int = 0
) -> Pictures:
    """The pictures of a source: a folder, a list of files (.txt, .csv), `torchvision:NAME` or `shapes:COUNT`.

    Raises:
        UserError: nothing there, with what to do.
    """
    kind, _, rest = source.partition(":")
    pictures: Pictures
    if kind == "shapes":
        pictures = _open_shapes(source, rest, split, channels)
    elif kind == "torchvision":
        pictures = _open_torchvision(source, rest, split, channels)
    elif source.strip():
        pictures = _open_files(Path(source).expanduser(), channels)
    else:
        raise UserError("the source of pictures is empty; give a folder with --data PATH")
    if not len(pictures):
        raise UserError(f"{source}: holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return Limited(pictures, limit, seed) if limit and limit < len(pictures) else pictures


def _open_shapes(source: str, rest: str, split: Split, channels: int) -> Pictures:
    parts = rest.split(":") if rest else ["5000"]
    if channels != 3:
        raise UserError(f"{source}: drawn pictures have 3 channels, not data.channels ({channels})")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts) or int(parts[0]) == 0:
        raise UserError(f"{source}: write it as shapes:COUNT or shapes:COUNT:SEED, for example shapes:5000")
    return ShapePictures(int(parts[0]), int(parts[1]) if len(parts) == 2 else 0, split)


def _open_files(path: Path, channels: int) -> Pictures:
    try:
        if path.is_dir():
            return FilePictures(path, find_files(path, SUFFIXES), channels, str(path))
        if path.suffix.lower() in LISTS and path.is_file():
            return _open_list(path, channels)
        if path.exists():
            raise UserError(f"{path}: neither a folder nor a list of files ({', '.join(LISTS)})")
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError as error:
        raise UserError(f"{error.filename or path}: can't be read ({error.strerror})") from None
    hint = nearest(path.name, beside) or _nearest_source(str(path))
    raise UserError(f"{path}: no such folder or list of pictures.{hint} Give one with --data PATH")


def _nearest_source(written: str) -> str:
    """The nearest source that is no path, where something like `CIFAR10` or `torchvison:CIFAR10` is written."""
    kind, colon, rest = written.partition(":")
    if colon:
        return nearest(written, [f"{known}:{rest}" for known in ("shapes", "torchvision") if nearest(kind, [known])])
    dataset = _spelt_otherwise(written)
    return f" Did you mean 'torchvision:{dataset}'?" if dataset else nearest(written, ["shapes"])


def _open_list(path: Path, channels: int) -> Pictures:
    """A file with a path a line, or a table with a column of paths; relative ones start at the list's own folder."""
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    names = _column_of_paths(path, text) if path.suffix.lower() != ".txt" else [n.strip() for n in text.splitlines()]
    names = [PurePath(name).as_posix() for name in names if name and not name.startswith("#")]
    if names and not any((path.parent / name).exists() for name in names):
        raise UserError(
            f"{path}: none of its {len(names):,} files is there, first {names[0]}; they start at {path.parent}"
        )
    return FilePictures(path.parent, names, channels, str(path))


def _column_of_paths(path: Path, text: str) -> list[str]:
    """The first column of a table that holds names of pictures, below its heading if it has one."""
    rows = list(csv.reader(text.splitlines(), delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
    rows = [[cell.strip() for cell in row] for row in rows]
    first = next((row for row in rows if _pictures_in(row)), None)
    if first is None:
        raise UserError(f"{path}: no column of it holds names of pictures ({', '.join(sorted(SUFFIXES))})")
    column = _pictures_in(first)[0]
    return [row[column] for row in rows[rows.index(first) :] if len(row) > column]


def _pictures_in(row: Sequence[str]) -> list[int]:
    return [column for column, cell in enumerate(row) if os.path.splitext(cell)[1].lower() in SUFFIXES]


def _torchvision_names() -> list[str]:
    from torchvision import datasets

    return [name for name in datasets.__all__ if inspect.isclass(getattr(datasets, name))]


def _spelt_otherwise(written: str) -> str | None:
    """The data set of torchvision that somebody means by `cifar-10`."""
    return {name.lower(): name for name in _torchvision_names()}.get(written.lower().replace("-", ""))


def _open_torchvision(source: str, rest: str, split: Split, channels: int) -> Pictures:
    from torchvision import datasets

    name, _, part = rest.partition(":")
    known = _torchvision_names()
    if name not in known:
        other = _spelt_otherwise(name)
        hint = f" Did you mean '{other}'?" if other else nearest(name, known)
        raise UserError(f"{source}: torchvision has no data set '{name}'.{hint}")
    try:
        dataset = _make_dataset(getattr(datasets, name), source, split, part)
    except ImportError as error:
        raise UserError(f"{source}: {error}; install that package beside this one") from None
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{source}: is not there and can't be downloaded ({reason}); without a network, put its files under "
            f"{data_folder()} or give a folder of pictures with --data PATH"
        ) from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: {error}") from None
    if not _holds_pictures(dataset):
        raise UserError(f"{source}: is no data set of pictures")
    return TorchvisionPictures(dataset, channels, source)


def _make_dataset(maker: Any, source: str, split: Split, part: str) -> Any:
    """A data set's part: the one that is named, else what torchvision calls its training or its held-out part."""
    takes = _parameters(maker)
    fixed = {"root": str(data_folder()), "download": True, "train": split == "train"}
    options: dict[str, Any] = {key: value for key, value in fixed.items() if key in takes}
    if maker.__name__ == "Imagenette":
        options["size"] = "160px"
    if "split" not in takes:
        if part:
            raise UserError(f"{source}: this data set has no parts to choose from, so leave ':{part}' out")
        if split == "val" and "train" not in takes:
            raise UserError(f"{source}: has no held-out part to judge by; name another source as data.val, or none")
    refusal: Exception | None = None
    for choice in ([part] if part else PARTS[split]) if "split" in takes else [None]:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
                return maker(**options, **({"split": choice} if choice else {}))
        except ValueError as error:  # no such part
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _holds_pictures(dataset: Any) -> bool:
    try:
        return not len(dataset) or isinstance(dataset[0][0], Image.Image)
    except Exception:  # the first one is damaged: the others will tell
        return True


def _parameters(maker: type) -> set[str]:
    """What a class takes; also what it hands on to the class that it extends."""
    found: set[str] = set()
    for ancestor in maker.__mro__:
        own = inspect.signature(ancestor.__init__).parameters  # type: ignore[misc]
        found |= set(own)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values()):
            break
    return found


def data_folder() -> Path:
    """Where downloaded data sets are kept: $SWAV_DATA, else the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("SWAV_DATA") or os.path.join(cache, "swav", "data"))
