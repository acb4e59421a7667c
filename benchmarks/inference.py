"""What reading pictures adds to the network's own time when features are extracted; what memory layout and bf16 bring.

python benchmarks/inference.py FOLDER [--backbone resnet50] [--pictures 96] [--rounds 3] [--device cpu]

The ways take turns in every round, since machines are noisy; medians and ratios are printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from swav_cli.core.model import SwAV
from swav_cli.core.precision import autocast
from swav_cli.core.weights import About
from swav_cli.data.pictures import Limited, Pictures
from swav_cli.data.sources import open_pictures
from swav_cli.evaluate.features import stream_features
from swav_cli.evaluate.inference import Inference


def bare(model: SwAV, count: int, layout: torch.memory_format, precision: str) -> None:
    """The network alone, on pictures that are there already."""
    device = next(model.parameters()).device
    batch = min(count, Inference(device).batch(224))
    x = torch.randn(batch, 3, 224, 224, device=device).contiguous(memory_format=layout)
    with torch.no_grad(), autocast(device, precision):
        for _ in range(0, count, batch):
            model.features(x).float().cpu()


def extract(model: SwAV, pictures: Pictures) -> None:
    """Files to features, as `swav extract` does it."""
    how = Inference(next(model.parameters()).device)
    for _ in stream_features(model.features, pictures, About("", size=224), how):
        pass


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    pictures = Limited(open_pictures(options.folder), options.pictures, 0)
    plain = SwAV(options.backbone).to(options.device).eval()
    last = SwAV(options.backbone).to(options.device).to(memory_format=torch.channels_last).eval()
    count = len(pictures)
    ways: dict[str, Callable[[], None]] = {
        "network alone, float32, plain": lambda: bare(plain, count, torch.contiguous_format, "float32"),
        "network alone, float32, channels-last": lambda: bare(last, count, torch.channels_last, "float32"),
        "network alone, bf16, channels-last": lambda: bare(last, count, torch.channels_last, "bf16"),
        "files to features, float32, channels-last": lambda: extract(last, pictures),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(options.rounds + 1):
        for name, work in ways.items():
            taken = seconds(work)
            if round_number:  # the first is to warm up
                times[name].append(taken)
    base = statistics.median(times["network alone, float32, plain"])
    print(f"{options.backbone}, {count} pictures, {options.device}, {torch.get_num_threads()} threads")
    for name, taken_each in times.items():
        middle = statistics.median(taken_each)
        print(f"{name:44} {count / middle:7.1f} pictures/s   {base / middle:5.2f} x")


if __name__ == "__main__":
    main()
