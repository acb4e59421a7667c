"""One classifier trained on a model, from a recipe to its results: what `swav linear-eval` and `swav finetune` do."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from swav_cli.core.classifier import ClassifierTrainer
from swav_cli.core.derive import Derived, settle_classifier
from swav_cli.core.device import joined_on, own_device
from swav_cli.core.stages import POOLED
from swav_cli.core.weights import About, save_model, weights_digest
from swav_cli.data.labelled import hold_out, keep_labelled, labels_of, match_classes, train_and_val_in
from swav_cli.data.lists.tables import one_line
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures, labels_digest, tell
from swav_cli.data.reading.cache import cached
from swav_cli.data.reading.loader import pick_readers, pick_workers
from swav_cli.data.sources import open_pictures
from swav_cli.errors import Interrupted, UserError, counted
from swav_cli.evaluate.accuracy import Tally, refuse_no_answers
from swav_cli.evaluate.classification import tally
from swav_cli.evaluate.unread import Unread
from swav_cli.files import write_text
from swav_cli.parallel import distributed
from swav_cli.parallel.agreement import refuse_disagreement
from swav_cli.parallel.processes import first_decides, was_restarted
from swav_cli.recipe.classifier_schema import FinetuneRecipe, LinearRecipe
from swav_cli.recipe.file import dump_recipe
from swav_cli.recipe.schema import settled
from swav_cli.report.classifier import (
    confusion_text,
    describe_epoch,
    describe_job,
    describe_outcome,
    describe_training,
    protocol,
    read_confusion,
)
from swav_cli.report.confusion import save_confusion
from swav_cli.report.console import Screen, why_the_first_step_is_long
from swav_cli.run.checkpoint import newest_checkpoint
from swav_cli.run.folder import RunFolder, choose_folder, clear, only_run_in
from swav_cli.run.origin import Origin, refuse_other_origin, refuse_other_recipe
from swav_cli.run.pictures import named_by, pretraining_of, run_of
from swav_cli.run.results import add_results, change_results, finished_results
from swav_cli.run.seen import checkpoint_seen, pictures_seen, recipe_seen
from swav_cli.tasks.after_training import training_is_saved
from swav_cli.zoo.load import Loaded, load, newest_pretrained

ClassifierRecipe = LinearRecipe | FinetuneRecipe


class Job(NamedTuple):
    """A recipe with its model and pictures, all checked: nothing has been written."""

    recipe: ClassifierRecipe
    derived: list[Derived]
    source: str  # the model, by whatever names it
    loaded: Loaded
    train: Pictures  # those whose labels are used
    val: Pictures
    val_labels: Tensor  # (N,) in the numbering of the training pictures' classes
    missing: list[str]  # classes that the held-out pictures lack
    held_out: bool  # they were taken out of the training pictures, since nobody named any
    device: torch.device

    @property
    def classes(self) -> list[str]:
        return labels_of(self.train)[1]

    def opening(self) -> list[str]:
        job = describe_job(self.recipe, self.source, self.train, self.val)
        return [job, *describe_training(self.recipe, self.derived, str(self.device))]

    @property
    def weights(self) -> str:
        """Digest of the model as it was before training."""
        return weights_digest(self.loaded.model, self.loaded.about)

    @property
    def origin(self) -> Origin:
        """Before training: fine-tuning changes the model."""

        def joined(*parts: str) -> str:
            return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

        return Origin(
            joined(self.train.fingerprint(), self.val.fingerprint(), self.weights), self.train.contents(),
            f"the model {self.source}, the pictures or their labels",
            joined(self.train.former_fingerprint(), self.val.former_fingerprint(), self.weights),
            labels_digest(self.train),
        )  # fmt: skip


def settle(recipe: ClassifierRecipe, device: str = "auto", notice: Callable[[str], None] = lambda text: None) -> Job:
    """Load a recipe's model, open its pictures, replace every `auto`, and check all before any work.

    Raises:
        UserError: something is missing or contradicts itself.
    """
    where = own_device(device)
    source = recipe.model or newest_pretrained(notice)
    loaded = load(source, notice)
    source = str(source or loaded.about.source)
    train, val, held_out = _pictures(recipe, source, loaded.about.channels, notice)
    for pictures in (train, *([] if held_out else [val])):
        tell(pictures, notice)
    labels_of(train)
    train = keep_labelled(train, recipe.data.labels, recipe.training.seed)
    val_labels, missing = match_classes(val, labels_of(train)[1], train.source)
    if missing:
        notice(
            f"{val.source}: {counted(len(missing), 'class does', 'classes do')} not occur there: "
            + ", ".join(missing[:5])
            + (" …" if missing[5:] else "")
        )
    recipe, derived = settle_classifier(recipe, source, loaded.about.size, len(train), where)
    return Job(recipe, derived, source, loaded, train, val, torch.from_numpy(val_labels), missing, held_out, where)


def _pictures(
    recipe: ClassifierRecipe, source: str, channels: int, notice: Callable[[str], None]
) -> tuple[Pictures, Pictures, bool]:
    """Pictures to train on and to judge by: those named, else those of the model's run, else a fifth held out."""
    train, val = recipe.data.train, recipe.data.val
    run = pretraining_of(source)
    if train is None:
        if run is None:
            raise UserError(
                f"{source}: belongs to no run whose pictures could be taken; name labelled ones with --data"
            )
        bank = named_by(run, source, "train")
        if val is not None:
            return bank, open_pictures(val, "val", channels=channels), False
        if run.data.val is not None:
            return bank, named_by(run, source, "val"), False
        return *_held_out(bank, recipe, notice), True
    parts = train_and_val_in(train) if val is None else None
    if parts:
        train, val = parts
    pictures = open_pictures(train, "train", channels=channels)
    if val is not None:
        return pictures, open_pictures(val, "val", channels=channels), False
    if train.startswith(("torchvision:", "shapes")):
        return pictures, open_pictures(train, "val", channels=channels), False
    return *_held_out(pictures, recipe, notice), True


def _held_out(pictures: Pictures, recipe: ClassifierRecipe, notice: Callable[[str], None]) -> tuple[Pictures, Pictures]:
    train, val = hold_out(pictures, recipe.training.seed)
    notice(
        f"no pictures named to judge by (--val): {len(val):,} of {pictures.source} are held out, a fifth of each class"
    )
    return train, val


def held_out_by(recipe: ClassifierRecipe, channels: int, notice: Callable[[str], None]) -> Pictures:
    """The pictures that judge a classifier's run, as they were when it was trained."""
    return _pictures(recipe, str(recipe.model), channels, notice)[1]


def plan_facts(job: Job) -> dict[str, Any]:
    """What would be trained, as plain values."""
    training = job.recipe.training
    per_epoch = len(job.train) // settled(training.batch_size)
    return {
        "recipe": job.recipe.model_dump(mode="json"),
        "derived": {value.key: {"value": value.value, "reason": value.reason} for value in job.derived},
        "device": str(job.device),
        "pictures": len(job.train),
        "judged_by": len(job.val),
        "classes": len(job.classes),
        "steps_per_epoch": per_epoch,
        "steps": per_epoch * training.epochs,
        "plan": [*job.opening(), protocol(job.recipe, job.loaded.about)],
    }


def default_folder(job: Job, cached_features: bool = False) -> Path:
    """`runs/<model>-<recipe>`, with the labels used where those are not all."""
    run = run_of(job.source)
    name = run.path.resolve().name if run is not None else Path(job.source).name.partition(".")[0]
    labels = job.recipe.data.labels
    if labels != "all":
        is_list = os.path.isfile(expanded(labels))
        name += "-" + (Path(labels).stem if is_list else labels.replace("%", "pct").replace(" ", ""))
    return Path("runs") / f"{name}-{job.recipe.name}{'-cached' if cached_features else ''}"


def train_classifier(
    recipe: ClassifierRecipe,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    resume: bool = True,
    overwrite: bool = False,
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Train a linear classifier on frozen features, or the whole network, by a recipe; what `results.json` holds.

    >>> train_classifier(load_as(LinearRecipe, "linear-small", ["model=runs/quickstart"]))["top1"]    # doctest: +SKIP

    Args:
        out: the run's folder; `runs/<model>-<recipe>` where nothing is said.
        device: auto, cpu, cuda, cuda:1 or mps.
        resume: False begins a new run in the next free folder, `<out>-2`.
        overwrite: begin again in the same folder; what an earlier run left there is removed.

    Raises:
        UserError: a mistake that can be mended; nothing was written.
        Interrupted: a signal came; all is saved.
        Diverged: the loss is no longer finite.
    """
    screen = screen or Screen()
    overwrite = overwrite and not was_restarted()
    with joined_on(device):
        job = settle(recipe, device, screen.notice)
        check_processes(job.recipe, distributed.world_size())
        place = Path(out) if out else default_folder(job)
        folder, moved = first_decides(lambda: free_folder(job, place, resume, overwrite))
        finished = first_decides(lambda: finished_results(folder))
        if finished is not None and not overwrite:
            screen.notice(f"{folder.path} is finished; run it again with --overwrite, or elsewhere with --out")
            return finished
        for line in moved:
            screen.notice(f"{line}, from here on")
        return _train(job, folder, overwrite, screen)


def check_processes(recipe: LinearRecipe | FinetuneRecipe, world: int) -> None:
    """
    Raises:
        UserError: so many processes do not divide the recipe's batch evenly.
    """
    distributed.check_shares(settled(recipe.training.batch_size), recipe.training.accumulate, world)


def free_folder(job: Job, out: Path, resume: bool, overwrite: bool) -> tuple[RunFolder, list[str]]:
    """The run's folder, and what is called otherwise in the recipe of the run that is there."""
    folder = RunFolder(choose_folder(out, resume, overwrite))
    if folder.recipe.exists() and not overwrite:
        return folder, refuse_other_recipe(folder, job.recipe, job.origin)
    return folder, []


def refuse_disagreeing_jobs(job: Job, state: dict[str, Any] | None = None) -> None:
    """
    Args:
        state: the checkpoint that is gone on from, if any.

    Raises:
        UserError: processes would train different things.
    """
    refuse_disagreement(
        lambda: {
            **recipe_seen(job.recipe),
            "checkpoint": checkpoint_seen(state),
            "model": f"weights {job.weights[:8]}",
            **pictures_seen("to train on", job.train),
            **pictures_seen("to judge by", job.val),
        }
    )


def _train(job: Job, folder: RunFolder, overwrite: bool, screen: Screen) -> dict[str, Any]:
    recipe, loaded = job.recipe, job.loaded
    state = None if overwrite else newest_checkpoint(folder, screen.notice)
    refuse_disagreeing_jobs(job, state)
    origin = job.origin
    if state is not None:
        job = _numbered_as_before(job, list(About.from_json(state["about"]).classes))
    trainer = ClassifierTrainer(recipe, loaded.model, loaded.about, job.train, origin.fingerprint, job.device)
    if state is not None:
        refuse_other_origin(folder, state, origin)
        trainer.restore(state)
    # All is checked; from here on files are written.
    with only_run_in(folder):
        first_decides(lambda: write_beginning(job, folder, overwrite))
        for line in [*job.opening(), f"  run: {folder.path}"]:
            screen.notice(line)
        steps = trainer.steps_per_epoch * recipe.training.epochs
        if state is not None:
            screen.notice(f"going on at step {trainer.course.step} of {steps}")
        with screen.working("reading pictures"):
            trainer.pictures = cached(job.train, recipe.data.cache)
            val = cached(job.val, recipe.data.cache)
        return _run_and_judge(trainer, job._replace(val=val), folder, screen)


def _numbered_as_before(job: Job, classes: list[str]) -> Job:
    """A run's classes keep the order in which its weights have them; swav once put numbers in that of letters."""
    if classes == job.classes or sorted(classes) != sorted(job.classes):
        return job
    job.train.labels, job.train.classes = match_classes(job.train, classes, job.train.source)[0], classes
    return job._replace(val_labels=torch.from_numpy(match_classes(job.val, classes, job.train.source)[0]))


def write_beginning(job: Job, folder: RunFolder, overwrite: bool) -> None:
    if overwrite:
        clear(folder)
    write_text(folder.recipe, dump_recipe(job.recipe))
    if job.recipe.data.labels != "all":
        names = "".join(f"{one_line(job.train.name(index))}\n" for index in range(len(job.train)))
        write_text(folder.labelled, names)


def _run_and_judge(trainer: ClassifierTrainer, job: Job, folder: RunFolder, screen: Screen) -> dict[str, Any]:
    recipe = job.recipe
    epochs = recipe.training.epochs
    tallies: dict[str, Tally] = {}
    unread = Unread(job.val)

    def end_of_epoch(epoch: int, loss: float) -> dict[str, Any]:
        found: dict[str, Any] = {"loss": loss}
        if (epoch + 1) % recipe.evaluation.every == 0 or epoch + 1 == epochs:
            tallies.update(_judge(trainer, job, unread))
            if tallies[POOLED].count:
                found |= {"top1": tallies[POOLED].top1, "top5": tallies[POOLED].top5}
            if found.get("top1", -1.0) > trainer.best.get("top1", -1.0):
                trainer.best = {"epoch": epoch + 1, "top1": found["top1"], "top5": found["top5"]}
        screen.notice(describe_epoch(epoch, epochs, loss, found.get("top1")))
        return found

    try:
        steps = trainer.steps_per_epoch * epochs
        with screen.training(trainer.course.step, steps, why_the_first_step_is_long(job.device)):
            workers = pick_workers(recipe.training.workers, trainer.pictures, job.device)
            trainer.run(folder, workers, screen.step, end_of_epoch)
    except Interrupted:
        first_decides(lambda: save_model(folder.model, *trainer.classifier()))
        raise
    first_decides(lambda: save_model(folder.model, *trainer.classifier()))
    with training_is_saved(folder, screen):
        last = tallies or _judge(trainer, job, unread)  # a run that was stopped after its last step was not judged
        unread.tell(screen.notice)
        refuse_no_answers(last[POOLED], job.val, str(folder.path))
        results = outcome(job, last, trainer.best, protocol(recipe, job.loaded.about))
        results["seconds"] = round(trainer.course.seconds, 1)
        results |= {"bad_pictures": len(trainer.course.bad), "run": str(folder.path)}
        first_decides(lambda: finish(job, results, last[POOLED], folder, screen.notice))
    screen.notice(describe_outcome(results, folder.path))
    return results


def _judge(trainer: ClassifierTrainer, job: Job, unread: Unread) -> dict[str, Tally]:
    """On the held-out pictures, prepared as everywhere; see `middle_square`."""
    trainer.model.eval()
    layers = [*trainer.stages.layers, POOLED]
    return tally(
        trainer.logits, layers, job.val, job.val_labels, job.loaded.about, len(job.classes), device=job.device,
        precision=trainer.recipe.training.precision,
        workers=pick_readers(trainer.recipe.training.workers, job.val, job.device), unread=unread,
    )  # fmt: skip


def outcome(job: Job, last: dict[str, Tally], best: dict[str, Any], how: str) -> dict[str, Any]:
    """What a classifier came to; all that is judged by is in it, so that its numbers can be quoted."""
    kept = last[POOLED]
    majority = 100 * float(torch.bincount(job.val_labels).max()) / len(job.val_labels)
    return {
        "recipe": job.recipe.name,
        "task": job.recipe.task,
        "model": job.source,
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


def finish(job: Job, results: dict[str, Any], kept: Tally, folder: RunFolder, notice: Callable[[str], None]) -> None:
    """Results in the run's folder, and a line of them with the model's own run."""
    write_text(folder.confusion, confusion_text(kept.confusion, job.classes))
    change_results(folder, lambda known: results)
    run = run_of(job.source)
    if run is not None and run.results.exists():
        told = {key: results[key] for key in ("top1", "top5", "classes", "labels", "judged_by", "protocol")}
        add_results(run, f"{job.recipe.task}:{folder.path.name}", told, notice)


def plot_confusion(folder: Path, path: Path) -> None:
    """The confusion of a finished run as a picture."""
    matrix, classes = read_confusion(RunFolder(folder).confusion)
    save_confusion(path, matrix, classes, folder.name)
