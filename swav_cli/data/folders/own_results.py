"""What swav itself has written where pictures lie: sheets, features, runs, sorted folders. None of it is a picture.

Nothing is told by its name alone, for a user's own picture may be called `prototypes.png` as well:

* sheets of pictures carry a mark within the first bytes of their PNG, and pages in the head of their HTML;
* arrays of features have their description beside them (`feats.json`), as have their labels;
* rows in progress lie in `feats.npy.part/`, beside what tells how far they are;
* a run's folder holds its recipe, and something that follows from it;
* a folder that `swav predict --sort-into` or `swav clusters` has made holds a hidden file that says so;
* what trackers keep of a run lies in its `tracking/`, beside a file for each that tells how far it was told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Set
from concurrent.futures import ThreadPoolExecutor

SHEET = "swav: a sheet of other pictures"  # the text `Software` of a PNG
PAGE = "swav: a page"  # what the head of a page in HTML names as its generator
SORTED = ".swav-sorted"
CLUSTERS = ".swav-clusters"
RECIPE = "recipe.yaml"
OF_A_RUN = {"metrics.jsonl", "results.json", "model.safetensors", "checkpoints", "prototypes.png"}
UNFINISHED = re.compile(r"(?i)\.(npy|npz|safetensors|parquet|csv|pt)\.part$")
BESIDE_FEATURES = re.compile(r"(?i)(\.labels)?\.npy$|\.paths\.txt$|\.json$")
OF_TRACKERS = {f"{name}.json" for name in ("tensorboard", "wandb", "trackio", "mlflow", "swanlab")}
OF_ROWS = {"rows.npy", "done", "settings.json", "final"}
FEATURES = b'"swav-features-'  # what the description of features begins with
MOST_SHEETS = 20_000  # PNGs of one listing that are looked into: on a disk far away each of them takes its time
MANY, LOOKERS = 64, 16  # from so many on by threads, and how many
SHEET_NAMES = {"prototypes.png", "confusion.png", "sheet.png"}  # and behind these only those called so


class Looking:
    """How many files may still be looked into, of one listing."""

    def __init__(self, most: int = MOST_SHEETS) -> None:
        self.left = most

    def sheets(self, folder: str, names: Iterable[str]) -> set[str]:
        """Those of the names in a folder that are sheets of ours."""
        drawn = [name for name in names if name.lower().endswith(".png")]
        asked = drawn[: max(0, self.left)] + [name for name in drawn[max(0, self.left) :] if name in SHEET_NAMES]
        self.left -= len(asked)
        paths = [os.path.join(folder, name) for name in asked]
        if len(paths) < MANY:
            are = list(map(is_sheet, paths))
        else:
            with ThreadPoolExecutor(LOOKERS) as pool:  # a disk far away answers many as soon as one
                are = list(pool.map(is_sheet, paths))
        return {name for name, is_one in zip(asked, are, strict=True) if is_one}


def is_sheet(path: str) -> bool:
    """Whether a file is a sheet of pictures that swav has drawn."""
    start = _start(path, 400)
    return start.startswith(b"\x89PNG") and SHEET.encode() in start


def is_page(path: str) -> bool:
    """Whether a file is a page that swav has made."""
    return f'<meta name="generator" content="{PAGE}">'.encode() in _start(path, 400)


def holds_results(folder: str, names: Set[str]) -> bool:
    """Whether the files directly in a folder are a run's.

    Args:
        names: of files and folders in it.
    """
    return RECIPE in names and bool(OF_A_RUN & names) and _is_recipe(os.path.join(folder, RECIPE))


def is_made_whole(name: str, names: Set[str]) -> bool:
    """Whether all in a folder, and in those within it, is none of the user's: pictures sorted, features in progress."""
    in_progress = UNFINISHED.search(name) is not None and bool(OF_ROWS & names)
    return SORTED in names or CLUSTERS in names or in_progress


def is_of_trackers(name: str, names: Set[str]) -> bool:
    """Whether all in a folder, and in those within it, is what trackers keep of a run."""
    return os.path.basename(name) == "tracking" and bool(OF_TRACKERS & names)


def features_among(folder: str, arrays: Iterable[str], names: Set[str]) -> set[str]:
    """Those of the arrays (`.npy`) in a folder that are features, or labels beside them."""
    stems = {name: name[:-4].removesuffix(".labels") for name in arrays}
    described = {
        stem
        for stem in set(stems.values())
        if f"{stem}.json" in names and FEATURES in _start(os.path.join(folder, f"{stem}.json"), 200)
    }
    return {name for name, stem in stems.items() if stem in described}


def own_among(paths: Iterable[str]) -> set[str]:
    """Those of some files, named one by one, that are none of the user's pictures, nor lists of them."""
    looking = Looking()
    found = set()
    for path in paths:
        folder, name = os.path.split(path)
        if looking.sheets(folder, [name]) or _belongs_to_features(path):
            found.add(path)
    return found


def _belongs_to_features(path: str) -> bool:
    """Whether a file is features, or lies beside them and tells of them."""
    ending = BESIDE_FEATURES.search(path)
    return ending is not None and FEATURES in _start(path[: ending.start()] + ".json", 200)


def _is_recipe(path: str) -> bool:
    text = _start(path, 1 << 16)
    return all(re.search(rb"^%s:" % key, text, re.MULTILINE) for key in (b"name", b"data", b"training"))


def _start(path: str, length: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(length)
    except OSError:
        return b""
