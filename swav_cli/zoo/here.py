"""Published weights that are on this machine already: nothing is fetched for anybody who did not ask."""

from __future__ import annotations

import os
from pathlib import Path

from swav_cli.data.paths import expanded
from swav_cli.zoo.catalogue import Entry, entries
from swav_cli.zoo.download import is_url, models_folder

USUAL = "resnet50"  # of the networks, the one that pictures of a folder are enough for


def published_here() -> list[Entry]:
    """Pretrained networks without a classifier whose files are here, the best to start from first.

    Those that anybody may use come before those for non-commercial use alone, then the more accurate one.
    """
    found = [entry for entry in entries() if is_to_start_from(entry) and is_here(entry)]
    return sorted(found, key=lambda entry: (not entry.free, -entry.top1))


def is_to_start_from(entry: Entry) -> bool:
    """Whether a run may start from it where nobody has said from what: SwAV's own, of usual size."""
    return entry.architecture == USUAL and not entry.classes and not entry.backbone and bool(entry.prototypes)


def is_here(entry: Entry) -> bool:
    """Whether its file lies in the cache, or in the folder that SWAV_MIRROR names."""
    mirror = os.environ.get("SWAV_MIRROR", "")
    folders = [models_folder(), *([expanded(mirror)] if mirror and not is_url(mirror) else [])]
    return any(Path(folder, entry.file).is_file() for folder in folders)
