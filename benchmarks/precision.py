"""Pictures a second that a network trains, in float32 and in bf16, each with and without channels-last memory.

python benchmarks/precision.py [--backbone resnet50] [--size 224] [--batch 16] [--rounds 3] [--device cpu]

The ways take turns in every round, since machines are noisy; the median and its ratio to plain float32 are printed.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

import torch

from swav_cli.core.model import SwAV
from swav_cli.core.objective import assign_codes, swapped_prediction
from swav_cli.core.precision import autocast


def step(model: SwAV, optimizer: torch.optim.Optimizer, views: list[torch.Tensor], precision: str) -> float:
    """Seconds of a whole step: forward, codes, loss, backward, update."""
    device = views[0].device
    started = time.perf_counter()
    with autocast(device, precision):
        embeddings, scores = model(views)
    embeddings, scores = (x.unflatten(0, (len(views), -1)) for x in (embeddings, scores))
    codes = assign_codes(embeddings.detach(), model.prototypes.weight.detach(), None, 0.05, 3)
    loss = swapped_prediction(scores, codes, range(len(views)), 0.1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    float(loss.detach())  # waits for the device
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    ways = list(itertools.product(("float32", "bf16"), (torch.contiguous_format, torch.channels_last)))
    prepared = []
    for precision, layout in ways:
        torch.manual_seed(0)
        model = SwAV(options.backbone).to(options.device).to(memory_format=layout).train()
        views = [torch.randn(options.batch, 3, options.size, options.size, device=options.device) for _ in range(2)]
        views = [view.contiguous(memory_format=layout) for view in views]
        optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
        step(model, optimizer, views, precision)
        prepared.append((model, optimizer, views, precision))
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(options.rounds):
        for times, way in zip(seconds, prepared, strict=True):
            times.append(step(*way))
    base = statistics.median(seconds[0])
    print(f"{options.backbone}, 2 crops of {options.size}, batch {options.batch}, {options.device}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}")  # fmt: skip
    for (precision, layout), times in zip(ways, seconds, strict=True):
        middle = statistics.median(times)
        name = "channels-last" if layout == torch.channels_last else "plain"
        print(f"{precision:8} {name:14} {options.batch / middle:7.2f} pictures/s   {base / middle:5.2f} x")


if __name__ == "__main__":
    main()
