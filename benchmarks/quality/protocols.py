"""What recipes are judged on: which pictures, of what network, by what labels.

CIFAR-10 is read from two tar files of a folder a class, `cifar10_train.tar` and `cifar10_test.tar`; photographs from
`imagenet_sample.tar`. Nothing is downloaded.
"""

from __future__ import annotations

import csv
import random
import tarfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

SMALL = 10_000  # pictures
FEWEST = 0.01  # of the largest class, in the smallest one
NARROW = ("model.width=16", "training.precision=float32")


class Protocol(NamedTuple):
    """One way to judge a recipe."""

    recipe: str  # that is changed, where none is named
    overrides: tuple[str, ...]
    pictures: Callable[[Path, Path], tuple[str, str | None]]  # (data, folder to write to) -> train, val
    labelled: bool = True


def whole(data: Path, scratch: Path) -> tuple[str, str]:
    """All of CIFAR-10: 50,000 pictures, judged by 10,000 others."""
    return str(unpacked(data / "cifar10_train.tar", scratch)), str(unpacked(data / "cifar10_test.tar", scratch))


def small(data: Path, scratch: Path) -> tuple[str, str]:
    """A fifth of them, the same that the peers were measured with, judged by the 10,000 others."""
    train, val = whole(data, scratch)
    files = sorted(Path(train).glob("*/*"))
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(1))[:SMALL].tolist()
    return _table(scratch / "small.csv", [files[position] for position in order]), val


def imbalanced(data: Path, scratch: Path) -> tuple[str, str]:
    """Each class has fewer than the one before, the last a hundredth of the first; judged by as many of each."""
    train, val = whole(data, scratch)
    of_class: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(Path(train).glob("*/*")):
        of_class[file.parent.name].append(file)
    shares = [FEWEST ** (place / (len(of_class) - 1)) for place in range(len(of_class))]
    kept = []
    for share, files in zip(shares, of_class.values(), strict=True):
        random.Random(1).shuffle(files)
        kept += files[: round(SMALL * share / sum(shares))]
    return _table(scratch / "imbalanced.csv", kept), val


def photographs(data: Path, scratch: Path) -> tuple[str, None]:
    """Real ones without labels: numbers of health alone."""
    return str(unpacked(data / "imagenet_sample.tar", scratch)), None


def drawn(data: Path, scratch: Path) -> tuple[str, str]:
    """Shapes that draw themselves."""
    return "shapes:5000", "shapes:1000"


def unpacked(tar: Path, scratch: Path) -> Path:
    """The folder with what is in a tar file, unpacked once."""
    folder = scratch / tar.stem
    if not folder.is_dir():
        aside = scratch / f"{tar.stem}.partial"
        with tarfile.open(tar) as archive:
            archive.extractall(aside, filter="data")
        aside.rename(folder)
    return folder


def _table(path: Path, files: list[Path]) -> str:
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "label"])
        writer.writerows([str(file), file.parent.name] for file in sorted(files))
    return str(path)


PROTOCOLS = {
    "small": Protocol("cifar10", (*NARROW, "training.epochs=20"), small),
    "imbalanced": Protocol("cifar10", (*NARROW, "training.epochs=20"), imbalanced),
    "grey": Protocol(
        "cifar10", (*NARROW, "training.epochs=20", "data.channels=1", "data.mean=auto", "data.std=auto"), small
    ),
    "shapes": Protocol("quickstart", (), drawn),
    "real": Protocol("small-folder", ("crops.0.size=64", "model.width=16", "training.epochs=40"), photographs, False),
    "whole": Protocol("cifar10", ("training.batch_size=512",), whole),
}
