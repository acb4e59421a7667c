"""What processes tell each other in a step of pretraining, in calls and bytes, and how fast two train beside one.

python benchmarks/communication.py [--recipe in1k-200e-bs4096] [--processes 2] [--batch 8] [--steps 4] [--set KEY=VALUE]

Gradients, sums and statistics don't depend on the size of batch and crops, so a small batch tells the bytes of a large
one. Each number of processes trains the same whole batch, on one thread a process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from swav_cli.core.swav import Trainer
from swav_cli.data.reading.loader import Order, load_batches
from swav_cli.data.sources import open_pictures
from swav_cli.parallel import distributed
from swav_cli.parallel.processes import joined_processes
from swav_cli.planning.derive import derive
from swav_cli.recipe.file import load_recipe

CALLS: Counter[str] = Counter()
BYTES: Counter[str] = Counter()


def count(kind: str, nbytes: int) -> None:
    CALLS[kind] += 1
    BYTES[kind] += nbytes


def listen(trainer: Trainer) -> None:
    """Count what goes through torch.distributed, and through DistributedDataParallel's own reductions."""
    reduce, gather, send = dist.all_reduce, dist.all_gather, dist.isend
    sums = len(trainer.recipe.assigned_crops) * trainer.model.prototypes.out_features

    def all_reduce(tensor: torch.Tensor, *rest: Any, **named: Any) -> Any:
        numbers = tensor.numel()
        kind = "codes" if numbers == sums else "loss" if numbers == 1 else "statistics of normalisation"
        count(kind, tensor.nbytes)
        return reduce(tensor, *rest, **named)

    def all_gather(found: list[torch.Tensor], tensor: torch.Tensor, *rest: Any, **named: Any) -> Any:
        count("statistics of normalisation", tensor.nbytes * len(found))
        return gather(found, tensor, *rest, **named)

    def isend(tensor: torch.Tensor, *rest: Any, **named: Any) -> Any:
        count("signals", tensor.nbytes)
        return send(tensor, *rest, **named)

    dist.all_reduce, dist.all_gather, dist.isend = all_reduce, all_gather, isend
    if isinstance(trainer.network, DistributedDataParallel):

        def hook(state, bucket):  # type: ignore[no-untyped-def]  # annotations as text are refused
            count("gradients, while the backward pass goes on", bucket.buffer().nbytes)
            done = reduce(bucket.buffer().div_(dist.get_world_size()), async_op=True).get_future()
            return done.then(lambda future: future.value()[0])

        trainer.network.register_comm_hook(None, hook)


def work(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    settings = [f"training.batch_size={options.batch}", "loss.queue.length=0", "loss.freeze_prototypes_steps=0"]
    settings += ["data.train=shapes:512", "training.epochs=1", "schedule.warmup_epochs=0", "training.workers=0"]
    recipe = load_recipe(options.recipe, [*settings, "training.precision=float32", *options.set])
    with joined_processes():
        pictures = open_pictures("shapes:512")
        recipe, _ = derive(recipe, pictures, torch.device("cpu"))
        trainer = Trainer(recipe, pictures, torch.device("cpu"))
        trainer.model.train()
        order = Order(512, options.batch, 1, 0, 0, 1, distributed.local_share)
        batches = load_batches(pictures, trainer.multicrop, order, 0)
        trainer.train_step([next(batches)])
        listen(trainer)
        started = time.perf_counter()
        for _ in range(options.steps):
            trainer.train_step([next(batches)])
            distributed.largest_of_all(0, 0, 0)  # as the loop does
        seconds = time.perf_counter() - started
        if distributed.is_writer():
            rate = options.steps * options.batch / seconds
            print(f"{distributed.world_size()} processes: {rate:.2f} pictures/s")
            for kind in sorted(CALLS):
                print(
                    f"  {kind:48} {CALLS[kind] / options.steps:6.0f} calls {BYTES[kind] / options.steps:14,.0f} bytes"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="in1k-200e-bs4096")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    if "RANK" in os.environ:
        work(options)
        return
    for world in (1, options.processes):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
        subprocess.run([*launcher, __file__, *sys.argv[1:]], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
