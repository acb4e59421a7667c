"""One pretraining run, from a recipe to a trained model with its results: what `swav pretrain` does."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch

from swav_cli.core.compiling import check_compile
from swav_cli.core.deepcluster import DeepCluster, make_trainer
from swav_cli.core.device import joined_on, own_device
from swav_cli.core.device_crops import check_room
from swav_cli.core.keeper import Keeper
from swav_cli.core.multicrop import decode_for_crops
from swav_cli.core.swav import Trainer
from swav_cli.core.verdict import Verdict, verdict
from swav_cli.core.weights import save_model, take_weights, weights_digest
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures, tell
from swav_cli.data.reading.cache import CachedPictures, cached
from swav_cli.data.reading.loader import pick_workers
from swav_cli.data.shards.streams import StreamPictures, open_stream
from swav_cli.errors import Collapsed, Interrupted, Told, UserError
from swav_cli.files import write_text
from swav_cli.parallel import distributed
from swav_cli.parallel.agreement import refuse_disagreement
from swav_cli.parallel.place import was_restarted
from swav_cli.parallel.processes import first_decides
from swav_cli.planning.derive import Derived, derive, derived_facts, with_value
from swav_cli.planning.micro_batch import MicroBatch, in_micro_batches
from swav_cli.recipe.file import dump_recipe
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.report.console import Screen, why_the_first_step_is_long
from swav_cli.report.trackers.names import check_installed
from swav_cli.report.trackers.tracking import Trackers, hint_at_replay, tracking
from swav_cli.run.checkpoint import newest_checkpoint
from swav_cli.run.folder import RunFolder, clear, only_run_in
from swav_cli.run.metrics import Step
from swav_cli.run.origin import Origin, refuse_other_origin
from swav_cli.run.pictures import training_pictures
from swav_cli.run.results import change_results
from swav_cli.run.seen import checkpoint_seen, pictures_seen, recipe_seen
from swav_cli.tasks.after_training import judged_on_the_way, training_is_saved
from swav_cli.tasks.before_training import run_folder
from swav_cli.tasks.pretrain_minutes import NOTHING, Asked, Opened, as_begun, begun_recipe, planned, time_needed
from swav_cli.tasks.pretrain_results import (
    Judge,
    judged,
    judged_without_labels,
    open_labelled,
    show_prototypes,
    training_results,
)
from swav_cli.tasks.pretrain_weights import NETWORK, Start, as_started, started, wanted_weights
from swav_cli.zoo.load import Loaded, start_from


class Settled(NamedTuple):
    """A recipe with its pictures, all checked: nothing has been written."""

    recipe: Recipe
    derived: list[Derived]
    pictures: Pictures
    judge: Judge | None
    device: torch.device
    weights: Loaded | None = None  # that it starts from; of a run that goes on they are not read

    @property
    def origin(self) -> Origin:
        pictures = self.pictures
        return Origin(
            pictures.fingerprint(), pictures.contents(), f"the pictures of {pictures.source}",
            pictures.former_fingerprints(),
        )  # fmt: skip


def settle(
    recipe: Recipe,
    device: str = "auto",
    micro_batch: MicroBatch | None = None,
    goes_on: Path | None = None,
    screen: Screen | None = None,
    asked: Asked = NOTHING,
) -> Settled:
    """Open a recipe's pictures, replace every `auto`, and check all that can be checked before any work.

    Args:
        micro_batch: see `pretrain`.
        goes_on: a folder whose run, where there is one, goes on: what fitted when it began is kept to.
        asked: for how long a run is to take.

    Raises:
        UserError: something is missing or contradicts itself.
    """
    screen = screen or Screen()
    chosen, begun = own_device(device), begun_recipe(goes_on)
    pictures = _training_pictures(recipe, screen.indexing)
    labelled = open_labelled(recipe, pictures, screen.indexing) if recipe.data.val else None
    if begun is not None and goes_on is not None:
        recipe = as_started(recipe, begun, RunFolder(goes_on).recipe, asked.held)
        start = Start(as_begun(recipe, begun, asked, goes_on), [], None)
    else:
        start = _planned(recipe, Opened(pictures, labelled), chosen, asked, screen)
    recipe = start.recipe
    decode_for_crops(pictures, recipe)  # as they are planned
    recipe, derived = derive(recipe, pictures, chosen)
    check_compile(recipe, chosen)
    if recipe.data.cache == "device":
        check_room(pictures, chosen)
    derived = start.derived + derived
    if micro_batch is not None:
        if micro_batch == "auto" and begun is not None:
            recipe = with_value(recipe, "training.accumulate", begun.training.accumulate)
        else:
            recipe, part = in_micro_batches(recipe, micro_batch, chosen)
            derived.append(part)
    judge = Judge(recipe, pictures, chosen, labelled=labelled) if labelled else None
    return Settled(recipe, derived, pictures, judge, chosen, start.loaded)


def _planned(recipe: Recipe, opened: Opened, device: torch.device, asked: Asked, screen: Screen) -> Start:
    """The recipe with the network of the weights that it starts from, and as it fits into the time asked for."""
    start = started(recipe, opened.training, asked.held, asked.fetches, screen.notice)
    if asked.minutes is None:
        return start
    held = [*asked.held, *(NETWORK if start.recipe.model.init_from is not None else ())]
    with screen.working("measuring this machine"):
        recipe, found = planned(start.recipe, opened, device, asked._replace(held=held))
    return start._replace(recipe=recipe, derived=[*start.derived, *found])


def _training_pictures(recipe: Recipe, progress: Told) -> Pictures:
    data = recipe.data
    if data.stream_pictures is None:
        pictures = training_pictures(recipe, progress)
    else:
        world = distributed.world_size()
        pictures = open_stream(
            data.train, data.stream_pictures, data.shuffle_buffer, data.channels, world, data.max_bad
        )
    decode_for_crops(pictures, recipe)
    return pictures


def pretrain(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    resume: bool = True,
    overwrite: bool = False,
    init_from: str | Path | None = None,
    micro_batch: MicroBatch | None = None,
    track: Sequence[str] | None = None,
    minutes: float | None = None,
    held: Collection[str] = (),
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Train a recipe in a folder, or go on where it was stopped; what `results.json` holds.

    >>> from swav_cli import load_recipe
    >>> recipe = load_recipe("quickstart", ["data.train=shapes:128", "data.val=null", "training.epochs=1"])
    >>> sorted(pretrain(recipe, "runs/short"))
    ['advice', 'bad_pictures', 'epochs', 'health', 'loss', 'loss_over_ln_k', 'pictures', 'recipe', 'seconds', 'verdict']

    Args:
        out: the run's folder; `runs/<recipe's name>` where nothing is said.
        device: auto, cpu, cuda, cuda:1 or mps.
        resume: False begins a new run in the next free folder, `<out>-2`.
        overwrite: begin again in the same folder; what an earlier run left there is removed.
        init_from: a run, a checkpoint, a file of weights or a published model to start from, in place of
            `model.init_from`; "none": from scratch. The network is theirs, and rate and epochs suit that.
        micro_batch: pictures of a process that go through the network at a time, in place of
            `training.accumulate`; `auto`: as many as a CUDA GPU's memory holds.
        minutes: that the run is to take; network, crops, epochs, batch are chosen so, once, by what is measured here.
        held: keys of values that such a plan leaves as they are, such as ["model.width"].
        track: trackers to tell of the run, such as ["tensorboard"]; None: those that it told before, where it goes on.

    Raises:
        UserError: a mistake that can be mended; nothing was written.
        Interrupted: a signal came; all is saved.
        Diverged: the loss is no longer finite.
    """
    screen, asked = screen or Screen(), Asked(minutes, held, time.monotonic())
    overwrite = overwrite and not was_restarted()
    for name in track or ():
        check_installed(name, "track")
    with joined_on(device, recipe.training.timeout_minutes):
        place = expanded(out) if out else Path("runs") / recipe.name
        with screen.working("looking for what fits into memory") if micro_batch == "auto" else nullcontext():
            recipe = wanted_weights(recipe, init_from)
            run = settle(recipe, device, micro_batch, place if resume and not overwrite else None, screen, asked)
        check_processes(run.recipe, distributed.world_size())
        tell(run.pictures, screen.notice)
        folder, finished = run_folder(place, run.recipe, lambda: run.origin, resume, overwrite, screen.notice)
        if finished is not None:
            hint_at_replay(folder, track, screen.notice)
            return finished
        trainer, words = _trainer(run, folder, overwrite, screen)
        # All is checked; from here on files are written.
        with only_run_in(folder):
            _open(trainer, run, folder, overwrite, screen)
            for line in words:
                screen.notice(line)
            _keep_in_memory(trainer, run, screen)
            _tell_time(trainer, run, screen)
            with tracking(folder, run.recipe, track, screen.notice) as trackers:
                _train(trainer, run, folder, screen, trackers)
                return _come_to(trainer, run.judge, folder, screen, trackers)


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


def _trainer(run: Settled, folder: RunFolder, overwrite: bool, screen: Screen) -> tuple[Trainer, list[str]]:
    """The run's trainer where it begins or goes on, and what is to be said of that."""
    trainer = make_trainer(run.recipe, run.pictures, run.device)
    state = None if overwrite else newest_checkpoint(folder, screen.notice)
    words = []
    _refuse_disagreement(run, state)
    if state is not None:
        refuse_other_origin(folder, state, run.origin)
        trainer.restore(state)
        words.append(f"going on at step {trainer.course.step} of {trainer.plan.steps}")
    elif (source := run.recipe.model.init_from) is not None:
        if run.weights is None:  # of a run that was stopped before its first checkpoint
            told = start_from(trainer.model, source, screen.notice)
        else:
            told = take_weights(trainer.model, run.weights.model.network.state_dict(), source)
        words.append(f"started from {source}: {told}")
    refuse_disagreement(lambda: {"weights to start from": weights_digest(trainer.trained())[:8]})
    return trainer, words


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


def _open(trainer: Trainer, run: Settled, folder: RunFolder, overwrite: bool, screen: Screen) -> None:
    """Write the recipe, and say what is trained."""
    if distributed.is_writer():
        if overwrite:
            clear(folder)
        write_text(folder.recipe, dump_recipe(run.recipe))
    screen.opening(run.recipe, run.derived, trainer.plan, run.pictures, run.device, folder.path)


def _keep_in_memory(trainer: Trainer, run: Settled, screen: Screen) -> None:
    """The pictures that fit are decoded once."""
    with screen.working("reading pictures"):
        if not isinstance(run.pictures, StreamPictures):
            trainer.pictures = cached(run.pictures, run.recipe.data.cache)
            if run.recipe.data.cache == "device" and isinstance(trainer.pictures, CachedPictures):
                trainer.keep_on_device(trainer.pictures)
        if run.judge is not None:
            run.judge.keep_in_memory(trainer.pictures)


def _tell_time(trainer: Trainer, run: Settled, screen: Screen) -> None:
    """How long the run takes, where that is long enough for somebody to want less."""
    course, opened = trainer.course, Opened(trainer.pictures, run.judge.labelled if run.judge else None)
    told = time_needed(run.recipe, opened, run.device, (course.steps - course.step, course.steps))
    if told is not None:
        screen.notice(f"  {told}")


def _train(trainer: Trainer, run: Settled, folder: RunFolder, screen: Screen, trackers: Trackers) -> None:
    """Train to the end, judging on the way where the recipe asks for it; the weights are saved however it ends."""
    training, course = trainer.recipe.training, trainer.course
    workers = pick_workers(training.workers, trainer.pictures, trainer.device)
    warned: set[str] = set()
    first = why_the_first_step_is_long(trainer.device, bool(training.compile))
    if isinstance(trainer, DeepCluster) and course.step == 0:
        with screen.working("embedding every picture once") as progress:
            trainer.remember_all(workers, progress)
    try:
        with (
            screen.training(course.step, course.steps, first),
            Keeper(folder, trainer) as keeper,
            closing(trainer.steps(workers)) as steps,
        ):
            keeper.log_start({"pictures": len(run.pictures), "derived": derived_facts(run.derived)})
            for step in steps:
                screen.step(step)
                trackers.line(keeper.log(step))
                if step.ends_epoch:
                    health = trainer.health(step.epoch_share)
                    found = _judged_on_the_way(trainer, run.judge, step, screen)
                    screen.epoch(step, health, found.get("knn"))
                    told = verdict(trainer.recipe, health, step.epoch_share, _is_warm(trainer))
                    if told.advice and told.verdict not in warned:
                        screen.warn(told.advice)
                        warned.add(told.verdict)
                    facts = {"loss_over_ln_k": step.epoch_share, **health._asdict(), **told._asdict(), **found}
                    trackers.line(keeper.log_epoch(step, facts))
                keeper.save_where_due(step)
                if step.ends_epoch and training.on_collapse == "stop":
                    _stop_where_collapsed(step, told)
    except (Collapsed, Interrupted):
        _save_model(trainer, folder)
        raise
    _save_model(trainer, folder)


def _stop_where_collapsed(step: Step, told: Verdict) -> None:
    """
    Raises:
        Collapsed: nothing is learnt any more.
    """
    if distributed.largest_of_all(told.is_collapse)[0]:
        raise Collapsed(
            f"{told.advice}. Stopped after epoch {step.epoch + 1} (training.on_collapse=stop); all is saved. To go "
            "on as it is: the same command with --set training.on_collapse=warn"
        )


def _save_model(trainer: Trainer, folder: RunFolder) -> None:
    first_decides(lambda: save_model(folder.model, trainer.trained()))


def _judged_on_the_way(trainer: Trainer, judge: Judge | None, step: Step, screen: Screen) -> dict[str, Any]:
    """k-NN after an epoch, where the recipe asks for it; after the last one it comes with all else."""
    every = trainer.recipe.evaluation.knn_every
    if judge is None or not every or (step.epoch + 1) % every or step.number == step.steps:
        return {}
    return judged_on_the_way(lambda: {"knn": judge.accuracy(trainer.model)}, step.epoch, screen)


def _is_warm(trainer: Trainer) -> bool:
    """Two epochs have passed, and one since prototypes and learning rate have reached what they are to be."""
    plan, step = trainer.plan, trainer.course.step
    return step > max(plan.frozen_steps, plan.warmup_steps) + plan.steps_per_epoch and step > 2 * plan.steps_per_epoch


def _come_to(
    trainer: Trainer, judge: Judge | None, folder: RunFolder, screen: Screen, trackers: Trackers
) -> dict[str, Any]:
    """What the run has come to, judged and drawn, in its folder and on the screen."""
    results = training_results(trainer, folder)
    with training_is_saved(folder, screen):
        if judge is not None:
            with screen.working("judging the features") as progress:
                results |= judged(trainer, judge, progress)
        elif trainer.recipe.training.minutes is not None:
            with screen.working("judging the features without labels"):
                results |= judged_without_labels(trainer)
        with screen.working("drawing prototypes.png"):
            _draw_prototypes(trainer, folder, screen)
        results["seconds"] = round(trainer.course.seconds, 1)
        first_decides(lambda: change_results(folder, lambda known: {**known, **results}))
    trackers.results(results)
    screen.closing(trainer.recipe, results, folder.path)
    return results


def _draw_prototypes(trainer: Trainer, folder: RunFolder, screen: Screen) -> None:
    try:
        show_prototypes(trainer, folder.prototypes)
    except UserError as error:
        if not isinstance(trainer.pictures, StreamPictures):
            raise
        screen.notice(f"{folder.prototypes.name} is not drawn: {error}")  # a stream that gave all that was to be learnt
