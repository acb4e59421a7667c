"""How quick this machine is at a recipe, part by part, and what bounds it: what `swav bench` does.

Nothing is written but pictures that are made up, in a folder that is removed again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from swav_cli.core.compiling import what_compiling_lacks
from swav_cli.core.device import own_device
from swav_cli.errors import MemoryFull, UserError, first_line, is_memory_full, nearest
from swav_cli.planning.micro_batch import give_back
from swav_cli.planning.own_process import ProcessFailed, in_own_process
from swav_cli.planning.pace import measure_reading
from swav_cli.recipe.schema import Recipe
from swav_cli.report.bench import Bench
from swav_cli.report.console import Screen
from swav_cli.report.words import duration
from swav_cli.tasks.bench.found import Found
from swav_cli.tasks.bench.inference import network_of, time_extraction, time_network
from swav_cli.tasks.bench.limits import copied_bytes, product_flops
from swav_cli.tasks.bench.reading import measure_loader
from swav_cli.tasks.bench.rows import told_of
from swav_cli.tasks.bench.subject import subject
from swav_cli.tasks.bench.training import Compiled, EndToEnd, Steps, compiled_there, time_eager, time_end_to_end

# Of the time that is left, what each part has beside those behind it; what it leaves is theirs.
WEIGHTS = {
    "reading_core": 4, "reading": 6, "product": 1, "copy": 1, "step": 22, "end_to_end": 12, "network_alone": 4,
    "extract": 8, "compiled": 60,
}  # fmt: skip
# What can be measured by itself, and the parts of it.
SUBJECTS = {
    "reading": ("reading_core", "reading"),
    "limits": ("product", "copy"),
    "step": ("step",),
    "run": ("end_to_end",),
    "inference": ("network_alone", "extract"),
    "compile": ("compiled",),
}
LEAST = 0.2  # seconds for anything, however late it is
STARTING = 5.0  # seconds that a process of its own takes to begin; with less, none is begun

Value = TypeVar("Value")


class Clock:
    """The time that there is, shared out to parts as they come.

    >>> clock = Clock(60, {"step"})    # steps, and all that follows from them
    >>> 50 < clock.share("step") < 60
    True
    """

    def __init__(self, seconds: float, wanted: Collection[str]) -> None:
        self._ended = time.monotonic() + seconds
        self._to_come = {key: WEIGHTS[key] for name in wanted for key in SUBJECTS[name]}

    def left(self) -> float:
        """Seconds; none may be left."""
        return self._ended - time.monotonic()

    def share(self, part: str) -> float:
        """Seconds of a part, which is begun now."""
        of_all = sum(self._to_come.values())
        return max(LEAST, self.left() * self._to_come.pop(part) / of_all)


def bench(
    recipe: Recipe,
    *,
    device: str = "auto",
    minutes: float = 2.0,
    are_named: bool = False,
    only: Collection[str] = (),
    screen: Screen | None = None,
) -> Bench:
    """Measure reading, a step and its parts, both together, inference, and what the device gives at most.

    >>> from swav_cli import load_recipe
    >>> recipe = load_recipe("quickstart", ["data.train=shapes:32", "training.batch_size=4", "model.width=4"])
    >>> [row.key for row in bench(recipe, device="cpu", minutes=0.01).rows][:3]
    ['reading_core', 'reading', 'step']

    Args:
        recipe: of pretraining.
        device: auto, cpu, cuda, cuda:1 or mps.
        minutes: for all of it, roughly; what finds no time says so.
        are_named: `data.train` was named for this and has to be there; else other pictures may stand in.
        only: names of `SUBJECTS` that are measured; all where none is given.

    Raises:
        UserError: there is no such device, or no pictures where they are named.
    """
    wanted = _wanted(only)
    clock, screen = Clock(60 * minutes, wanted), screen or Screen()
    chosen = own_device(device)
    with tempfile.TemporaryDirectory(prefix="swav-bench-") as folder:
        with screen.working("making pictures ready"):
            given = subject(recipe, chosen, are_named, Path(folder), screen.indexing)
        return told_of(_measured(Found(given, wanted), clock, screen))


def _wanted(only: Collection[str]) -> frozenset[str]:
    """With steps where something else is made of them.

    Raises:
        UserError: a name that is none.
    """
    for name in only:
        if name not in SUBJECTS:
            raise UserError(f"--only {name}: use {', '.join(SUBJECTS)}.{nearest(name, SUBJECTS)}")
    wanted = frozenset(only or SUBJECTS)
    return wanted | {"step"} if wanted & {"run", "compile"} else wanted


class _Parts:
    """Measures one part after another; one that fails leaves the reason, and the others go on."""

    def __init__(self, clock: Clock, screen: Screen) -> None:
        self.clock, self.screen = clock, screen
        self.failed: dict[str, str] = {}

    def __call__(self, key: str, what: str, work: Callable[[float], Value]) -> Value | None:
        try:
            with self.screen.working(what):
                return work(self.clock.share(key))
        except (UserError, ProcessFailed, RuntimeError, OSError) as error:
            self.failed[key] = str(MemoryFull()) if is_memory_full(error) else first_line(error)
            return None


def _measured(found: Found, clock: Clock, screen: Screen) -> Found:
    part, given = _Parts(clock, screen), found.given
    device, precision = given.device, given.recipe.training.precision
    found.failed = part.failed
    if "reading" in found.wanted:
        _reading(found, part)
    if "limits" in found.wanted:
        found.product = part("product", "a matrix product", lambda seconds: product_flops(device, precision, seconds))
        found.copy = part("copy", "a copy", lambda seconds: copied_bytes(device, seconds))
    if "step" in found.wanted:
        _training(found, part)
        give_back(device)
    if "inference" in found.wanted:
        _inference(found, part)
        give_back(device)
    if "compile" in found.wanted and found.eager is not None:
        found.compiled = part("compiled", "steps of the compiled network", lambda _: _compiled(found, clock.left()))
    return found


def _reading(found: Found, part: _Parts) -> None:
    recipe, pictures, device = found.given.recipe, found.given.pictures, found.given.device
    workers = found.given.lying.workers
    found.reading = part(
        "reading_core",
        "reading on one core",  # pictures are in memory already, where a run keeps them there
        lambda seconds: measure_reading(recipe, pictures, False, seconds),
    )
    if workers:
        found.loader = part(
            "reading", "reading by all processes",
            lambda seconds: measure_loader(recipe, pictures, workers, device, seconds),
        )  # fmt: skip


def _training(found: Found, part: _Parts) -> None:
    given = found.given
    eager = part("step", "steps of training", lambda seconds: time_eager(given, seconds))
    if eager is None:
        return
    found.eager, trainer = eager
    if "run" in found.wanted:
        workers = given.lying.workers
        found.end_to_end = part(
            "end_to_end", "pictures to weights",
            lambda seconds: time_end_to_end(trainer, given.pictures, workers, seconds),
        )  # fmt: skip


def _inference(found: Found, part: _Parts) -> None:
    given = found.given
    model, how = network_of(given.recipe, given.device)
    found.how = how
    found.network = part("network_alone", "the network alone", lambda seconds: time_network(model, how, seconds))
    found.extraction = part(
        "extract", "extracting from files", lambda seconds: time_extraction(model, how, given.files, seconds)
    )


def _compiled(found: Found, seconds: float) -> Compiled:
    """
    Raises:
        ProcessFailed: there is too little time, or it can't be compiled here.
    """
    recipe, given, more = found.recipe, found.given, "give more with --minutes"
    lacking = what_compiling_lacks(given.device)
    if lacking is not None:
        raise ProcessFailed(lacking)
    if seconds < STARTING:
        raise ProcessFailed(f"no time was left; {more}")
    told = recipe.model_dump(mode="json"), given.lying, str(given.device), seconds - STARTING / 2
    try:
        steps, end_to_end = in_own_process(compiled_there, told, seconds)
    except ProcessFailed as error:
        if "too long" not in str(error):
            raise
        raise ProcessFailed(f"compiling took more than the {duration(seconds)} that were left; {more}") from None
    return Compiled(Steps(recipe, *steps), EndToEnd(*end_to_end) if end_to_end else None)
