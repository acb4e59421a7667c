"""The whole check-up, in order: installation, machine, pictures, recipe, speed. What `swav doctor` does.

Nothing is written anywhere: no listing or index is kept, and no run begins.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from swav_cli.errors import UserError
from swav_cli.report.checkup import Check
from swav_cli.tasks.doctor.installation import check_installation

if TYPE_CHECKING:
    import torch

    from swav_cli.data.pictures import Pictures
    from swav_cli.recipe.schema import Recipe
    from swav_cli.report.console import Screen
    from swav_cli.tasks.doctor.look import Look
    from swav_cli.tasks.doctor.recipe import Fitted

QUICK_LOOK = 200  # pictures, where nothing is to be measured; and of a stream
LOOKING, READING = 0.45, 0.1  # of the time; training has what these leave


LEAST = 0.3  # of the time, for reading and training where looking has taken more


class Budget(NamedTuple):
    """How long things may take."""

    seconds: float
    measures: bool  # False: nothing is timed, and few pictures are looked at


def examine(
    recipe: Recipe | None = None,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    minutes: float = 1.0,
    quick: bool = False,
    held: Collection[str] = (),
    screen: Screen | None = None,
) -> dict[str, list[Check]]:
    """Check the installation and the machine, and with a recipe its pictures, their fit, speed, room and time.

    >>> sorted(examine())
    ['installation', 'machine']

    Args:
        recipe: of pretraining; None leaves all out that needs one.
        out: the run's folder; `runs/<recipe's name>` where nothing is said. It is not made.
        device: auto, cpu, cuda, cuda:1 or mps.
        minutes: that looking and measuring may take, roughly.
        quick: measure nothing, and look at few pictures.
        held: keys of values that stay where a run would start from weights, see `pretrain`.

    Raises:
        UserError: there is no such device, or no pictures where the recipe says.
    """
    found = {"installation": check_installation()}
    if any(check.name == "torch" and check.state == "problem" for check in found["installation"]):
        return found
    from swav_cli.core.device import own_device
    from swav_cli.report.console import Screen
    from swav_cli.tasks.doctor.machine import check_machine
    from swav_cli.tasks.pretrain_weights import started

    screen, chosen = screen or Screen(), own_device(device)
    folder = Path(out or Path("runs") / (recipe.name if recipe else ""))
    opened = _opened(recipe, screen) if recipe else None  # before anything else: a wrong name is told at once
    found["machine"] = check_machine(chosen, folder)
    if recipe is not None and opened is not None:
        recipe = started(recipe, opened, held, fetches=False, notice=screen.notice).recipe
        found |= _of_recipe(recipe, opened, folder, chosen, Budget(60 * minutes, not quick), screen)
    return found


def _opened(recipe: Recipe, screen: Screen) -> Pictures:
    from swav_cli.data.paths import keeping_nothing
    from swav_cli.data.shards.names import is_stream
    from swav_cli.data.shards.streams import open_stream
    from swav_cli.run.pictures import training_pictures

    data = recipe.data
    with keeping_nothing():
        if is_stream(data.train) and data.stream_pictures is not None:
            return open_stream(
                data.train, data.stream_pictures, data.shuffle_buffer, data.channels, max_bad=data.max_bad
            )
        return training_pictures(recipe, screen.indexing)


def _of_recipe(
    recipe: Recipe, pictures: Pictures, folder: Path, device: torch.device, budget: Budget, screen: Screen
) -> dict[str, list[Check]]:
    from swav_cli.tasks.doctor.look import look_at
    from swav_cli.tasks.doctor.pictures import check_pictures
    from swav_cli.tasks.doctor.recipe import check_judged, check_recipe, fit
    from swav_cli.tasks.doctor.speed import check_folder, check_run_disk

    ended = time.monotonic() + budget.seconds
    looked_at = pictures.some(QUICK_LOOK)
    with screen.counting("pictures") as progress:
        most = None if budget.measures else QUICK_LOOK
        look = look_at(looked_at, LOOKING * budget.seconds, most, progress)
    look = replace(look, total=len(pictures))
    fitted = fit(recipe, len(pictures), look, device)
    found = {
        "pictures": check_pictures(looked_at, recipe, look),
        "recipe": check_recipe(fitted, look, device),
    }
    if fitted.is_settled:
        found["recipe"].append(check_judged(fitted.recipe, pictures, device))
    if not fitted.refusals:
        found["run"] = [check_folder(folder), check_run_disk(fitted.recipe, folder, len(pictures))]
        if budget.measures:
            left = ended - time.monotonic()
            found["run"] += _measured(fitted, pictures, look, device, max(left, LEAST * budget.seconds), screen)
    return found


def _measured(
    fitted: Fitted, pictures: Pictures, look: Look, device: torch.device, seconds: float, screen: Screen
) -> list[Check]:
    """What takes time: reading, but of a stream, which is as quick as its network; and training.

    Args:
        seconds: for both, roughly.
    """
    from swav_cli.core.multicrop import decode_for_crops
    from swav_cli.data.reading.cache import free_memory, is_kept
    from swav_cli.data.shards.streams import StreamPictures
    from swav_cli.planning.own_process import ProcessFailed
    from swav_cli.planning.pace import measure_reading
    from swav_cli.planning.trial import apart, on_processor
    from swav_cli.tasks.doctor import speed

    recipe, reading = fitted.recipe, None
    try:
        if not isinstance(pictures, StreamPictures):
            with screen.working("timing how pictures are read"):
                decode_for_crops(pictures, recipe)  # which were looked at whole
                in_memory = is_kept(pictures, recipe.data.cache)
                reading = measure_reading(recipe, pictures, in_memory, READING * seconds)
        with screen.working("timing steps of training"):
            if device.type == "cuda":
                trial = apart(recipe, str(device), (1 - READING) * seconds)
            else:
                trial = on_processor(recipe, device, (1 - READING) * seconds, free_memory())
    except (UserError, ProcessFailed) as error:
        return [speed.check_not_measured(error)]
    return speed.check_speed(speed.Measured(recipe, pictures, look, reading, trial, device))
