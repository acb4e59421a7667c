"""A run's state on disk, whole or not at all.

`last.pt` is written beside its name, flushed and moved there; the one before becomes `previous.pt`. A kill at any
moment leaves one of them whole. A damaged one is noticed by the checksums that its zip container holds.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from swav_cli.errors import UserError, first_line
from swav_cli.files import write_whole
from swav_cli.run.folder import RunFolder

CHECKPOINT_FORMAT = "swav-run-1"


def save_checkpoint(folder: RunFolder, state: dict[str, Any], keep_as: str | None = None) -> None:
    """Write the state as `last.pt`, and under a name of its own where it is to be kept for good."""
    folder.checkpoints.mkdir(parents=True, exist_ok=True)
    fresh = folder.checkpoints / "next.pt"
    write_whole(fresh, lambda beside: torch.save({"format": CHECKPOINT_FORMAT, **state}, beside))
    if folder.last.exists():
        os.replace(folder.last, folder.previous)
    os.replace(fresh, folder.last)
    if keep_as:
        kept = folder.checkpoints / keep_as
        kept.unlink(missing_ok=True)
        try:
            os.link(folder.last, kept)  # the same bytes under a second name, which moving `last.pt` leaves alone
        except OSError:
            write_whole(kept, lambda beside: torch.save({"format": CHECKPOINT_FORMAT, **state}, beside))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state in a checkpoint of ours; holds tensors and plain values, and no code is run.

    Raises:
        ValueError: damaged, or not one of ours; the message says which.
    """
    try:
        with zipfile.ZipFile(path) as container:
            damaged = container.testzip()
        if damaged:
            raise ValueError(f"damaged (checksum of {damaged})")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError) as error:
        raise ValueError(f"damaged ({first_line(error)})") from None
    if not isinstance(state, dict) or state.get("format") != CHECKPOINT_FORMAT:
        raise ValueError("not a checkpoint of a swav run")
    return state


def newest_checkpoint(folder: RunFolder, notice: Callable[[str], None]) -> dict[str, Any] | None:
    """The state to go on from: the last one, or the one before where that is damaged, with a notice.

    Raises:
        UserError: there are checkpoints and none can be read.
    """
    # `next.pt` is whole but was not yet moved when the process died between two moves.
    candidates = [folder.checkpoints / "next.pt", folder.last, folder.previous]
    there = [path for path in candidates if path.exists()]
    for path in there:
        try:
            return load_checkpoint(path)
        except ValueError as error:
            notice(f"{path}: {error}; passed over, the checkpoint before it is used")
    if there:
        raise UserError(
            f"{folder.checkpoints}: no checkpoint can be read; begin again with --overwrite, or elsewhere with --out"
        )
    return None
