"""Time and memory of k-NN against a bank of ImageNet's size, made up: 1,281,167 x 50,000 rows of 2,048 in float16.

python benchmarks/knn.py [--bank 65536] [--queries 4096] [--dim 2048] [--device cpu]

A part is measured and the time of the whole follows from it: all cosines are computed, so time grows with the product
of both sides. `--bank 1281167 --queries 50000` measures the whole, whose bank takes 5.2 GB.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from swav_cli.core.device import peak_memory
from swav_cli.evaluate.knn import LabelledRows, knn_accuracies

IMAGENET_BANK, IMAGENET_QUERIES, CLASSES = 1_281_167, 50_000, 1000
MIB = 2**20


def made_up(rows: int, dim: int, device: str) -> Tensor:  # (rows, dim) float16, without ever holding them in float32
    features = torch.empty(rows, dim, dtype=torch.float16)
    for part in features.split(16_384):
        part.copy_(torch.randn(part.shape, device=device, dtype=torch.float32))
    return features


def _most_held() -> int:
    """Bytes of the machine's memory that this process has held at most."""
    return peak_memory(torch.device("cpu")) or 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=int, default=65_536)
    parser.add_argument("--queries", type=int, default=4096)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    bank, queries = (made_up(rows, options.dim, options.device) for rows in (options.bank, options.queries))
    bank_labels, query_labels = (torch.randint(CLASSES, (len(rows),)) for rows in (bank, queries))
    few = [LabelledRows(*(side[:64] for side in sides)) for sides in ((bank, bank_labels), (queries, query_labels))]
    knn_accuracies(*few, device=options.device)  # to warm up
    before = _most_held()
    started = time.perf_counter()
    knn_accuracies(LabelledRows(bank, bank_labels), LabelledRows(queries, query_labels), device=options.device)
    taken = time.perf_counter() - started
    print(
        f"measured: {options.bank:,} x {options.queries:,} rows of {options.dim:,} in float16, k up to 200, two "
        f"temperatures, {options.device}, {torch.get_num_threads()} threads"
    )
    print(f"  time                 {taken:10.1f} s   {options.bank * options.queries / taken:,.0f} cosines/s")
    print(f"  bank itself          {bank.nbytes / MIB:10.0f} MiB")
    print(f"  memory beside it     {(_most_held() - before) / MIB:10.0f} MiB")
    if options.device.startswith("cuda"):
        print(f"  memory of the device {(peak_memory(torch.device(options.device)) or 0) / MIB:10.0f} MiB")
    times = IMAGENET_BANK * IMAGENET_QUERIES / (options.bank * options.queries)
    if times > 1:
        print(f"extrapolated to {IMAGENET_BANK:,} x {IMAGENET_QUERIES:,} ({times:,.0f} times the work; not measured):")
        print(f"  time                 {taken * times / 60:10.1f} min")
        print(f"  bank itself          {2 * IMAGENET_BANK * options.dim / MIB:10.0f} MiB")
        print("  memory beside it     the same where the part has 16,384 rows and 2,048 queries or more")


if __name__ == "__main__":
    main()
