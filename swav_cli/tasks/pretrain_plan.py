"""A pretraining run before it is begun, what it will do and need and how its crops look: `--dry-run`, `--preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.photometric import recolour
from swav_cli.data.inputs import refuse_to_replace
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures, tell
from swav_cli.data.reading.loader import Crops, epoch_order
from swav_cli.data.shards.streams import StreamPictures
from swav_cli.planning.micro_batch import MicroBatch
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.report.console import Screen
from swav_cli.report.plan import plan_facts
from swav_cli.report.sheet import save_crops
from swav_cli.tasks.pretrain import check_processes, settle
from swav_cli.tasks.pretrain_minutes import NOTHING, Asked
from swav_cli.tasks.pretrain_weights import wanted_weights
from swav_cli.writable import check_place

PREVIEWED = 16  # pictures on a sheet of crops


def plan_pretraining(
    recipe: Recipe,
    device: str = "auto",
    *,
    micro_batch: MicroBatch | None = None,
    init_from: str | Path | None = None,
    processes: int = 1,
    preview: str | Path | None = None,
    asked: Asked = NOTHING,
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Check all that a run's beginning checks, and tell what it would do; what `swav pretrain --dry-run --json` prints.

    >>> from swav_cli import load_recipe
    >>> plan_pretraining(load_recipe("quickstart"))["steps"]
    390

    Args:
        device, micro_batch, init_from: as `pretrain` takes them.
        processes: that will share each batch.
        asked: for how long a run is to take, see `pretrain`.
        preview: a PNG file for a sheet of the crops of the first pictures.

    Raises:
        UserError: what `pretrain` would not begin.
    """
    screen = screen or Screen()
    recipe = wanted_weights(recipe, init_from)
    if preview is not None:
        preview = expanded(preview)
        check_place(preview, "--preview")
    run = settle(recipe, device, micro_batch, screen=screen, asked=asked._replace(fetches=False))
    check_processes(run.recipe, processes)
    tell(run.pictures, screen.notice)
    if preview is not None:
        if not isinstance(run.pictures, StreamPictures):
            refuse_to_replace((), run.pictures, [preview])
        save_crops(preview, *preview_views(run.recipe, run.pictures))
        screen.notice(f"wrote {preview}")
    return plan_facts(run.recipe, run.derived, len(run.pictures), str(run.device))


def preview_views(recipe: Recipe, pictures: Pictures) -> tuple[list[Tensor], Tensor, Tensor]:
    """The first crops of a run as the network sees them, V tensors (B, C, size, size), with mean and deviation.

    Args:
        recipe: settled.
    """
    pictures = pictures.some(PREVIEWED)
    mean, std = torch.tensor(settled(recipe.data.mean)), torch.tensor(settled(recipe.data.std))
    crops = Crops(pictures, MultiCrop(recipe.crops, recipe.augment, recipe.training.seed))
    order = epoch_order(len(pictures), recipe.training.seed, 0)
    batch = crops.__getitems__([(0, int(index)) for index in order[:PREVIEWED]])
    cut = [crop for kind in batch.crops for crop in kind.unbind(dim=1)]  # V of (B, C, size, size), uint8
    return [recolour(crop, batch.numbers[:, view], mean, std) for view, crop in enumerate(cut)], mean, std
