"""How quick a run will be: reading against training, what limits, how many workers it takes; room, time and disk."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from swav_cli.core.estimate import estimate, estimate_disk, processor_bytes
from swav_cli.core.plan import make_plan
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.cache import bytes_needed, free_memory
from swav_cli.data.reading.limits import Traffic, batches_ahead, limits, own_processors, why_not_shared
from swav_cli.errors import UserError, counted, first_line
from swav_cli.planning.pace import Pace, Reading, pace_of
from swav_cli.planning.trial import Trial
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.report.checkup import Check
from swav_cli.report.words import duration, size
from swav_cli.run.folder import RunFolder, choose_folder
from swav_cli.run.results import finished_results
from swav_cli.tasks.doctor.look import Look
from swav_cli.tasks.doctor.machine import check_disk

# --- checks ----------------------------------------------------------------------------------------------------------


class Measured(NamedTuple):
    """A settled recipe on its pictures, and what was measured of it."""

    recipe: Recipe
    pictures: Pictures
    look: Look
    reading: Reading | None  # None of a stream, which is as quick as its network
    trial: Trial
    device: torch.device


def check_speed(measured: Measured) -> list[Check]:
    """All of them, in an order in which a person would ask."""
    recipe, _, _, reading, trial, device = measured
    found = [check_training(trial, recipe, device), check_batch(trial, recipe, device)]
    if device.type != "cuda":
        found.append(check_memory_needed(measured))
    if reading is not None:
        found.insert(0, check_reading(reading, recipe))
    if not trial.rate:
        return found
    pace = Pace(trial.rate, "training", 0, 0)
    if reading is not None:
        pace = pace_of(reading, trial.rate, device, recipe.training.workers)
        found.append(check_limit(pace, reading, trial, device))
        if pace.workers:
            found.append(check_sharing(recipe, reading, pace.workers))
    return [*found, check_time(measured, pace)]


def check_reading(reading: Reading, recipe: Recipe) -> Check:
    how = "kept in memory once they are decoded" if reading.in_memory else "read and decoded each time"
    told = f"{reading.rate:,.0f} pictures/s a core, {counted(recipe.crop_count, 'crop')} each, {how}"
    values = {"pictures_per_second_per_core": reading.rate, "in_memory": reading.in_memory}
    return Check("reading", "ok", told, values=values)


def check_training(trial: Trial, recipe: Recipe, device: torch.device) -> Check:
    if not trial.rate:
        return Check(
            "training", "problem", f"not even {counted(trial.timed or 2, 'picture')} at a time find room on {device}",
            "smaller crops, or a narrower network",
        )  # fmt: skip
    told = f"{_rate(trial.rate)} on {device} in {recipe.training.precision}"
    if trial.timed < trial.wanted:
        told += f", timed with {trial.timed} at a time"
    values = {"pictures_per_second": trial.rate, "timed_with": trial.timed, "device": str(device)}
    return Check("training", "ok", told, values=values)


def check_limit(pace: Pace, reading: Reading, trial: Trial, device: torch.device) -> Check:
    """Which of the two sets the pace, and what would help."""
    values = {"limit": pace.limit, "workers": pace.workers, "enough_workers": pace.enough_workers}
    workers = counted(pace.workers, "worker")
    if device.type != "cpu":
        read = reading.rate * max(1, pace.workers)
        told = f"{pace.limit}: {workers} read {read:,.0f} pictures/s, and {trial.rate:,.0f} can be trained"
        told += f"; {counted(pace.enough_workers, 'worker')} would do"
    else:
        told = f"{pace.limit}: reading takes {1 - pace.rate / trial.rate:.0%} of the processors' time, {workers}"
    if pace.limit == "training":
        return Check("limit", "ok", told, values=values)
    if device.type != "cpu" and pace.enough_workers <= own_processors():
        remedy = f"--workers {pace.enough_workers}"
    else:
        remedy = "more cores, --set data.cache=true where memory allows, or pictures made smaller once"
    return Check("limit", "warning", told, remedy, values)


def check_batch(trial: Trial, recipe: Recipe, device: torch.device) -> Check:
    """Whether the recipe's batch finds room, and the largest that does."""
    parts = recipe.training.accumulate
    own = f"{trial.wanted:,} pictures at a time" + (f" (a batch in {parts} parts)" if parts > 1 else "")
    how = "tried" if trial.is_measured else "by estimate"
    if not trial.is_measured and device.type == "cuda":
        how += " (with more --minutes it is tried)"
    largest = f"the largest that does with a tenth to spare is {trial.largest:,}, {how}"
    values = {"wanted": trial.wanted, "largest": trial.largest, "is_measured": trial.is_measured}
    if trial.fits:
        return Check("batch size", "ok", f"{own} find room; {largest}", values=values)
    told = f"{own} find no room in memory; {largest}"
    if not trial.micro_batch:
        return Check(
            "batch size", "problem", told, "smaller crops, a narrower network, or another --batch-size", values
        )
    remedy = f"--micro-batch {trial.micro_batch}, which keeps the batch"
    if recipe.training.sync_batchnorm is not False:
        remedy += ", with --set training.sync_batchnorm=false"
    return Check("batch size", "problem", told, remedy, values)


def check_memory_needed(measured: Measured) -> Check:
    """Memory of the machine that a run takes where its processors train, with the pictures that it keeps."""
    recipe, pictures, _, reading, _, _ = measured
    counted_for = settled(recipe.training.batch_size) // recipe.training.accumulate
    needed = processor_bytes(estimate(recipe), counted_for, counted_for)
    kept = bytes_needed(pictures) if reading and reading.in_memory else 0.0
    free = free_memory()
    told = f"about {size(needed + kept)} of {size(free)} that can be had"
    told += f", {size(kept)} of them for decoded pictures" if kept else ""
    values = {"needed_bytes": needed + kept, "free_bytes": free}
    if needed + kept > free:
        return Check(
            "memory of a run", "problem", told, "--micro-batch with fewer pictures, or data.cache=false", values
        )
    return Check("memory of a run", "ok", told, values=values)


def check_sharing(recipe: Recipe, reading: Reading, workers: int) -> Check:
    """Whether the workers' batches find room in /dev/shm, and files enough may be open."""
    own = limits()
    part = settled(recipe.training.batch_size) // recipe.training.accumulate * reading.bytes_a_picture
    ahead = batches_ahead(workers, part, own.shared_bytes - 2 * part)
    why = why_not_shared(Traffic(workers, workers * ahead + 2, part, reading.tensors), own)
    told = f"{counted(workers, 'worker')} with batches of {size(part)}"
    if why is None:
        return Check("batches shared", "ok", f"{told} find room in shared memory")
    found, _, remedy = why.rpartition(" (")
    return Check(
        "batches shared", "warning", f"{told}: {found}; they come through pipes instead, which is slower",
        remedy.rstrip(")"),
    )  # fmt: skip


def check_time(measured: Measured, pace: Pace) -> Check:
    """Of the whole run, on one process."""
    recipe, pictures, look, reading, _, _ = measured
    plan = make_plan(recipe, len(pictures))
    seconds = plan.steps * settled(recipe.training.batch_size) / pace.rate
    if reading is not None and reading.in_memory:  # read once, by all cores, as they were looked at
        seconds += len(pictures) * look.seconds / max(1, look.count)
    told = f"about {long_duration(seconds)} on one process: {plan.steps:,} steps at {_rate(pace.rate)}"
    return Check("time", "ok", told, values={"seconds": seconds, "pictures_per_second": pace.rate, "steps": plan.steps})


def _rate(rate: float) -> str:
    return f"{rate:,.{0 if rate >= 100 else 1}f} pictures/s"


def long_duration(seconds: float) -> str:
    """
    >>> long_duration(90), long_duration(86_400 * 3.26)
    ('1 min 30 s', '3.3 days')
    """
    return f"{seconds / 86_400:.1f} days" if seconds >= 2 * 86_400 else duration(seconds)


def check_run_disk(recipe: Recipe, folder: Path, pictures: int) -> Check:
    """What the run's folder will take, against what is free."""
    return check_disk("disk of the run", folder, float(estimate_disk(recipe, estimate(recipe), pictures).run_bytes))


def check_folder(folder: Path) -> Check:
    """Whether a run may begin there, or goes on."""
    try:
        run = RunFolder(choose_folder(folder, resume=True, overwrite=False))
    except UserError as error:
        return Check("folder", "problem", str(error), "another --out")
    if finished_results(run) is not None:
        return Check("folder", "warning", f"{folder} holds a run that is finished", "--overwrite, or another --out")
    if run.recipe.exists():
        return Check("folder", "ok", f"{folder} holds a run, which the same recipe goes on with")
    return Check("folder", "ok", f"{folder} is free")


def check_not_measured(error: Exception) -> Check:
    told = first_line(error)
    remedy = "" if isinstance(error, UserError) else "swav doctor --quick leaves measuring out"
    return Check("measuring", "warning", f"nothing was measured: {told}", remedy)
