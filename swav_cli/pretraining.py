"""One pretraining run, from a recipe to a trained model with its results: what `swav pretrain` does."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from swav_cli.core import distributed
from swav_cli.core.checkpoint import RunFolder, newest_checkpoint, only_process_in, write_json, write_text
from swav_cli.core.derive import Derived, derive
from swav_cli.core.engine import Trainer
from swav_cli.core.health import Health, warning
from swav_cli.core.recipe import Recipe
from swav_cli.core.recipe_file import differences, dump_recipe, parse_recipe, read_yaml
from swav_cli.core.weights import about, save_model
from swav_cli.data.cache import cached
from swav_cli.data.loader import Crops, epoch_order
from swav_cli.data.sources import Pictures, open_pictures
from swav_cli.errors import Interrupted, UserError
from swav_cli.outcome import Judge, pick_workers, results_of, show_prototypes
from swav_cli.report.console import Screen
from swav_cli.zoo.load import start_from

PREVIEWED = 16  # pictures on a sheet of crops


class Settled(NamedTuple):
    """A recipe with its pictures, all checked: nothing has been written."""

    recipe: Recipe
    derived: list[Derived]
    pictures: Pictures
    judge: Judge | None
    device: torch.device


def settle(recipe: Recipe, device: str = "auto") -> Settled:
    """Open a recipe's pictures, replace every `auto`, and check all that can be checked before any work.

    Raises:
        UserError: something is missing or contradicts itself.
    """
    chosen = distributed.pick_device(device)
    data = recipe.data
    pictures = open_pictures(data.train, "train", channels=data.channels, limit=data.limit, seed=recipe.training.seed)
    recipe, derived = derive(recipe, pictures, chosen)
    judge = Judge(recipe, pictures, chosen) if data.val else None
    return Settled(recipe, derived, pictures, judge, chosen)


def preview_views(settled: Settled) -> tuple[list[Tensor], Tensor, Tensor]:
    """The first crops of the run as the network sees them, V tensors (B, C, size, size), with mean and deviation."""
    recipe = settled.recipe
    trainer = Trainer(recipe, settled.pictures, settled.device)
    crops = Crops(settled.pictures, trainer.multicrop)
    order = epoch_order(len(settled.pictures), recipe.training.seed, 0)
    batch = crops.__getitems__([(0, int(index)) for index in order[:PREVIEWED]])
    return trainer.views(batch), trainer.mean, trainer.std


def pretrain(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    resume: bool = True,
    overwrite: bool = False,
    init_from: str | Path | None = None,
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Train a recipe in a folder, or go on where it was stopped; what `results.json` holds.

    >>> pretrain(load_recipe("quickstart"))["knn"]    # doctest: +SKIP

    Args:
        out: the run's folder; `runs/<recipe's name>` where nothing is said.
        device: auto, cpu, cuda, cuda:1 or mps.
        resume: False begins a new run in the next free folder, `<out>-2`.
        overwrite: begin again in the same folder; what an earlier run left there is removed.
        init_from: a run, a checkpoint or a file of weights to start from.

    Raises:
        UserError: a mistake that can be mended; nothing was written.
        Interrupted: a signal came; all is saved.
        Diverged: the loss is no longer finite.
    """
    if distributed.world_size() == 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("training by several processes is not there yet; start one process, without torchrun")
    screen = screen or Screen()
    settled = settle(recipe, device)
    folder = RunFolder(choose_folder(Path(out) if out else Path("runs") / recipe.name, resume, overwrite))
    if folder.recipe.exists() and not overwrite:
        _refuse_other_recipe(folder, settled.recipe)
        finished = finished_results(folder)
        if finished is not None:
            screen.notice(f"{folder.path} is finished; run it again with --overwrite, or elsewhere with --out")
            return finished
    return _train(settled, folder, overwrite, init_from, screen)


def choose_folder(out: Path, resume: bool, overwrite: bool) -> Path:
    """The run's folder.

    Raises:
        UserError: it holds something else.
    """
    if not resume and not overwrite:
        out = _next_free(out)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not RunFolder(out).recipe.exists():
        raise UserError(f"{out}: holds other files and no run; give another folder with --out")
    parent = next(folder for folder in [out, *out.absolute().parents] if folder.exists())
    if not os.access(parent, os.W_OK):
        raise UserError(f"{parent}: can't be written to; give another folder with --out")
    return out


def _next_free(out: Path) -> Path:
    number, free = 2, out
    while free.exists():
        free = out.with_name(f"{out.name}-{number}")
        number += 1
    return free


def _refuse_other_recipe(folder: RunFolder, recipe: Recipe) -> None:
    before = parse_recipe(read_yaml(folder.recipe), str(folder.recipe))
    changed = differences(before, recipe)
    if changed:
        raise UserError(
            f"{folder.path} holds a run with another recipe:\n  " + "\n  ".join(changed) + "\n"
            "Train elsewhere with --out DIR, in a new folder beside it with --no-resume, or replace it with --overwrite"
        )


def finished_results(folder: RunFolder) -> dict[str, Any] | None:
    """The results of a run that has come to its end, else None."""
    try:
        results = json.loads(folder.results.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return dict(results)


def _train(
    settled: Settled, folder: RunFolder, overwrite: bool, init_from: str | Path | None, screen: Screen
) -> dict[str, Any]:
    recipe, device = settled.recipe, settled.device
    trainer = Trainer(recipe, settled.pictures, device)
    state = None if overwrite else newest_checkpoint(folder, screen.notice)
    started_with = None
    if state is not None:
        if state["fingerprint"] != trainer.fingerprint:
            raise UserError(
                f"{folder.path}: the pictures of {settled.pictures.source} have changed since the run began; "
                "begin again with --overwrite or elsewhere with --out"
            )
        trainer.restore(state)
    elif init_from is not None:
        started_with = start_from(trainer.model, init_from, screen.notice)
    # All is checked; from here on files are written.
    with only_process_in(folder):
        if overwrite:
            _clear(folder)
        write_text(folder.recipe, dump_recipe(recipe))
        screen.opening(settled.recipe, settled.derived, trainer.plan, settled.pictures, device, folder.path)
        if started_with:
            screen.notice(f"started from {init_from}: {started_with}")
        if state is not None:
            screen.notice(f"going on at step {trainer.step} of {trainer.plan.steps}")
        threads = torch.get_num_threads()
        with screen.working("reading pictures"):
            trainer.pictures = cached(settled.pictures, recipe.data.cache, threads)
            if settled.judge is not None:
                settled.judge.keep_in_memory(trainer.pictures, threads)
        return _run_and_judge(trainer, settled.judge, folder, screen)


def _clear(folder: RunFolder) -> None:
    """Remove what a run writes, and nothing else."""
    for path in (
        folder.metrics,
        folder.results,
        folder.model,
        folder.prototypes,
        folder.bad_pictures,
        *folder.checkpoints.glob("*.pt"),
    ):
        path.unlink(missing_ok=True)


def _run_and_judge(trainer: Trainer, judge: Judge | None, folder: RunFolder, screen: Screen) -> dict[str, Any]:
    recipe, plan = trainer.recipe, trainer.plan
    every = recipe.evaluation.knn_every
    epochs = plan.steps // plan.steps_per_epoch
    warned = False

    def on_epoch(epoch: int, health: Health, loss: float) -> dict[str, Any]:
        nonlocal warned
        found: dict[str, Any] = {}
        if judge is not None and every and (epoch + 1) % every == 0 and epoch + 1 < epochs:
            found["knn"] = judge.accuracy(trainer.model)
        share = loss / math.log(trainer.model.prototypes.out_features)
        screen.epoch(epoch, epochs, share, health, found.get("knn"))
        warm = trainer.step > max(plan.frozen_steps, plan.warmup_steps) + plan.steps_per_epoch
        advice = warning(health, share, epoch, warm)
        if advice and not warned:
            screen.warn(advice)
            warned = True
        return found

    try:
        with screen.training(trainer.step, plan.steps):
            workers = pick_workers(recipe, trainer.pictures, trainer.device)
            trainer.run(folder, workers, screen.step, on_epoch)
    except Interrupted:
        save_model(folder.model, trainer.model, about(recipe))
        raise
    save_model(folder.model, trainer.model, about(recipe))
    with screen.working("judging the features"):
        results = results_of(trainer, judge, folder)
    with screen.working("drawing prototypes.png"):
        show_prototypes(trainer, folder.prototypes)
    results["seconds"] = round(trainer.seconds, 1)
    write_json(folder.results, results)
    screen.closing(recipe, results, folder.path)
    return results
