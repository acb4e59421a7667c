"""A training step, part by part: milliseconds, pictures a second, kernels, waits for the device, memory.

    python benchmarks/step.py [in1k-200e] [--device auto] [--steps 10] [--set training.batch_size=256] [--set ...]

The trainer is the one that `swav pretrain` runs; its batch is noise, in pinned memory as the loader leaves it. Parts
are timed each by itself, the device waited for before and after, so that their sum is more than the whole. Kernels and
waits are what torch's profiler saw in one step; without a GPU the operators that were called tell of a change.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from swav_cli.core.derive import derive
from swav_cli.core.device import pick_device
from swav_cli.core.micro_batch import MadeUp, made_up_batch
from swav_cli.core.objective import chosen, swapped_prediction
from swav_cli.core.swav import Trainer, gradient_norms
from swav_cli.core.train import quickest_convolutions
from swav_cli.data.reading.loader import Batch
from swav_cli.recipe.file import load_recipe
from swav_cli.recipe.schema import Recipe, settled

WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernelEx", "cudaMemsetAsync")
COPIES = "cudaMemcpyAsync"
EPOCH = 100  # steps of it


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Median milliseconds."""
    found = []
    for _ in range(rounds):
        wait(device)
        began = time.perf_counter()
        work()
        wait(device)
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found)


def prepared(recipe: Recipe, device: torch.device) -> tuple[Trainer, list[Batch]]:
    pictures = MadeUp(EPOCH * settled(recipe.training.batch_size))
    recipe, _ = derive(recipe, pictures, device)
    trainer = Trainer(recipe, pictures, device)
    trainer.model.train()
    parts = recipe.training.accumulate
    batch = made_up_batch(recipe, settled(recipe.training.batch_size) // parts)
    if device.type == "cuda":
        batch = batch._replace(crops=[each.pin_memory() for each in batch.crops], numbers=batch.numbers.pin_memory())
    return trainer, [batch] * parts


def in_parts(trainer: Trainer, batch: Batch, rounds: int) -> dict[str, float]:
    """Milliseconds of what a step is made of."""
    device, recipe = trainer.device, trainer.recipe
    views = trainer.views(batch)
    assigned = recipe.assigned_crops

    def forward_and_backward() -> None:
        trainer.optimizer.zero_grad()
        embeddings, scores = trainer.forward(views)
        codes = trainer.codes(chosen(embeddings.detach(), assigned), chosen(scores.detach(), assigned))
        swapped_prediction(scores, codes, assigned, recipe.loss.temperature).backward()

    forward_and_backward()
    with torch.no_grad():
        embeddings, scores = trainer.forward(views)
    embeddings, scores = chosen(embeddings, assigned), chosen(scores, assigned)
    return {
        "crops to views": timed(lambda: trainer.views(batch), device, rounds),
        "forward, loss, backward": timed(forward_and_backward, device, rounds),
        "  of it codes and health": timed(lambda: trainer.codes(embeddings, scores), device, rounds),
        "norms of the gradient": timed(lambda: gradient_norms(trainer.model), device, rounds),
        "update": timed(trainer.optimizer.step, device, rounds),
    }


def counts(trainer: Trainer, parts: list[Batch]) -> dict[str, int]:
    """What one step asks of torch and of the driver."""
    cuda = trainer.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiled:
        trainer.train_step(parts)
        wait(trainer.device)
    called = {event.key: event.count for event in profiled.key_averages()}
    found = {"calls of operators": sum(count for name, count in called.items() if name.startswith("aten::"))}
    if cuda:
        found["kernels"] = sum(called.get(name, 0) for name in LAUNCHES)
        found["copies"] = called.get(COPIES, 0)
        found["waits"] = sum(called.get(name, 0) for name in WAITS) - 1  # the one above
        print(profiled.key_averages().table(sort_by="self_cuda_time_total", row_limit=18, max_name_column_width=60))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="in1k-200e")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = pick_device(options.device)
    recipe = load_recipe(options.recipe, options.overrides)
    with quickest_convolutions():
        trainer, parts = prepared(recipe, device)
        began = time.perf_counter()
        trainer.train_step(parts)
        wait(device)
        first = time.perf_counter() - began
        trainer.train_step(parts)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        whole = timed(lambda: trainer.train_step(parts), device, options.steps)
        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
        told = counts(trainer, parts)
        pieces = in_parts(trainer, parts[0], options.steps)
    training = trainer.recipe.training
    print(
        f"{recipe.name}, batch {training.batch_size}, {training.precision}, compile {training.compile}, "
        f"{torch.cuda.get_device_name() if device.type == 'cuda' else device}, torch {torch.__version__}"
    )
    print(f"first step                {first:10.1f} s")
    print(f"step                      {whole:10.1f} ms {1000 * settled(training.batch_size) / whole:10,.0f} pictures/s")
    for name, taken in pieces.items():
        print(f"  {name:24}{taken:10.1f} ms {100 * taken / whole:9.1f} % of the step")
    print("  ".join(f"{name}: {count:,}" for name, count in told.items()))
    if peak:
        print(f"memory at most            {peak / 2**30:10.1f} GiB")


if __name__ == "__main__":
    main()
