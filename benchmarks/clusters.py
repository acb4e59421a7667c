"""What `swav clusters` does after the features, on made-up ones: neighbours, groups, copies and odd pictures.

    python benchmarks/clusters.py [PICTURES] [--dimensions 128] [--prototypes 3000] [--exact]

Pictures are of 1,000 kinds of different sizes; one in a hundred is a copy of another. Prints seconds of a clock and of
processors, the largest memory of the process, and of 2,000 pictures how many of the twenty nearest were found, which is
less than all where faiss looks through a part of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from swav_cli.core.device import peak_memory
from swav_cli.evaluate.clustering import near
from swav_cli.evaluate.clustering.centres import assigned
from swav_cli.evaluate.clustering.copies import Looks, find_copies, preference
from swav_cli.evaluate.clustering.groups import merged
from swav_cli.evaluate.clustering.near import nearest
from swav_cli.evaluate.clustering.odd import are_odd, oddness

KINDS, NEIGHBOURS, CHECKED = 1000, 20, 2000
PART = 50_000


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def made_up(count: int, width: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], Looks]:
    """Points of kinds that are used unevenly, and what pictures look like; the last hundredth are copies."""
    kinds = unit(rng.standard_normal((KINDS, width), dtype=np.float32))
    shares = rng.pareto(1.5, KINDS) + 0.1
    points = np.empty((count, width), dtype=np.float32)
    shrunk = np.empty((count, 192), dtype=np.uint8)
    for first in range(0, count, PART):
        own = slice(first, min(first + PART, count))
        size = own.stop - first
        noise = rng.standard_normal((size, width), dtype=np.float32) * (0.8 / width**0.5)
        points[own] = unit(kinds[rng.choice(KINDS, size, p=shares / shares.sum())] + noise)
        shrunk[own] = rng.integers(0, 255, (size, 192), dtype=np.uint8)
    copies = count // 100
    points[count - copies :] = unit(points[:copies] + rng.standard_normal((copies, width), dtype=np.float32) * 1e-3)
    shrunk[count - copies :] = shrunk[:copies]
    return points, Looks(points, rng.integers(0, 255, (count, 16), dtype=np.uint8), shrunk)


@contextmanager
def timed(what: str, totals: list[float]) -> Iterator[None]:
    clock, processor = time.perf_counter(), time.process_time()
    yield
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    totals[0] += clock
    totals[1] += processor
    print(f"{what:34} {clock:8.1f} s of a clock, {processor:8.1f} s of processors, {memory():5.2f} GB", flush=True)


def memory() -> float:
    """GB that this process has held at most."""
    return (peak_memory(torch.device("cpu")) or 0) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures", type=int, nargs="?", default=100_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--prototypes", type=int, default=3000)
    parser.add_argument("--exact", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    count = options.pictures
    if options.exact:
        near.EXACT = count
    points, looks = made_up(count, options.dimensions, rng)
    paths = [f"photos/{number % 997:03d}/{number:07d}.jpg" for number in range(count)]
    centres = unit(rng.standard_normal((options.prototypes, options.dimensions), dtype=np.float32))
    print(f"{count:,} pictures, {torch.get_num_threads()} threads; before: {memory():.2f} GB")
    totals = [0.0, 0.0]
    with timed("nearest prototypes", totals):
        cluster = assigned(points, centres)[:, 0].astype(np.int64)
    with timed("groups, as many as suit best", totals):
        group = merged(points, cluster, centres, None)
    with timed(f"{NEIGHBOURS} neighbours", totals):
        found = nearest(points, NEIGHBOURS)
    with timed("copies", totals):
        order = preference(np.full((count, 2), 224, dtype=np.int32), paths)
        copies = find_copies(looks, order, found)
    with timed("odd pictures", totals):
        odd = are_odd(oddness(found))
    print(f"{'in all':34} {totals[0]:8.1f} s of a clock, {totals[1]:8.1f} s of processors")
    print(f"{group.max() + 1} groups, {(copies.copy_of >= 0).sum():,} copies of {count // 100:,}, {odd.sum():,} odd")
    some = np.linspace(0, count - 1, CHECKED, dtype=int)
    near.EXACT = count
    exact = nearest(points, NEIGHBOURS + 1, points[some])
    shared = [len(set(a) & set(b)) for a, b in zip(exact.ids.tolist(), found.ids[some].tolist(), strict=True)]
    print(f"of the {NEIGHBOURS} nearest {100 * np.mean(shared) / NEIGHBOURS:.1f} % were found")


if __name__ == "__main__":
    main()
