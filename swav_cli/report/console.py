"""What a run says while it works: a bar on a terminal, a plain line now and then elsewhere; all on standard error."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from swav_cli.errors import Told, counted, silent
from swav_cli.parallel import distributed
from swav_cli.printable import printable
from swav_cli.progress import PLAIN_SECONDS, Progress, new_bar, say
from swav_cli.recipe.normal import Courses, normal_at, normal_courses
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.report.beaten import describe_numbers, describe_worth, measure_of
from swav_cli.report.words import duration

if TYPE_CHECKING:
    import torch
    from tqdm import tqdm

    from swav_cli.core.health import Health
    from swav_cli.core.plan import Plan
    from swav_cli.data.pictures import Pictures
    from swav_cli.planning.derive import Derived
    from swav_cli.run.metrics import Step

QUIET_SECONDS = 1.0  # in which indexing says nothing
SHOWN = 3  # pictures that could not be read, of those in a file


class Screen:
    """What a run says: to standard error, as a person at a terminal or a log file wants it, or to nobody.

    Args:
        speaks: False keeps it silent, as a call from Python is, and all processes of a run but the first.
        measure: of the loss that is shown after a step.
    """

    def __init__(self, speaks: bool = False, measure: Literal["loss/ln K", "loss"] = "loss/ln K") -> None:
        self.speaks, self.measure = speaks, measure
        self.stream = sys.stderr
        self.is_terminal = speaks and self.stream.isatty()
        self._bar: tqdm[Any] | None = None
        self._courses: Courses = {}
        self._indexing: Progress | None = None
        self._indexed_from = 0.0
        self._last_line = 0.0
        self._timed_from: tuple[float, int] | None = None  # when, and after which step

    def _say(self, text: str) -> None:
        if self.speaks:
            say(text)

    def opening(
        self, recipe: Recipe, derived: list[Derived], plan: Plan, pictures: Pictures, device: torch.device, path: Path
    ) -> None:
        """What is about to be trained."""
        self._courses = normal_courses(recipe.name, recipe.data.train, recipe.objective)
        self._say(f"{recipe.name}: {describe_run(recipe, plan, pictures, device)}")
        for value in derived:
            self._say(f"  {value.key} = {value.told}  ({value.reason})")
        for line in (*describe_objective(recipe), describe_learning_rate(recipe, plan)):
            self._say(f"  {line}")
        self._say(f"  run: {path}")

    def notice(self, text: str) -> None:
        """Something worth knowing."""
        self._say(text)

    def warn(self, text: str) -> None:
        """Something that looks wrong."""
        self._say(f"warning: {text}")

    @contextmanager
    def working(self, what: str, unit: str = "img") -> Iterator[Told]:
        """Around work of some seconds that is not training, which may tell how much of it is done."""
        started = time.monotonic()
        if self.is_terminal:
            print(f"{what} ...", end="\r", file=self.stream, flush=True)
        with self.counting(unit, what) as progress:
            yield progress
        seconds = time.monotonic() - started
        if self.is_terminal:
            print(" " * (len(what) + 4), end="\r", file=self.stream, flush=True)
        if seconds >= 1:
            self._say(f"{what}: {duration(seconds)}")

    @contextmanager
    def counting(self, unit: str, what: str = "") -> Iterator[Told]:
        """Around work that tells how much of it is done, of how many; `what` it is, where the unit does not tell."""
        if not self.speaks:
            yield silent
            return
        with closing(Progress(unit, what)) as progress:
            yield progress

    def indexing(self, done: int, count: int) -> None:
        """While shards are gone through for the first time: so many bytes of so many."""
        if not self.speaks:
            return
        if self._indexing is None:
            self._indexing, self._indexed_from = Progress("B", "indexing shards", after=QUIET_SECONDS), time.monotonic()
        if done < count:
            self._indexing(done, count)
            return
        self._indexing.close()
        self._indexing = None
        seconds = time.monotonic() - self._indexed_from
        if seconds > QUIET_SECONDS:
            self._say(f"indexed shards in {duration(seconds)}")

    @contextmanager
    def training(self, step: int, steps: int, first: str | None = None) -> Iterator[None]:
        """Around the steps of a run; `first` says why the first one takes long."""
        self._timed_from = None
        if first is not None and step < steps:
            self._say(f"first step: {first}")
        try:
            yield
        finally:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def step(self, step: Step) -> None:
        """After each step."""
        loss = step.loss if self.measure == "loss" else step.share
        told = f"{self.measure} {loss:.3f}, {step.pictures_per_second:,.0f} img/s, wait {step.waiting:.0%}"
        if self._timed_from is None:  # the first step is like no other, and no time is told by it
            self._timed_from = time.monotonic(), step.number
            if self.is_terminal:
                self._bar = new_bar(step.steps, step.number, "step")
        if self._bar is not None:
            self._bar.set_postfix_str(told, refresh=False)
            self._bar.update(step.number - self._bar.n)
        elif time.monotonic() - self._last_line > PLAIN_SECONDS or step.number == step.steps:
            self._last_line = time.monotonic()
            self._say(f"step {step.number}/{step.steps} epoch {step.epoch + 1}: {told}{self._time_left(step)}")

    def _time_left(self, step: Step) -> str:
        """By the steps after the first one; nothing where there is none."""
        assert self._timed_from is not None
        began, first = self._timed_from
        if step.number == first:
            return ""
        left = (time.monotonic() - began) / (step.number - first) * (step.steps - step.number)
        return f", {duration(left)} left"

    def epoch(self, step: Step, health: Health, knn: float | None) -> None:
        """After the last step of each epoch."""
        judged = f", k-NN {knn:.1f} %" if knn is not None else ""
        course = self._courses.get("loss_over_ln_k")
        usual = normal_at(course, step.number / step.steps) if course else None
        beside = f" (usually {usual.low:.2f} to {usual.high:.2f})" if usual else ""
        self._say(
            f"epoch {step.epoch + 1}/{step.epochs}: loss/ln K {step.epoch_share:.3f}{beside}, "
            f"{counted(health.used_prototypes, 'prototype')} used (perplexity {health.perplexity:.0f}), "
            f"spread {health.spread:.3f}, rank {health.rank:.1f}{judged}"
        )

    def closing(self, recipe: Recipe, results: dict[str, Any], path: Path) -> None:
        """What came of it, and what to type next."""
        steps = results["pictures"] // settled(recipe.training.batch_size) * results["epochs"]
        self._say(describe_results(results, path, steps))


def describe_run(recipe: Recipe, plan: Plan, pictures: Pictures, device: torch.device) -> str:
    labels = "" if pictures.labels is None else ", labels not used for training"
    world = distributed.world_size()
    return (
        f"{counted(len(pictures), 'picture')} of {pictures.source}{labels}; "
        f"{counted(settled(recipe.training.epochs), 'epoch')} of {counted(plan.steps_per_epoch, 'step')} with "
        f"{recipe.training.batch_size} pictures, on {device} "
        f"{f'by {world} processes ' if world > 1 else ''}in {recipe.training.precision}"
    )


def why_the_first_step_is_long(device: torch.device, compiles: bool = False) -> str | None:
    """What a run does once, in its first step, while nothing moves on the screen; None where it takes no time."""
    if compiles:
        return "torch.compile makes the network's kernels, once; some minutes"
    return "cuDNN tries its kernels, once; up to a minute" if device.type == "cuda" else None


def describe_objective(recipe: Recipe) -> list[str]:
    """What is not as SwAV has it."""
    if recipe.objective == "swav":
        return []
    return [
        f"deepcluster2: targets are {counted(recipe.loss.clusters.heads, 'clustering')} of the epoch before",
        "prototypes of the model are those of the first; epsilon and rounds of Sinkhorn are of swav, and not used",
    ]


def describe_learning_rate(recipe: Recipe, plan: Plan) -> str:
    batch = recipe.training.batch_size
    warm = f", from {plan.warmup_lr:g} over {counted(plan.warmup_steps, 'step')}" if plan.warmup_steps else ""
    return (
        f"learning rate {recipe.optimizer.lr:g} x {batch} / 256 = {plan.peak_lr:g}{warm}, "
        f"then a cosine to {plan.final_lr:g}"
    )


def describe_results(results: dict[str, Any], path: Path, steps: int) -> str:
    typed = shlex.quote(str(path))
    lines = [
        f"done in {duration(results['seconds'])}",
        f"  loss   {results['loss']:.3f}, {results['loss_over_ln_k']:.3f} of ln K",
    ]
    if measure := measure_of(results):
        lines += [
            f"  {measure.short:<6} {describe_numbers(results, measure)}",
            f"  so     {describe_worth(results, steps)}",
        ]
    if results.get("advice"):
        lines.append(f"  health {results['advice']}")
    if results["bad_pictures"]:
        lines += describe_bad(results["bad_pictures"], path / "bad-pictures.txt")
    lines += [
        f"  run    {path}",
        f"  look   {path / 'prototypes.png'}: pictures that it finds alike, a line a prototype",
        "next",
        f"  swav report {typed}    one page to look at and to show",
        *([f"  swav eval {typed}    more about how good it is"] if "knn" in results else []),
        f"  swav clusters --model {typed}    which of its pictures belong together, are copies, are odd",
        f"  swav predict photos/ --model {typed}    which cluster each of other pictures is of",
        f"  swav extract photos/ --model {typed} --out feats.npy    their features in a file",
        "  swav pretrain photos/    train on a folder of your own; swav recipes lists other recipes",
    ]
    return "\n".join(lines)


def describe_bad(count: int, path: Path) -> list[str]:
    """How many pictures could not be read in training, and the first of those that stand in the run's file."""
    lines = [f"  {counted(count, 'picture')} could not be read; see {path}"]
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            lines += [f"    {printable(line.rstrip())}" for line in islice(file, SHOWN)]
    except OSError:
        pass
    return lines
