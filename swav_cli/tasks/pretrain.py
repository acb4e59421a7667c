"""One pretraining run, from a recipe to a trained model with its results: what `swav pretrain` does."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from swav_cli.core.derive import Derived, derive, with_value
from swav_cli.core.device import joined_on, own_device
from swav_cli.core.health import Health, warning
from swav_cli.core.micro_batch import MicroBatch, in_micro_batches
from swav_cli.core.swav import Trainer
from swav_cli.core.weights import about, save_model, weights_digest
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures, tell
from swav_cli.data.reading.cache import cached
from swav_cli.data.reading.loader import Crops, epoch_order, pick_workers
from swav_cli.data.shards.streams import StreamPictures, open_stream
from swav_cli.data.sources import open_pictures
from swav_cli.errors import Interrupted, UserError
from swav_cli.files import write_text
from swav_cli.parallel import distributed
from swav_cli.parallel.agreement import refuse_disagreement
from swav_cli.parallel.processes import first_decides, was_restarted
from swav_cli.recipe.file import dump_recipe, read_recipe
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.report.console import Screen, why_the_first_step_is_long
from swav_cli.run.checkpoint import newest_checkpoint
from swav_cli.run.folder import RunFolder, choose_folder, clear, only_run_in
from swav_cli.run.origin import Origin, refuse_other_origin, refuse_other_recipe
from swav_cli.run.results import change_results, finished_results
from swav_cli.run.seen import checkpoint_seen, pictures_seen, recipe_seen
from swav_cli.tasks.after_training import judged_on_the_way, training_is_saved
from swav_cli.tasks.pretrain_results import Judge, judged, show_prototypes, training_results
from swav_cli.zoo.load import start_from

PREVIEWED = 16  # pictures on a sheet of crops


class Settled(NamedTuple):
    """A recipe with its pictures, all checked: nothing has been written."""

    recipe: Recipe
    derived: list[Derived]
    pictures: Pictures
    judge: Judge | None
    device: torch.device

    @property
    def origin(self) -> Origin:
        pictures = self.pictures
        return Origin(
            pictures.fingerprint(), pictures.contents(), f"the pictures of {pictures.source}",
            pictures.former_fingerprints(),
        )  # fmt: skip


def settle(
    recipe: Recipe, device: str = "auto", micro_batch: MicroBatch | None = None, goes_on: Path | None = None
) -> Settled:
    """Open a recipe's pictures, replace every `auto`, and check all that can be checked before any work.

    Args:
        micro_batch: see `pretrain`.
        goes_on: a folder whose run, where there is one, goes on: what fitted when it began is kept to.

    Raises:
        UserError: something is missing or contradicts itself.
    """
    chosen = own_device(device)
    pictures = _training_pictures(recipe)
    recipe, derived = derive(recipe, pictures, chosen)
    if micro_batch is not None:
        begun = RunFolder(goes_on).recipe if goes_on else None
        if micro_batch == "auto" and begun is not None and begun.exists():
            recipe = with_value(recipe, "training.accumulate", read_recipe(begun).training.accumulate)
        else:
            recipe, found = in_micro_batches(recipe, micro_batch, chosen)
            derived.append(found)
    judge = Judge(recipe, pictures, chosen) if recipe.data.val else None
    return Settled(recipe, derived, pictures, judge, chosen)


def _training_pictures(recipe: Recipe) -> Pictures:
    data = recipe.data
    if data.stream_pictures is None:
        return open_pictures(data.train, "train", channels=data.channels, limit=data.limit, seed=recipe.training.seed)
    return open_stream(data.train, data.stream_pictures, data.shuffle_buffer, data.channels, distributed.world_size())


def preview_views(run: Settled) -> tuple[list[Tensor], Tensor, Tensor]:
    """The first crops of the run as the network sees them, V tensors (B, C, size, size), with mean and deviation."""
    recipe = run.recipe
    trainer = Trainer(recipe, run.pictures, run.device)
    pictures = run.pictures.some(PREVIEWED)
    crops = Crops(pictures, trainer.multicrop)
    order = epoch_order(len(pictures), recipe.training.seed, 0)
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
    micro_batch: MicroBatch | None = None,
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
        micro_batch: pictures of a process that go through the network at a time, in place of
            `training.accumulate`; `auto`: as many as a CUDA GPU's memory holds.

    Raises:
        UserError: a mistake that can be mended; nothing was written.
        Interrupted: a signal came; all is saved.
        Diverged: the loss is no longer finite.
    """
    screen = screen or Screen()
    with joined_on(device, recipe.training.timeout_minutes):
        place = expanded(out) if out else Path("runs") / recipe.name
        with screen.working("looking for what fits into memory") if micro_batch == "auto" else nullcontext():
            run = settle(recipe, device, micro_batch, place if resume and not overwrite else None)
        check_processes(run.recipe, distributed.world_size())
        tell(run.pictures, screen.notice)
        overwrite = overwrite and not was_restarted()
        folder, moved = first_decides(lambda: _free_folder(run, place, resume, overwrite))
        finished = first_decides(lambda: finished_results(folder))
        if finished is not None and not overwrite:
            screen.notice(f"{folder.path} is finished; run it again with --overwrite, or elsewhere with --out")
            return finished
        for line in moved:
            screen.notice(f"{line}, from here on")
        return _train(run, folder, overwrite, init_from, screen)


def _free_folder(run: Settled, place: Path, resume: bool, overwrite: bool) -> tuple[RunFolder, list[str]]:
    """The run's folder, and what is called otherwise in the recipe of the run that is there."""
    folder = RunFolder(choose_folder(place, resume, overwrite))
    if folder.recipe.exists() and not overwrite:
        return folder, refuse_other_recipe(folder, run.recipe, run.origin)
    return folder, []


def check_processes(recipe: Recipe, world: int) -> None:
    """
    Raises:
        UserError: so many processes do not divide batch, queue or groups of the recipe evenly.
    """
    training = recipe.training
    batch, queue = settled(training.batch_size), settled(recipe.loss.queue.length)
    part = batch // training.accumulate
    distributed.check_shares(batch, training.accumulate, world)
    if part // world < 2 and not training.sync_batchnorm:
        raise UserError(
            f"training.batch_size ({batch}) leaves a process 1 picture a part, and batch normalisation needs 2; "
            "start fewer processes or set training.sync_batchnorm=true"
        )
    if world > 1 and queue % batch:
        raise UserError(
            f"loss.queue.length ({queue}) holds no whole number of batches of {batch}, which several processes need "
            f"to divide it alike; set it to {queue // batch * batch}"
        )


def _train(
    run: Settled, folder: RunFolder, overwrite: bool, init_from: str | Path | None, screen: Screen
) -> dict[str, Any]:
    recipe, device = run.recipe, run.device
    trainer = Trainer(recipe, run.pictures, device)
    state = None if overwrite else newest_checkpoint(folder, screen.notice)
    started_with = None
    _refuse_disagreement(run, state)
    if state is not None:
        refuse_other_origin(folder, state, run.origin)
        trainer.restore(state)
    elif init_from is not None:
        started_with = start_from(trainer.model, init_from, screen.notice)
    refuse_disagreement(lambda: {"weights to start from": weights_digest(trainer.model, about(recipe))[:8]})
    # All is checked; from here on files are written.
    with only_run_in(folder):
        if distributed.is_writer():
            if overwrite:
                clear(folder)
            write_text(folder.recipe, dump_recipe(recipe))
        screen.opening(run.recipe, run.derived, trainer.plan, run.pictures, device, folder.path)
        if started_with:
            screen.notice(f"started from {init_from}: {started_with}")
        if state is not None:
            screen.notice(f"going on at step {trainer.course.step} of {trainer.plan.steps}")
        with screen.working("reading pictures"):
            if not isinstance(run.pictures, StreamPictures):
                trainer.pictures = cached(run.pictures, recipe.data.cache)
            if run.judge is not None:
                run.judge.keep_in_memory(trainer.pictures)
        return _run_and_judge(trainer, run.judge, folder, screen)


def _refuse_disagreement(run: Settled, state: dict[str, Any] | None) -> None:
    """
    Raises:
        UserError: processes would train different things.
    """
    judge = run.judge
    refuse_disagreement(
        lambda: {
            **recipe_seen(run.recipe),
            "checkpoint": checkpoint_seen(state),
            **pictures_seen("to train on", run.pictures),
            **pictures_seen("to judge by (data.val)", judge.labelled.queries if judge else None),
            **pictures_seen("to learn classes from (data.bank)", judge.labelled.taught_by if judge else None),
        }
    )


def _run_and_judge(trainer: Trainer, judge: Judge | None, folder: RunFolder, screen: Screen) -> dict[str, Any]:
    recipe, plan = trainer.recipe, trainer.plan
    every = recipe.evaluation.knn_every
    epochs = plan.steps // plan.steps_per_epoch
    warned = False

    def on_epoch(epoch: int, health: Health, loss: float) -> dict[str, Any]:
        nonlocal warned
        found: dict[str, Any] = {}
        if judge is not None and every and (epoch + 1) % every == 0 and epoch + 1 < epochs:
            found |= judged_on_the_way(lambda: {"knn": judge.accuracy(trainer.model)}, epoch, screen)
        share = loss / math.log(trainer.model.prototypes.out_features)
        screen.epoch(epoch, epochs, share, health, found.get("knn"))
        warm = trainer.course.step > max(plan.frozen_steps, plan.warmup_steps) + plan.steps_per_epoch
        advice = warning(health, share, epoch, warm)
        if advice and not warned:
            screen.warn(advice)
            warned = True
        return found

    try:
        with screen.training(
            trainer.course.step, plan.steps, why_the_first_step_is_long(trainer.device, recipe.training.compile)
        ):
            workers = pick_workers(recipe.training.workers, trainer.pictures, trainer.device)
            trainer.run(folder, workers, screen.step, on_epoch)
    except Interrupted:
        first_decides(lambda: save_model(folder.model, trainer.model, about(recipe)))
        raise
    first_decides(lambda: save_model(folder.model, trainer.model, about(recipe)))
    results = training_results(trainer, folder)
    with training_is_saved(folder, screen):
        if judge is not None:
            with screen.working("judging the features"), screen.counting() as progress:
                results |= judged(trainer, judge, progress)
        with screen.working("drawing prototypes.png"):
            _draw_prototypes(trainer, folder, screen)
        results["seconds"] = round(trainer.course.seconds, 1)
        first_decides(lambda: change_results(folder, lambda known: {**known, **results}))
    screen.closing(recipe, results, folder.path)
    return results


def _draw_prototypes(trainer: Trainer, folder: RunFolder, screen: Screen) -> None:
    try:
        show_prototypes(trainer, folder.prototypes)
    except UserError as error:
        if not isinstance(trainer.pictures, StreamPictures):
            raise
        screen.notice(f"{folder.prototypes.name} is not drawn: {error}")  # a stream that gave all that was to be learnt
