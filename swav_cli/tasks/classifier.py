"""One classifier trained on a model, from a recipe to its results: what `swav linear-eval` and `swav finetune` do."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from swav_cli.core.classifier import ClassifierTrainer
from swav_cli.core.device import joined_on
from swav_cli.core.keeper import Keeper
from swav_cli.core.stages import POOLED
from swav_cli.core.weights import About, save_model
from swav_cli.data.lists.tables import one_line
from swav_cli.data.reading.cache import cached
from swav_cli.data.reading.loader import pick_workers
from swav_cli.errors import Interrupted, Notice
from swav_cli.evaluate.accuracy import Tally, refuse_no_answers
from swav_cli.evaluate.classification import tally
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.unread import Unread
from swav_cli.files import write_text
from swav_cli.parallel import distributed
from swav_cli.parallel.place import was_restarted
from swav_cli.parallel.processes import first_decides
from swav_cli.planning.derive import derived_facts
from swav_cli.recipe.classifier_schema import ClassifierRecipe
from swav_cli.recipe.file import dump_recipe
from swav_cli.report.classifier import confusion_text, describe_epoch, describe_outcome, protocol, read_confusion
from swav_cli.report.confusion import save_confusion
from swav_cli.report.console import Screen, why_the_first_step_is_long
from swav_cli.report.trackers.names import check_installed
from swav_cli.report.trackers.tracking import Trackers, hint_at_replay, tracking
from swav_cli.run.checkpoint import newest_checkpoint
from swav_cli.run.folder import RunFolder, clear, only_run_in
from swav_cli.run.metrics import Step
from swav_cli.run.origin import refuse_other_origin
from swav_cli.run.pictures import run_of
from swav_cli.run.results import add_results, change_results
from swav_cli.tasks.after_training import training_is_saved
from swav_cli.tasks.before_training import run_folder
from swav_cli.tasks.classifier_job import (
    Job,
    check_processes,
    default_folder,
    numbered_as_before,
    refuse_disagreeing_jobs,
    settle,
)


def train_classifier(
    recipe: ClassifierRecipe,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    resume: bool = True,
    overwrite: bool = False,
    track: Sequence[str] | None = None,
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Train a linear classifier on frozen features, or the whole network, by a recipe; what `results.json` holds.

    >>> from swav_cli import LinearRecipe, load_as
    >>> settings = ["model=runs/quickstart", "data.train=photos/", "training.epochs=1", "training.batch_size=8"]
    >>> found = train_classifier(load_as(LinearRecipe, "linear-small", settings), "runs/linear")
    >>> found["classes"], found["count"]    # of the fifth that is held out
    (2, 8)

    Args:
        out: the run's folder; `runs/<model>-<recipe>` where nothing is said.
        device: auto, cpu, cuda, cuda:1 or mps.
        resume: False begins a new run in the next free folder, `<out>-2`.
        overwrite: begin again in the same folder; what an earlier run left there is removed.
        track: trackers to tell of the run, such as ["tensorboard"]; None: those that it told before, where it goes on.

    Raises:
        UserError: a mistake that can be mended; nothing was written.
        Interrupted: a signal came; all is saved.
        Diverged: the loss is no longer finite.
    """
    screen = screen or Screen()
    overwrite = overwrite and not was_restarted()
    for name in track or ():
        check_installed(name, "track")
    with joined_on(device):
        job = settle(recipe, device, screen)
        check_processes(job.recipe, distributed.world_size())
        place = Path(out) if out else default_folder(job)
        folder, finished = run_folder(place, job.recipe, lambda: job.origin, resume, overwrite, screen.notice)
        if finished is not None:
            hint_at_replay(folder, track, screen.notice)
            return finished
        return _train(job, folder, overwrite, screen, track)


def _train(job: Job, folder: RunFolder, overwrite: bool, screen: Screen, track: Sequence[str] | None) -> dict[str, Any]:
    recipe = job.recipe
    state = None if overwrite else newest_checkpoint(folder, screen.notice)
    refuse_disagreeing_jobs(job, state)
    origin = job.origin
    if state is not None:
        job = numbered_as_before(job, list(About.from_json(state["about"]).classes))
    trainer = ClassifierTrainer(recipe, job.model, job.train, origin.fingerprint, job.device)
    if state is not None:
        refuse_other_origin(folder, state, origin)
        trainer.restore(state)
    # All is checked; from here on files are written.
    with only_run_in(folder):
        first_decides(lambda: write_beginning(job, folder, overwrite))
        for line in [*job.opening(), f"  run: {folder.path}"]:
            screen.notice(line)
        if state is not None:
            screen.notice(f"going on at step {trainer.course.step} of {trainer.course.steps}")
        with screen.working("reading pictures"):
            trainer.pictures = cached(job.train, recipe.data.cache)
            val = cached(job.val, recipe.data.cache)
        with tracking(folder, recipe, track, screen.notice) as trackers:
            return _run_and_judge(trainer, job._replace(val=val), folder, screen, trackers)


def write_beginning(job: Job, folder: RunFolder, overwrite: bool) -> None:
    """Leave in the folder what a run starts with: its recipe, and which pictures keep their labels."""
    if overwrite:
        clear(folder)
    write_text(folder.recipe, dump_recipe(job.recipe))
    if job.recipe.data.labels != "all":
        names = "".join(f"{one_line(job.train.name(index))}\n" for index in range(len(job.train)))
        write_text(folder.labelled, names)


def _run_and_judge(
    trainer: ClassifierTrainer, job: Job, folder: RunFolder, screen: Screen, trackers: Trackers
) -> dict[str, Any]:
    recipe = job.recipe
    tallies: dict[str, Tally] = {}
    unread = Unread(job.val)
    try:
        workers = pick_workers(recipe.training.workers, trainer.pictures, job.device)
        with (
            screen.training(trainer.course.step, trainer.course.steps, why_the_first_step_is_long(job.device)),
            Keeper(folder, trainer) as keeper,
            closing(trainer.steps(workers)) as steps,
        ):
            keeper.log_start({"pictures": len(job.train), "derived": derived_facts(job.derived)})
            for step in steps:
                screen.step(step)
                trackers.line(keeper.log(step))
                if step.ends_epoch:
                    found = {}
                    if (step.epoch + 1) % recipe.evaluation.every == 0 or step.number == step.steps:
                        tallies = _judge(trainer, job, unread)
                        found = _noted(trainer, tallies[POOLED], step)
                    assert step.epoch_loss is not None
                    screen.notice(describe_epoch(step.epoch, step.epochs, step.epoch_loss, found.get("top1")))
                    trackers.line(keeper.log_epoch(step, {"loss": step.epoch_loss, **found}))
                keeper.save_where_due(step)
    except Interrupted:
        first_decides(lambda: save_model(folder.model, trainer.classifier()))
        raise
    first_decides(lambda: save_model(folder.model, trainer.classifier()))
    with training_is_saved(folder, screen):
        last = tallies or _judge(trainer, job, unread)  # a run that was stopped after its last step was not judged
        unread.tell(screen.notice)
        refuse_no_answers(last[POOLED], job.val, str(folder.path))
        results = outcome(job, last, trainer.best, protocol(recipe, job.model.about))
        results["seconds"] = round(trainer.course.seconds, 1)
        results |= {"bad_pictures": len(trainer.course.bad), "run": str(folder.path)}
        first_decides(lambda: finish(job, results, last[POOLED], folder, screen.notice))
    trackers.results(results)
    screen.notice(describe_outcome(results, folder.path))
    return results


def _noted(trainer: ClassifierTrainer, tally: Tally, step: Step) -> dict[str, float]:
    """Top-1 and top-5 after an epoch, for its line of the log; the best so far is kept with the run."""
    if not tally.count:
        return {}
    found = {"top1": tally.top1, "top5": tally.top5}
    if found["top1"] > trainer.best.get("top1", -1.0):
        trainer.best = {"epoch": step.epoch + 1, **found}
    return found


def _judge(trainer: ClassifierTrainer, job: Job, unread: Unread) -> dict[str, Tally]:
    """On the held-out pictures, prepared as everywhere; see `middle_square`."""
    trainer.model.eval()
    layers = [*trainer.stages.layers, POOLED]
    training = trainer.recipe.training
    how = Inference(job.device, training.precision, workers=training.workers)
    found = {layer: Tally(len(job.classes)) for layer in layers}
    return tally(trainer.logits, found, job.val, job.val_labels, job.model.about, how, unread)


def outcome(job: Job, last: dict[str, Tally], best: dict[str, Any], how: str) -> dict[str, Any]:
    """What a classifier came to; all that is judged by is in it, so that its numbers can be quoted."""
    kept = last[POOLED]
    majority = 100 * float(torch.bincount(job.val_labels).max()) / len(job.val_labels)
    return {
        "recipe": job.recipe.name,
        "task": job.recipe.task,
        "model": job.model.name,
        "protocol": how,
        "pictures": len(job.train),
        "labels": job.recipe.data.labels,
        "judged_by": job.val.source,
        "held_out": job.held_out,
        "classes": len(job.classes),
        "missing_classes": job.missing,
        **kept.summary(),
        "best": best,
        "majority_class": majority,
        "layers": {layer: found.summary() for layer, found in last.items() if layer != POOLED},
        "per_class": dict(zip(job.classes, kept.per_class(), strict=True)),
    }


def finish(job: Job, results: dict[str, Any], kept: Tally, folder: RunFolder, notice: Notice) -> None:
    """Results in the run's folder, and a line of them with the model's own run."""
    write_text(folder.confusion, confusion_text(kept.confusion, job.classes))
    change_results(folder, lambda known: results)
    run = run_of(job.model.name)
    if run is not None and run.results.exists():
        told = {key: results[key] for key in ("top1", "top5", "classes", "labels", "judged_by", "protocol")}
        add_results(run, f"{job.recipe.task}:{folder.path.name}", told, notice)


def plot_confusion(folder: Path, path: Path) -> None:
    """The confusion of a finished run as a picture."""
    matrix, classes = read_confusion(RunFolder(folder).confusion)
    save_confusion(path, matrix, classes, folder.name)
