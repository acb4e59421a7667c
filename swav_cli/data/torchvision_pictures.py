"""Data sets of torchvision as pictures, downloaded once where that can be."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image
from torch import Tensor

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.decoding.images import from_pillow
from swav_cli.data.paths import cache_folder, expanded
from swav_cli.data.pictures import Pictures, Split
from swav_cli.errors import UserError, first_line, nearest

# What data sets of torchvision call their parts, the likeliest first.
SPLITS_OF_TORCHVISION: dict[Split, tuple[str, ...]] = {
    "train": ("train", "trainval", "train-standard"),
    "val": ("test", "val", "valid"),
}


class TorchvisionPictures(Pictures):
    """A data set of torchvision, or that part of it."""

    def __init__(self, dataset: Any, channels: int, source: str, part: str = "") -> None:
        self.dataset, self.channels, self.source, self.part = dataset, channels, source, part
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
        # torchvision leaves it to Pillow which reader to take, which must not be that of a program.
        EpsImagePlugin.gs_binary = False
        try:
            return from_pillow(self.dataset[index][0], self.channels)
        except BadPicture:
            raise
        except Exception as error:  # a file of the data set that is damaged, or no longer there
            raise BadPicture(str(error) or type(error).__name__) from None

    def name(self, index: int) -> str:
        return f"{self.source}/{index}"

    def identity(self, index: int) -> str:
        return f"{self.source}:{self.part}/{index}"


def open_torchvision(source: str, rest: str, split: Split, channels: int) -> Pictures:
    from torchvision import datasets

    name, _, part = rest.partition(":")
    known = _torchvision_names()
    if name not in known:
        other = spelt_otherwise(name)
        hint = f" Did you mean '{other}'?" if other else nearest(name, known)
        raise UserError(f"{source}: torchvision has no data set '{name}'.{hint}")
    try:
        dataset = _make_dataset(getattr(datasets, name), source, split, part)
    except ImportError as error:
        raise UserError(f"{source}: {error}; install that package beside this one") from None
    except (OSError, RuntimeError) as error:
        reason = first_line(error)
        raise UserError(
            f"{source}: is not there and can't be downloaded ({reason}); without a network, put its files under "
            f"{data_folder()} or give a folder of pictures with --data PATH"
        ) from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: {error}") from None
    if not _holds_pictures(dataset):
        raise UserError(f"{source}: is no data set of pictures")
    return TorchvisionPictures(dataset, channels, source, part or split)


def _torchvision_names() -> list[str]:
    from torchvision import datasets

    return [name for name in datasets.__all__ if inspect.isclass(getattr(datasets, name))]


def spelt_otherwise(written: str) -> str | None:
    """The data set of torchvision that somebody means by `cifar-10`."""
    return {name.lower(): name for name in _torchvision_names()}.get(written.lower().replace("-", ""))


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
    for choice in ([part] if part else SPLITS_OF_TORCHVISION[split]) if "split" in takes else [None]:
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
    named = os.environ.get("SWAV_DATA")
    return expanded(named) if named else cache_folder() / "data"
