"""A few compiled steps by several processes, for tests: `python -m tests.compiled` prints what came of them as JSON.

The compiler's front end and its splitting of the backward pass are torch's own; no code is made of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch._dynamo.backends.debugging import aot_eager

from swav_cli.core.swav import Trainer
from swav_cli.data.reading.loader import Order, load_batches
from swav_cli.data.sources import ShapePictures
from swav_cli.parallel import distributed
from swav_cli.parallel.processes import joined_processes
from tests.conftest import tiny_recipe

COUNT, BATCH, STEPS = 48, 8, 3
OURS = (f"data.train=shapes:{COUNT}", f"training.batch_size={BATCH}", "model.width=16", "training.precision=float64")


@contextmanager
def cheaply_compiled() -> Iterator[list[int]]:
    """Within it torch.compile makes no code; the numbers of operations of each graph that it was given."""
    graphs: list[int] = []

    def note(graph: Any, inputs: Any) -> Any:
        graphs.append(len(graph.graph.nodes))
        return aot_eager(graph, inputs)

    before = torch.compile
    torch.compile = partial(before, backend=note)  # type: ignore[assignment]
    try:
        yield graphs
    finally:
        torch.compile = before
        torch._dynamo.reset()


def steps(*overrides: str) -> list[tuple[float, ...]]:
    """Losses, norms of gradients, and a running statistic within the last stage."""
    recipe = tiny_recipe(*OURS, *overrides)
    trainer = Trainer(recipe, ShapePictures(COUNT, 0, "train"), torch.device("cpu"))
    trainer.model.train()
    parts = recipe.training.accumulate
    order = Order(COUNT, BATCH, 3, 0, 0, parts, distributed.local_share)
    batches = load_batches(trainer.pictures, trainer.multicrop, order, 0)
    kept = trainer.model.layer4[0].bn1.running_var
    return [(*trainer.train_step([next(batches) for _ in range(parts)]), float(kept.sum())) for _ in range(STEPS)]


def main() -> None:
    torch.set_num_threads(1)
    with joined_processes(minutes=5):
        plain = steps()
        with cheaply_compiled() as graphs:
            compiled = steps("training.compile=true")
        if distributed.is_writer():
            print(json.dumps({"plain": plain, "compiled": compiled, "graphs": graphs}), flush=True)


if __name__ == "__main__":
    main()
