"""Processes of one run, for tests: this module is also the program that each of them runs.

`python -m tests.together FOLDER RESULT NAME…` trains what `SCENARIOS` calls by those names, by as many processes as the
environment says, and the first one keeps what came of each in FOLDER/RESULT-NAME.pt.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swav_cli.core.deepcluster import DeepCluster, make_trainer
from swav_cli.core.swav import Trainer
from swav_cli.data.reading.loader import load_batches
from swav_cli.data.sources import ShapePictures
from swav_cli.errors import Interrupted
from swav_cli.parallel import distributed
from swav_cli.parallel.processes import joined_processes
from swav_cli.run.checkpoint import load_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import Step
from tests.conftest import tiny_recipe
from tests.processes import start_together
from tests.training import train

CPU = torch.device("cpu")
COUNT, BATCH = 144, 24  # pictures in all, and of a step
# Colours are changed in float32 and rounded otherwise in another batch: they are left alone here. Small crops and a
# high rate blow up any difference tenfold a step in so small a network.
RUN = (
    f"training.batch_size={BATCH}", f"loss.queue.length={2 * BATCH}", f"data.train=shapes:{COUNT}", "training.epochs=3",
    "optimizer.lr=0.02", "crops.1.size=16", "augment.jitter=0", "augment.grayscale=0", "augment.blur=0",
)  # fmt: skip

FOLLOWING = ("loss.epsilon_of_spread=0.2", "loss.epsilon_least=0.001")


def run_together(world: int, folder: Path, *names: str) -> None:
    """Each scenario by so many processes; what came of it is in the folder."""
    processes = start_together(world, folder, str(world), *names, cwd=folder, module="tests.together")
    for process in processes:
        _, failed = process.communicate(timeout=300)
        assert process.returncode == 0, failed[-3000:]


def steps(*overrides: str, count: int = 14) -> dict[str, Any]:
    """Losses and gradient norms of some steps, across the start of the queue, and the state after them."""
    recipe = tiny_recipe(*RUN, *overrides)
    trainer = Trainer(recipe, ShapePictures(COUNT, 0, "train"), CPU)
    trainer.model.train()
    found = []
    parts = recipe.training.accumulate
    batches = _batches(trainer)
    for _ in range(count):
        found.append(trainer.train_step([next(batches) for _ in range(parts)]))
    health = {name: value for name, value in trainer.health(1.0)._asdict().items() if value is not None}
    return {**trainer.state(), "steps": torch.tensor(found, dtype=torch.float64), "health": health}


def clusters(*overrides: str, count: int = 8) -> dict[str, Any]:
    """The same by DeepCluster-v2, from the first look at all pictures into the second epoch; some are left out."""
    wanted = ("objective=deepcluster2", "loss.queue.length=0", "loss.freeze_prototypes_steps=0")
    recipe = tiny_recipe(*RUN, *wanted, "training.precision=float64", *overrides)
    trainer = make_trainer(recipe, ShapePictures(COUNT + 5, 0, "train"), CPU)
    assert isinstance(trainer, DeepCluster)
    trainer.remember_all(0)
    with closing(trainer.steps(0)) as steps:
        found = [(step.loss, step.gradient_norm) for step in islice(steps, count)]
    return {**trainer.state(), "steps": torch.tensor(found, dtype=torch.float64)}


def _batches(trainer: Trainer) -> Any:
    return load_batches(trainer.pictures, trainer.multicrop, trainer.course.order(), 0)


class Counted(ShapePictures):
    """Notes which pictures are read."""

    def __init__(self, note: Path) -> None:
        super().__init__(COUNT, 0, "train")
        self.note = note

    def read(self, index: int) -> Tensor:
        with open(self.note, "a") as file:
            file.write(f"{index}\n")
        return super().read(index)


def a_stretch() -> dict[str, Any]:
    """Go on with the run in this folder for as many steps as the environment says, and note what is read."""
    folder = RunFolder(Path("run"))
    recipe = tiny_recipe(*RUN, "training.precision=float64")
    trainer = Trainer(recipe, Counted(Path("read.txt")), CPU)
    look = trainer.sample.look
    # What is looked at after an epoch is not counted.
    trainer.sample.look = lambda model, _, device: look(model, ShapePictures(COUNT, 0, "train"), device)
    if folder.last.exists():
        trainer.restore(load_checkpoint(folder.last))
    until = trainer.course.step + int(os.environ["STEPS"])

    def stop_there(step: Step) -> None:
        if step.number == until and distributed.rank() == distributed.world_size() - 1:
            os.kill(os.getpid(), signal.SIGUSR1)  # to one process alone: all have to stop after the same step

    with suppress(Interrupted):
        train(trainer, folder.path, stop_there)
    return trainer.state()


def statistics() -> dict[str, Any]:
    """Running means after a step as they are kept, and of every process before they were averaged."""
    trainer = Trainer(tiny_recipe(*RUN, "training.precision=float64"), ShapePictures(COUNT, 0, "train"), CPU)
    trainer.model.train()
    norm, average, own = trainer.model.bn1, distributed.average_running_statistics, []

    def listen(model: torch.nn.Module) -> None:
        own.extend(distributed.of_all(norm.running_mean.clone()))
        average(model)

    distributed.average_running_statistics = listen
    trainer.train_step([next(_batches(trainer))])
    distributed.average_running_statistics = average
    return {"own": own, "kept": distributed.of_all(norm.running_mean)}


def largest() -> dict[str, Any]:
    """What each process hears, of numbers whose largest lies with another one each time."""
    own = [-distributed.rank(), distributed.rank(), int(distributed.rank() == 1)]
    heard = distributed.objects_of_all([distributed.largest_of_all(*own) for _ in range(3)])
    return {"heard": [each for of_one in heard for each in of_one]}


def counted() -> dict[str, Any]:
    """The calls between processes of a true step, as torch's flight recorder has them: how many numbers each gives."""

    def numbers() -> list[int]:
        entries = json.loads(torch._C._distributed_c10d._dump_fr_trace_json())["entries"]
        return [sum(math.prod(size) for size in entry["input_sizes"]) for entry in entries]

    found = {}
    for name, synchronised in {"apart": "false", "synchronised": "true"}.items():
        recipe = tiny_recipe(*RUN, f"training.sync_batchnorm={synchronised}", "loss.queue.length=0")
        trainer = Trainer(recipe, ShapePictures(COUNT, 0, "train"), CPU)
        trainer.model.train()
        batches = _batches(trainer)
        for _ in range(3):  # in the second one buckets of gradients are put together anew
            before = len(numbers())
            trainer.train_step([next(batches)])
        found[name] = numbers()[before:]
    return found


def no_room() -> dict[str, Any]:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB.")


SCENARIOS: dict[str, Callable[[], dict[str, Any]]] = {
    "synchronised": lambda: steps("training.precision=float64", "training.sync_batchnorm=true"),
    # Few steps: torch's own normalisation of channels-last pictures on a CPU is off by 1e-5 from the start.
    "synchronised-float32": lambda: steps("training.sync_batchnorm=true", "optimizer.lr=0.002", count=3),
    "following": lambda: steps("training.precision=float64", "training.sync_batchnorm=true", *FOLLOWING, count=4),
    "grouped": lambda: steps("training.precision=float64", "training.sync_batchnorm=2"),
    "apart": lambda: steps("training.precision=float64"),
    "two-parts": lambda: steps("training.precision=float64", "training.accumulate=2"),
    "three-parts": lambda: steps("training.precision=float64", "training.accumulate=3"),
    "clusters": clusters,
    "clusters-in-parts": lambda: clusters("training.accumulate=2"),
    "statistics": statistics,
    "stretch": a_stretch,
    "largest": largest,
    "counted": counted,
    "full": no_room,
}


def main() -> None:
    # What is to be gone from torch some day would be printed by every process.
    warnings.filterwarnings("error", category=FutureWarning, module="swav_cli")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    folder, result, *names = sys.argv[1:]
    with joined_processes(minutes=float(os.environ.get("MINUTES", 5))):
        for name in names:
            found = SCENARIOS[name]()
            if distributed.is_writer():
                torch.save(found, Path(folder) / f"{result}-{name}.pt")


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
