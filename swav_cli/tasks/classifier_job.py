"""What a classifier is trained from: its recipe, its model and its pictures, all checked; nothing is written here."""

from __future__ import annotations

import hashlib
import os
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from swav_cli.core.device import own_device
from swav_cli.core.weights import Model, weights_digest
from swav_cli.data.labelled import hold_out, keep_labelled, labels_of, match_classes, train_and_val_in
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures, labels_digest, tell
from swav_cli.data.sources import open_pictures
from swav_cli.errors import Notice, UserError, counted
from swav_cli.parallel import distributed
from swav_cli.parallel.agreement import refuse_disagreement
from swav_cli.planning.derive import Derived, settle_classifier
from swav_cli.recipe.classifier_schema import ClassifierRecipe
from swav_cli.recipe.schema import settled
from swav_cli.report.classifier import describe_job, describe_training, protocol
from swav_cli.report.console import Screen
from swav_cli.run.newest import newest_run
from swav_cli.run.origin import Origin
from swav_cli.run.pictures import named_by, pretraining_of, run_of
from swav_cli.run.seen import checkpoint_seen, pictures_seen, recipe_seen
from swav_cli.zoo.load import load_model


class Job(NamedTuple):
    """A recipe with its model and pictures, all checked: nothing has been written."""

    recipe: ClassifierRecipe
    derived: list[Derived]
    model: Model
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
        job = describe_job(self.recipe, self.model.name, self.train, self.val)
        return [job, *describe_training(self.recipe, self.derived, str(self.device))]

    @property
    def weights(self) -> str:
        """Digest of the model as it was before training."""
        return weights_digest(self.model)

    @property
    def origin(self) -> Origin:
        """Before training: fine-tuning changes the model."""

        weights = self.weights

        def joined(train: str, val: str) -> str:
            return hashlib.sha256(f"{train} {val} {weights}".encode()).hexdigest()[:16]

        train, val = self.train.fingerprint(), self.val.fingerprint()
        former = product({train, *self.train.former_fingerprints()}, {val, *self.val.former_fingerprints()})
        return Origin(
            joined(train, val), self.train.contents(), f"the model {self.model.name}, the pictures or their labels",
            {joined(*pair) for pair in former}, labels_digest(self.train),
        )  # fmt: skip


def settle(recipe: ClassifierRecipe, device: str, screen: Screen) -> Job:
    """Load a recipe's model, open its pictures, replace every `auto`, and check all before any work.

    Raises:
        UserError: something is missing or contradicts itself.
    """
    where, notice = own_device(device), screen.notice
    source = recipe.model or newest_run(notice, pretrained=True)
    model = load_model(source, notice=notice)
    train, val, held_out = _pictures(recipe, model.name, model.about.channels, screen)
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
    recipe, derived = settle_classifier(recipe, model.name, model.about.size, len(train), where)
    return Job(recipe, derived, model, train, val, torch.from_numpy(val_labels), missing, held_out, where)


def _pictures(recipe: ClassifierRecipe, source: str, channels: int, screen: Screen) -> tuple[Pictures, Pictures, bool]:
    """Pictures to train on and to judge by: those named, else those of the model's run, else a fifth held out."""
    train, val = recipe.data.train, recipe.data.val
    run = pretraining_of(source)
    if train is None:
        if run is None:
            raise UserError(
                f"{source}: belongs to no run whose pictures could be taken; name labelled ones with --data"
            )
        bank = named_by(run, source, "train", screen.indexing)
        if val is not None:
            return bank, open_pictures(val, "val", channels=channels, progress=screen.indexing), False
        if run.data.val is not None:
            return bank, named_by(run, source, "val", screen.indexing), False
        return *_held_out(bank, recipe, screen.notice), True
    parts = train_and_val_in(train) if val is None else None
    if parts:
        train, val = parts
    pictures = open_pictures(train, "train", channels=channels, progress=screen.indexing)
    if val is not None:
        return pictures, open_pictures(val, "val", channels=channels, progress=screen.indexing), False
    if train.startswith(("torchvision:", "shapes")):
        return pictures, open_pictures(train, "val", channels=channels, progress=screen.indexing), False
    return *_held_out(pictures, recipe, screen.notice), True


def _held_out(pictures: Pictures, recipe: ClassifierRecipe, notice: Notice) -> tuple[Pictures, Pictures]:
    train, val = hold_out(pictures, recipe.training.seed)
    notice(
        f"no pictures named to judge by (--val): {len(val):,} of {pictures.source} are held out, a fifth of each class"
    )
    return train, val


def held_out_by(recipe: ClassifierRecipe, channels: int, screen: Screen) -> Pictures:
    """The pictures that judge a classifier's run, as they were when it was trained."""
    return _pictures(recipe, str(recipe.model), channels, screen)[1]


def plan_classifier(
    recipe: ClassifierRecipe,
    device: str = "auto",
    processes: int = 1,
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Check all that a run's beginning checks, and tell what would be trained; what `--dry-run --json` prints.

    Args:
        processes: that will share each batch.

    Raises:
        UserError: what `train_classifier` would not begin.
    """
    job = settle(recipe, device, screen or Screen())
    check_processes(job.recipe, processes)
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
        "plan": [*job.opening(), protocol(job.recipe, job.model.about)],
    }


def default_folder(job: Job, cached_features: bool = False) -> Path:
    """`runs/<model>-<recipe>`, with the labels used where those are not all."""
    run = run_of(job.model.name)
    name = (
        run.path.resolve().name
        if run is not None
        else Path(job.model.name).name.removeprefix("timm:").partition(".")[0]
    )
    labels = job.recipe.data.labels
    if labels != "all":
        is_list = os.path.isfile(expanded(labels))
        name += "-" + (Path(labels).stem if is_list else labels.replace("%", "pct").replace(" ", ""))
    return Path("runs") / f"{name}-{job.recipe.name}{'-cached' if cached_features else ''}"


def check_processes(recipe: ClassifierRecipe, world: int) -> None:
    """
    Raises:
        UserError: so many processes do not divide the recipe's batch evenly.
    """
    distributed.check_shares(settled(recipe.training.batch_size), recipe.training.accumulate, world)


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


def numbered_as_before(job: Job, classes: list[str]) -> Job:
    """A run's classes keep the order in which its weights have them; swav once put numbers in that of letters."""
    if classes == job.classes or sorted(classes) != sorted(job.classes):
        return job
    job.train.labels, job.train.classes = match_classes(job.train, classes, job.train.source)[0], classes
    return job._replace(val_labels=torch.from_numpy(match_classes(job.val, classes, job.train.source)[0]))
