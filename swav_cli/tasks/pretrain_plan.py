"""A pretraining run before it is begun, what it will do and need and how its crops look: `--dry-run`, `--preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from swav_cli.core.micro_batch import MicroBatch
from swav_cli.core.swav import Trainer
from swav_cli.data.inputs import refuse_to_replace
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import tell
from swav_cli.data.reading.loader import Crops, epoch_order
from swav_cli.data.shards.streams import StreamPictures
from swav_cli.recipe.schema import Recipe
from swav_cli.report.console import Screen
from swav_cli.report.plan import plan_facts
from swav_cli.report.sheet import save_crops
from swav_cli.tasks.pretrain import Settled, check_processes, settle
from swav_cli.writable import check_place
from swav_cli.zoo.load import check_known

PREVIEWED = 16  # pictures on a sheet of crops


def plan_pretraining(
    recipe: Recipe,
    device: str = "auto",
    *,
    micro_batch: MicroBatch | None = None,
    init_from: str | Path | None = None,
    processes: int = 1,
    preview: str | Path | None = None,
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Check all that a run's beginning checks, and tell what it would do; what `swav pretrain --dry-run --json` prints.

    >>> from swav_cli import load_recipe
    >>> plan_pretraining(load_recipe("quickstart"))["steps"]
    390

    Args:
        device, micro_batch, init_from: as `pretrain` takes them.
        processes: that will share each batch.
        preview: a PNG file for a sheet of the crops of the first pictures.

    Raises:
        UserError: what `pretrain` would not begin.
    """
    screen = screen or Screen()
    if init_from is not None:
        check_known(init_from)
    if preview is not None:
        preview = expanded(preview)
        check_place(preview, "--preview")
    run = settle(recipe, device, micro_batch, progress=screen.indexing)
    check_processes(run.recipe, processes)
    tell(run.pictures, screen.notice)
    if preview is not None:
        if not isinstance(run.pictures, StreamPictures):
            refuse_to_replace((), run.pictures, [preview])
        save_crops(preview, *preview_views(run))
        screen.notice(f"wrote {preview}")
    return plan_facts(run.recipe, run.derived, len(run.pictures), str(run.device))


def preview_views(run: Settled) -> tuple[list[Tensor], Tensor, Tensor]:
    """The first crops of the run as the network sees them, V tensors (B, C, size, size), with mean and deviation."""
    recipe = run.recipe
    trainer = Trainer(recipe, run.pictures, run.device)
    pictures = run.pictures.some(PREVIEWED)
    crops = Crops(pictures, trainer.multicrop)
    order = epoch_order(len(pictures), recipe.training.seed, 0)
    batch = crops.__getitems__([(0, int(index)) for index in order[:PREVIEWED]])
    views = [crop for each in trainer.views(batch) for crop in each.split(len(batch.indices))]
    return views, trainer.mean, trainer.std
