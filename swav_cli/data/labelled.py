"""Pictures with labels, to train a classifier and to judge one: which keep their labels, and whose classes count."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.lists.label_lists import listed_among
from swav_cli.data.lists.record_pictures import parts_of_records
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import SPLIT_NAMES, Chosen, Pictures
from swav_cli.errors import UserError, counted, nearest

HELD_OUT = 0.2  # of the pictures of each class, where nobody names others to judge by


def labels_of(pictures: Pictures) -> tuple[NDArray[np.int64], list[str]]:
    """A class for each picture, and the classes' names in their order.

    Raises:
        UserError: there are none, or a single class.
    """
    labels, classes = pictures.labels, pictures.classes
    if labels is None or classes is None:
        raise UserError(
            f"{pictures.source}: "
            + why_unlabelled(
                pictures,
                "has no labels; put its pictures into a folder a class, or give a table (.csv) with the columns path "
                "and label",
            )
        )
    if len(classes) < 2:
        raise UserError(f"{pictures.source}: all pictures are of one class, {classes[0]}; give two or more to tell")
    return labels, classes


def match_classes(pictures: Pictures, classes: list[str], known: str) -> tuple[NDArray[np.int64], list[str]]:
    """Labels in the numbering of the training pictures' classes, matched by name, and the classes that don't occur.

    Raises:
        UserError: no labels, or a class that is not among those.
    """
    labels, own = pictures.labels, pictures.classes
    if labels is None or own is None:
        why = why_unlabelled(pictures, "has no labels to judge by; put its pictures into a folder a class")
        raise UserError(f"{pictures.source}: {why}")
    number = {name: position for position, name in enumerate(classes)}
    # np.unique would say the same, and imports masked arrays, which takes as long as a small evaluation.
    occurring = [own[position] for position in np.flatnonzero(np.bincount(labels, minlength=len(own)))]
    unknown = [name for name in occurring if name not in number]
    if unknown:
        more = f" nor are {len(unknown) - 1} others" if len(unknown) > 1 else ""
        raise UserError(
            f"{pictures.source}: class '{unknown[0]}' is not among the {len(classes):,} of {known}{more}."
            f"{nearest(unknown[0], classes)}"
        )
    translated = np.array([number.get(name, -1) for name in own], dtype=np.int64)[labels]
    return translated, sorted(set(classes) - set(occurring), key=number.__getitem__)


def why_unlabelled(pictures: Pictures, otherwise: str) -> str:
    """Which pictures lack a label where others have one, and what to do; else what is said of those without any."""
    if pictures.unlabelled is None:
        return otherwise
    return f"{pictures.unlabelled}; labels count where all have one: add those, or leave such pictures out"


def train_and_val_in(source: str) -> tuple[str, str] | None:
    """The two parts of a folder that holds `train` and `val` (or `test`); None where it doesn't."""
    found = {}
    for part, names in SPLIT_NAMES.items():
        there = [name for name in names if os.path.isdir(expanded(source) / name)]
        if not there:
            return parts_of_records(expanded(source)) if os.path.isdir(expanded(source)) else None
        found[part] = str(Path(source) / there[0])
    return found["train"], found["val"]


def hold_out(pictures: Pictures, seed: int) -> tuple[Chosen, Chosen]:
    """The pictures in two parts, a fifth of each class in the second; fixed by the seed.

    Raises:
        UserError: no labels, or a class with too few pictures to be split.
    """
    labels, classes = labels_of(pictures)
    out = np.concatenate(
        [_drawn(pictures, number, max(1, round(HELD_OUT * count)), seed) for number, count in _counts(labels)]
    )
    rest = np.setdiff1d(np.arange(len(labels)), out)
    lost = np.setdiff1d(np.arange(len(classes)), np.unique(labels[rest]))
    if len(lost):
        raise UserError(
            f"{pictures.source}: class '{classes[lost[0]]}' has one picture, which can't be trained on and judged by; "
            "give more, or name others to judge by with --val"
        )
    return Chosen(pictures, rest), Chosen(pictures, np.sort(out))


def keep_labelled(pictures: Pictures, wanted: str, seed: int) -> Pictures:
    """The pictures whose labels are used.

    Args:
        wanted: `all`; a share such as `10%`, of each class and at least one picture; a number of pictures a class; or a
            file that lists them by name, as the published lists of 1 and 10 % of ImageNet do; see `listed_among`.
        seed: draws them; the pictures of a smaller share are among those of a larger one.

    Raises:
        UserError: none of these, or not to be had.
    """
    if wanted == "all":
        return pictures
    labels, classes = labels_of(pictures)
    share = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", wanted)
    if share and 0 < float(share[1]) <= 100:
        part = float(share[1]) / 100
        chosen = [_drawn(pictures, number, max(1, round(part * count)), seed) for number, count in _counts(labels)]
    elif wanted.isdecimal() and int(wanted) > 0:
        scarce = [(count, number) for number, count in _counts(labels) if count < int(wanted)]
        if scarce:
            count, number = min(scarce)
            there = counted(count, "picture")
            raise UserError(f"--labels {wanted}: class '{classes[number]}' has {there}; ask for {count}")
        chosen = [_drawn(pictures, number, int(wanted), seed) for number, _ in _counts(labels)]
    elif os.path.isfile(expanded(wanted)):
        chosen = [listed_among(pictures, expanded(wanted))]
    else:
        raise UserError(
            f"--labels {wanted}: write all, a share such as 10%, a number a class, or a file that lists pictures"
        )
    return Chosen(pictures, np.sort(np.concatenate(chosen)))


def _counts(labels: NDArray[np.int64]) -> list[tuple[int, int]]:
    numbers, counts = np.unique(labels, return_counts=True)
    return list(zip(numbers.tolist(), counts.tolist(), strict=True))


def _drawn(pictures: Pictures, number: int, count: int, seed: int) -> NDArray[np.int64]:
    """So many pictures of a class."""
    own = np.flatnonzero(pictures.labels == number)
    key = number if pictures.drawn_by is None else int(pictures.drawn_by[number])
    return own[np.random.Generator(np.random.Philox(key=[seed, key])).permutation(len(own))[:count]]
