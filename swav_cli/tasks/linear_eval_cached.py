"""Linear classifiers on cached features, a grid of settings at once: what `swav linear-eval --cached` does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from swav_cli.core.classifier import with_classifier
from swav_cli.core.device import joined_on
from swav_cli.core.stages import POOLED
from swav_cli.core.weights import save_model
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import pick_readers
from swav_cli.errors import counted
from swav_cli.evaluate.accuracy import Tally
from swav_cli.evaluate.extraction.extract import ExtractRequest, extract
from swav_cli.evaluate.probe import Probe, ProbeSettings, train_probe
from swav_cli.parallel.place import was_restarted
from swav_cli.parallel.processes import first_decides
from swav_cli.recipe.classifier_schema import LinearRecipe
from swav_cli.report.classifier import describe_job, describe_outcome, judged_at
from swav_cli.report.console import Screen
from swav_cli.run.folder import RunFolder, only_run_in
from swav_cli.tasks.before_training import run_folder
from swav_cli.tasks.classifier import finish, outcome, write_beginning
from swav_cli.tasks.classifier_job import Job, default_folder, refuse_disagreeing_jobs, settle

ROWS_AT_ONCE = 8192


def probe_classifier(
    recipe: LinearRecipe,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    resume: bool = True,
    overwrite: bool = False,
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Compute features once, train the recipe's grid on them, and keep the best classifier; what `results.json` holds.

    >>> from swav_cli import load_as
    >>> recipe = load_as(LinearRecipe, "linear-small", ["model=runs/quickstart", "data.train=photos/"])
    >>> found = probe_classifier(recipe, "runs/cached")
    >>> found["classes"], found["count"]    # of the fifth that is held out
    (2, 8)

    Features stay in the run's folder: stopped work goes on with them, and another grid costs only its own time.
    The arguments and what is raised are those of `train_classifier`.
    """
    screen = screen or Screen()
    overwrite = overwrite and not was_restarted()
    with joined_on(device):
        started = time.monotonic()
        job = settle(recipe, device, screen)
        place = Path(out) if out else default_folder(job, cached_features=True)
        folder, finished = run_folder(place, job.recipe, lambda: job.origin, resume, overwrite, screen.notice)
        if finished is not None:
            return finished
        refuse_disagreeing_jobs(job)
        with only_run_in(folder):
            first_decides(lambda: write_beginning(job, folder, overwrite))
            screen.notice(describe_job(recipe, job.model.name, job.train, job.val))
            screen.notice(f"  run: {folder.path}")
            train, val = (_features(job, part, folder, overwrite, screen) for part in ("train", "val"))
            results = first_decides(lambda: _train(job, recipe, train, val, folder, screen, started))
            screen.notice(describe_outcome(results, folder.path))
            return results


def _features(job: Job, part: str, folder: RunFolder, overwrite: bool, screen: Screen) -> NDArray[np.float32]:
    """Pooled features of the training or the held-out pictures, on the disk; a row a picture, NaN where unread."""
    pictures: Pictures = job.train if part == "train" else job.val
    path = folder.path / "features" / f"{part}.npy"
    path.parent.mkdir(exist_ok=True)
    training = job.recipe.training
    request = ExtractRequest(
        device=str(job.device), precision="float32" if training.precision == "float64" else training.precision,
        workers=pick_readers(training.workers, pictures, job.device), overwrite=overwrite,
    )  # fmt: skip
    with screen.working(f"features of {counted(len(pictures), 'picture')}") as progress:
        extract(job.model, pictures, path, request, progress=progress)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _train(
    job: Job,
    recipe: LinearRecipe,
    train: NDArray[np.float32],
    val: NDArray[np.float32],
    folder: RunFolder,
    screen: Screen,
    started: float,
) -> dict[str, Any]:
    grid = recipe.cached
    settings = ProbeSettings(grid, recipe.optimizer.momentum, recipe.training.seed)
    assert job.train.labels is not None
    labels = torch.from_numpy(job.train.labels)
    count = len(grid.lrs) * len(grid.weight_decays)
    with screen.working(f"{count} pairs of learning rate and weight decay", "steps") as progress:
        probe = train_probe(train, labels, len(job.classes), settings, job.device, progress)
    head = nn.Linear(probe.weight.shape[1], len(job.classes))
    with torch.no_grad():
        head.weight.copy_(probe.weight)
        head.bias.copy_(probe.bias)
    found = _judge(head, val, job)
    results = outcome(job, {POOLED: found}, {}, _protocol(job, recipe, probe))
    results |= _of_grid(probe)
    results |= {"seconds": round(time.monotonic() - started, 1), "run": str(folder.path)}
    save_model(folder.model, with_classifier(job.model, head, tuple(job.classes)))
    finish(job, results, found, folder, screen.notice)
    return results


def _judge(head: nn.Linear, features: NDArray[np.float32], job: Job) -> Tally:
    found = Tally(len(job.classes))
    for first in range(0, len(features), ROWS_AT_ONCE):
        rows = torch.from_numpy(np.array(features[first : first + ROWS_AT_ONCE]))
        with torch.no_grad():
            found.add(head(rows), job.val_labels[first : first + len(rows)])
    found.summed_already()  # this process has seen all
    return found


def _of_grid(probe: Probe) -> dict[str, Any]:
    chosen = next(tried for tried in probe.grid if (tried.lr, tried.weight_decay) == (probe.lr, probe.weight_decay))
    return {
        "grid": [tried._asdict() for tried in probe.grid],
        "chosen": chosen._asdict(),
        "chosen_by": probe.holdout_count,
    }


def _protocol(job: Job, recipe: LinearRecipe, probe: Probe) -> str:
    grid, count = recipe.cached, len(probe.grid)
    chosen = (
        f"the best of {count} pairs of learning rate and weight decay by {grid.holdout:.0%} of the training pictures, "
        "then trained on all"
        if probe.holdout_count
        else f"learning rate {probe.lr:g}, weight decay {probe.weight_decay:g}"
    )
    return (
        f"linear layer on cached features, backbone frozen, no augmentation; features standardised; {chosen}; SGD "
        f"{recipe.optimizer.momentum:g}, batch {grid.batch_size}, {counted(grid.epochs, 'epoch')}, half a cosine to 0; "
        f"labels: {recipe.data.labels}; {judged_at(job.model.about)}"
    )
