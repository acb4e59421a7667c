"""Where pictures come from: a folder, a list of files, a torchvision data set, or `shapes`.

All are `Pictures`: a length, a way to read one as uint8, a name for each, and labels where the source has them.
"""

from __future__ import annotations

import csv
import hashlib
import inspect
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.data.images import SUFFIXES, read_picture
from swav_cli.data.paths import PathTable, find_files
from swav_cli.data.shapes import KINDS, shape_picture
from swav_cli.errors import UserError, nearest

Split = Literal["train", "val"]


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
        digest = hashlib.sha256(f"{len(self)}".encode())
        for index in range(0, len(self), max(1, len(self) // 1000)):
            digest.update(self.name(index).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:16]


class FilePictures(Pictures):
    """Files below a root. Classes are the root's own subfolders, where every file lies in one."""

    def __init__(self, root: Path, names: list[str], channels: int, source: str) -> None:
        self.root, self.paths, self.channels, self.source = root, PathTable(names), channels, source
        tops = [name.split("/", 1)[0] if "/" in name else None for name in names]
        if names and None not in tops:
            classes, labels = np.unique(np.array(tops, dtype=str), return_inverse=True)
            self.classes, self.labels = classes.tolist(), labels.astype(np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        return read_picture(self.root / self.paths[index], self.channels)

    def name(self, index: int) -> str:
        return str(self.root / self.paths[index])


class ShapePictures(Pictures):
    """The pictures that draw themselves; see `shapes.py`."""

    def __init__(self, count: int, seed: int, split: Split) -> None:
        self.count, self.seed, self.split, self.channels = count, seed, split, 3
        self.source = f"shapes:{count}:{seed}"
        self.classes = list(KINDS)
        self.labels = np.arange(count, dtype=np.int64) % len(KINDS)

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Tensor:
        return shape_picture(self.seed, self.split, index)

    def name(self, index: int) -> str:
        return f"shapes/{self.split}/{KINDS_IN_ORDER[index % len(KINDS)]}/{index:06d}"


KINDS_IN_ORDER = list(KINDS)


class TorchvisionPictures(Pictures):
    """A data set of torchvision, by its class name."""

    def __init__(self, dataset: Any, channels: int, source: str) -> None:
        self.dataset, self.channels, self.source = dataset, channels, source
        labels = getattr(dataset, "targets", getattr(dataset, "labels", getattr(dataset, "_labels", None)))
        if labels is not None and len(labels) == len(dataset) and min(int(label) for label in labels) >= 0:
            self.labels = np.asarray([int(label) for label in labels], dtype=np.int64)
            names = getattr(dataset, "classes", None)
            found = names if names else range(int(self.labels.max()) + 1)
            self.classes = [name[0] if isinstance(name, tuple) else str(name) for name in found]

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, index: int) -> Tensor:
        from torchvision.transforms.functional import pil_to_tensor

        picture = self.dataset[index][0]
        return pil_to_tensor(picture.convert("RGB" if self.channels == 3 else "L"))

    def name(self, index: int) -> str:
        return f"{self.source}/{index}"


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


def open_pictures(
    source: str, split: Split = "train", *, channels: int = 3, limit: int | None = None, seed: int = 0
) -> Pictures:
    """The pictures of a source: a folder, a list of files (.txt, .csv), `torchvision:NAME` or `shapes:COUNT`.

    Raises:
        UserError: nothing there, with what to do.
    """
    kind, _, rest = source.partition(":")
    if kind == "shapes":
        pictures = _open_shapes(source, rest, split, channels)
    elif kind == "torchvision":
        pictures = _open_torchvision(source, rest, split, channels)
    else:
        pictures = _open_files(Path(source).expanduser(), channels)
    if not len(pictures):
        raise UserError(f"{source}: holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return Limited(pictures, limit, seed) if limit and limit < len(pictures) else pictures


def _open_shapes(source: str, rest: str, split: Split, channels: int) -> Pictures:
    parts = rest.split(":") if rest else ["5000"]
    if channels != 3:
        raise UserError(f"{source}: drawn pictures have 3 channels, not data.channels ({channels})")
    if len(parts) > 2 or not all(part.isdigit() for part in parts) or int(parts[0]) == 0:
        raise UserError(f"{source}: write it as shapes:COUNT or shapes:COUNT:SEED, for example shapes:5000")
    return ShapePictures(int(parts[0]), int(parts[1]) if len(parts) == 2 else 0, split)


def _open_files(path: Path, channels: int) -> Pictures:
    try:
        if path.is_dir():
            return FilePictures(path, find_files(path, SUFFIXES), channels, str(path))
        if path.suffix.lower() in (".txt", ".csv", ".tsv") and path.is_file():
            return _open_list(path, channels)
    except OSError as error:
        raise UserError(f"{error.filename or path}: can't be read ({error.strerror})") from None
    if path.exists():
        raise UserError(f"{path}: neither a folder nor a list of files (.txt, .csv)")
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(f"{path}: no such folder or list of pictures.{nearest(path.name, beside)} Give one with --data PATH")


def _open_list(path: Path, channels: int) -> Pictures:
    """A file with a path a line, or the first column of a CSV; relative paths start at the list's own folder."""
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    if path.suffix.lower() == ".txt":
        names = [line.strip() for line in text.splitlines()]
    else:
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        names = [row[0].strip() for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
        if names and os.path.splitext(names[0])[1].lower() not in SUFFIXES:
            names = names[1:]  # a line of headings
    names = [name for name in names if name and not name.startswith("#")]
    missing = [name for name in names if not (path.parent / name).exists()]
    if missing and len(missing) == len(names):
        raise UserError(f"{path}: none of its {len(names)} files is there, first {missing[0]}; paths start at {path.parent}")
    return FilePictures(path.parent, names, channels, str(path))


def _open_torchvision(source: str, rest: str, split: Split, channels: int) -> Pictures:
    from torchvision import datasets

    name, _, chosen = rest.partition(":")
    known = [key for key in datasets.__all__ if inspect.isclass(getattr(datasets, key))]
    if name not in known:
        raise UserError(f"{source}: torchvision has no data set '{name}'.{nearest(name, known)}")
    maker = getattr(datasets, name)
    takes = inspect.signature(maker).parameters
    options: dict[str, Any] = {"root": str(data_folder())}
    if "download" in takes:
        options["download"] = True
    if chosen:
        options["split"] = chosen
    elif "train" in takes:
        options["train"] = split == "train"
    elif "split" in takes:
        options["split"] = "train" if split == "train" else ("val" if "val" in str(takes["split"].default) else "test")
        if name == "Imagenette":
            options["split"] = split
    if name == "Imagenette":
        options["size"] = "160px"
    try:
        return TorchvisionPictures(maker(**options), channels, source)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{source}: can't be downloaded ({reason}); without a network, put the unpacked data under {data_folder()} "
            "or give a folder of pictures with --data PATH"
        ) from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: {error}") from None


def data_folder() -> Path:
    """Where downloaded data sets are kept: $SWAV_DATA, else the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("SWAV_DATA") or os.path.join(cache, "swav", "data"))


