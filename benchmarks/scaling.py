"""How long a step of pretraining takes on many GPUs, and what bounds it: computed, by a model of what it costs.

python benchmarks/scaling.py [--recipe in1k-200e-bs4096] [--gpus 8,64,512] [--share N] [--network GBIT]

Which calls a step has, and what each of them moves, follows from the recipe; a test holds it to those of true steps.
How long they take follows from the constants below, each with where it comes from: one GPU was measured, many were not.
Not in it: readers slower than the GPU, processes that wait for the slowest of them, checkpoints.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn

from swav_cli.core.plan import make_model
from swav_cli.recipe.file import load_recipe
from swav_cli.recipe.schema import Recipe, settled

# --- one GPU: ResNet-50, 2 x 224 + 6 x 96, bf16 -------------------------------------------------------------------
STEP_OF_256 = 224.5e-3  # seconds, measured: in1k-200e on one H100, eager
BACKWARD = 0.52  # of a step: forward and backward took 163 of 207 ms on an H200, and two thirds of that is the backward
OPTIMIZER = 9.4e-3  # seconds whatever the share: LARS, on the same H200
SHORTEST = 60e-3  # seconds, assumed: some 8,000 launches of a step, at 7 us each; however few pictures there are

# --- calls between them -------------------------------------------------------------------------------------------
PER_MACHINE = 8  # GPUs
# NCCL's own estimates, in us, of a call and of each hop (2.28, src/graph/tuning.cc, ncclTunerConstantsDefaults); "LL"
# sends small arrays at once, at half the rate.
BASE = {"tree LL": 6.8, "ring LL": 6.6, "tree": 8.4, "ring": 8.4}
NVLINK = {"tree LL": 0.6, "ring LL": 0.6, "tree": 4.0, "ring": 3.4}
NETWORK = {"tree LL": 5.0, "ring LL": 2.7, "tree": 14.0, "ring": 14.0}
NVLINK_RATE = 370e9  # bytes a second and GPU in large reductions, of 450 on paper (H100); an assumption
OF_NETWORK = 0.9  # of a network's rate on paper that they reach; an assumption
ROUND = 100e-6  # seconds of a message by gloo, over TCP, with what Python does around it; an assumption


class Call(NamedTuple):
    """A kind of call that processes make together, so many times a step."""

    kind: str
    count: int
    numbers: int  # that each process gives, of four bytes
    span: int  # processes that take part
    way: str = "reduce"  # or gather; or rounds, of what lies in memory


def calls_of_a_step(recipe: Recipe, world: int) -> list[Call]:
    """All but gradients. The queue is none of them: each process keeps its share, and alone compares it."""
    model = _network(recipe)
    codes = len(recipe.assigned_crops) * settled(recipe.model.prototypes)
    calls = [Call("codes", 1 + recipe.loss.sinkhorn_iterations, codes, world), Call("rest", 1, 1, world)]
    norms = [m.num_features for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    synchronised = recipe.training.sync_batchnorm
    if synchronised is not True:  # running statistics
        calls.append(Call("rest", 1, 2 * sum(norms), world))
    if synchronised is not False:
        span = world if synchronised is True else synchronised
        passes, mean = _normalisations(model, recipe), sum(norms) // len(norms)
        calls += [Call("norms", passes, 2 * mean + 1, span, "gather"), Call("norms", passes, 2 * mean, span)]
    return [*calls, Call("signals", 1, 3, world, "rounds")]


def _network(recipe: Recipe) -> nn.Module:
    with torch.device("meta"):
        return make_model(recipe)


def _normalisations(model: nn.Module, recipe: Recipe) -> int:
    """In a forward pass: the backbone takes one size of crops after another, the head all of them at once."""
    sizes = len({crop.size for crop in recipe.crops})
    names = [name for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return sum(1 if name.startswith("projection_head") else sizes for name in names)


def buckets(recipe: Recipe) -> list[int]:
    """Numbers of each bucket of gradients, in the order in which DistributedDataParallel sends them."""
    parameters = [p for p in _network(recipe).parameters() if p.requires_grad][::-1]
    limits = [dist._DEFAULT_FIRST_BUCKET_BYTES, 25 * 2**20]
    found, _ = dist._compute_bucket_assignment_by_size(parameters, limits)
    return [sum(parameters[number].numel() for number in bucket) for bucket in found]


class Fabric(NamedTuple):
    """What connects GPUs.

    Args:
        network: bytes a second between machines, of each machine.
    """

    network: float

    def seconds(self, call: Call) -> float:
        """Of one such call, in which nothing else is sent: NCCL takes whichever way it thinks is quickest."""
        if call.span == 1:
            return 0.0
        if call.way == "rounds":
            return math.ceil(math.log2(call.span)) * ROUND
        ways = ["ring LL", "ring"] if call.way == "gather" else list(BASE)
        return min(self._latency(call, way) + self._moving(call, way) for way in ways)

    def _latency(self, call: Call, way: str) -> float:
        machines = math.ceil(call.span / PER_MACHINE)
        if way.startswith("tree"):
            within = min(call.span, PER_MACHINE) - 1
            hops = 2 * (within * NVLINK[way] + math.log2(machines) * NETWORK[way])
        else:
            rounds = 1 if call.way == "gather" else 2
            across = rounds * (machines - 1)
            hops = (rounds * (call.span - 1) - across) * NVLINK[way] + across * NETWORK[way]
        return 1e-6 * (BASE[way] + hops)

    def _moving(self, call: Call, way: str) -> float:
        size = 4 * call.numbers * (call.span - 1)
        passed = size if call.way == "gather" else 2 * size / call.span
        rate = NVLINK_RATE if call.span <= PER_MACHINE else min(NVLINK_RATE, OF_NETWORK * self.network)
        return passed / (rate * (0.5 if way.endswith("LL") else 1))


class Cost(NamedTuple):
    """A step's seconds, by what they are spent on."""

    computing: float
    launching: float  # beyond computing, where pictures are few
    gradients: float  # that are still on their way when the backward pass has ended
    codes: float
    norms: float
    rest: float  # loss, running statistics
    signals: float

    @property
    def step(self) -> float:
        return sum(self)

    @property
    def bound(self) -> str:
        """What takes the most beside computing."""
        return max(zip(self[1:], self._fields[1:], strict=True))[1]


def cost(recipe: Recipe, world: int, share: int, fabric: Fabric) -> Cost:
    """Of a step on so many GPUs, each with its share of the pictures."""
    computing = OPTIMIZER + (STEP_OF_256 - OPTIMIZER) * share / 256
    length = max(computing, SHORTEST)
    spent = dict.fromkeys(("codes", "norms", "rest", "signals"), 0.0)
    for call in calls_of_a_step(recipe, world):
        spent[call.kind] += call.count * fabric.seconds(call)
    times = [fabric.seconds(Call("gradients", 1, numbers, world)) for numbers in buckets(recipe)]
    return Cost(computing, length - computing, late_gradients(times, BACKWARD * length), **spent)


def late_gradients(times: Sequence[float], backward: float) -> float:
    """Seconds beyond a backward pass: buckets are ready at even distances, the last at its end, and follow one another.

    >>> late_gradients([1, 1, 1], 30), late_gradients([10, 10, 10], 3)
    (1.0, 28.0)
    """
    end = 0.0
    for number, seconds in enumerate(times, 1):
        end = max(end, backward * number / len(times)) + seconds
    return end - backward


def lines(recipe: Recipe, worlds: Sequence[int], share: int | None, fabric: Fabric) -> Iterator[str]:
    """A table, a column for each number of GPUs: milliseconds of a step, and what they come to."""
    shares = [share or settled(recipe.training.batch_size) // world for world in worlds]
    costs = [cost(recipe, world, pictures, fabric) for world, pictures in zip(worlds, shares, strict=True)]
    rates = [world * each / found.step for world, each, found in zip(worlds, shares, costs, strict=True)]
    yield _row("GPUs", [f"{world:,}" for world in worlds])
    yield _row("pictures of each", [f"{each:,}" for each in shares])
    for name in Cost._fields:
        yield _row(f"ms of {name}", [f"{1e3 * getattr(found, name):.2f}" for found in costs])
    yield _row("ms of a step", [f"{1e3 * found.step:.1f}" for found in costs])
    yield _row("pictures a second", [f"{rate:,.0f}" for rate in rates])
    alone = 256 / STEP_OF_256
    yield _row(
        "of as many alone, 256 each",
        [f"{rate / (world * alone):.0%}" for rate, world in zip(rates, worlds, strict=True)],
    )
    yield _row("most beside computing", [found.bound for found in costs])


def _row(head: str, cells: Sequence[str]) -> str:
    return f"{head:26}" + "".join(f"{cell:>12}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="in1k-200e-bs4096")
    parser.add_argument("--gpus", default="8,64,512", help="numbers of GPUs, eight a machine")
    parser.add_argument("--share", type=int, help="pictures of each GPU; without it the recipe's batch is divided")
    parser.add_argument("--network", type=float, default=3200, help="Gbit/s of each machine")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.set)
    worlds = [int(number) for number in options.gpus.split(",")]
    print(*lines(recipe, worlds, options.share, Fabric(options.network / 8 * 1e9)), sep="\n")


if __name__ == "__main__":
    main()
