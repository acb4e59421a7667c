"""Which part sets the pace of a run, in a line, and what to change: from numbers alone."""

from __future__ import annotations

from typing import NamedTuple

from swav_cli.planning.pace import MOST_READING
from swav_cli.report.bench import Conclusion, number

WAITING = 0.05  # share of a GPU's time, from which on it is kept waiting
MUCH = 0.15  # share of a step, from which on a part beside the network counts
IDLE = 0.25  # share of a step in which a GPU has nothing to do, from which on launching holds it up
GAIN = 1.05  # times as fast, from which on compiling is worth it


class Numbers(NamedTuple):
    """What it is concluded from; None where it was not measured."""

    device: str  # its type: cpu, cuda or mps
    cores: int
    workers: int  # processes that read
    in_memory: bool  # pictures are kept there, decoded
    a_core: float | None  # pictures a second that one reads
    loader: float | None  # that all processes read; None too where there are none
    step: float | None  # that are trained, as a run would
    compiled: float | None  # the same compiled, where a run would not
    end_to_end: float | None
    waiting: float | None  # share of the time of steps, for pictures
    shares: dict[str, float]  # of a step's parts in it
    busy: float | None  # share of a step in which a GPU computes
    product: float | None  # share of a matrix product's operations
    copy: float | None  # share of a copy's bytes
    precision: str
    best_precision: str  # what `auto` means here


def conclude(found: Numbers) -> Conclusion:
    """
    >>> few = Numbers("cuda", 16, 4, False, 146.0, 584.0, 1141.0, None, 580.0, 0.49, {}, 0.95, 0.2, 0.5, "bf16", "bf16")
    >>> conclude(few).told
    'reading bounds: 4 processes read 584.0 pictures/s, and 1,141 can be trained'
    >>> conclude(few).change
    ['--workers 8: so many keep up']
    """
    if found.step is None:
        return Conclusion("unknown", "what bounds is not told without steps of training", [])
    if is_bound_by_reading(found):
        return _reading(found)
    if found.device == "cuda" and found.busy is not None and found.busy < 1 - IDLE:
        told = f"launching bounds: the GPU has nothing to do in {1 - found.busy:.0%} of a step"
        return Conclusion(
            "launches", told, [*_compiling(found), "a larger --batch-size: as many launches, more work in each"]
        )
    for part, words, change in (
        (
            "views",
            "changing the colours of crops bounds",
            "smaller crops, or less of augment.*; both change what is learnt",
        ),
        ("update", "the update of the weights bounds", "a larger --batch-size: fewer updates"),
    ):
        share = found.shares.get(part, 0.0)
        if share > MUCH and share > found.shares.get("network", 0.0):
            return Conclusion(part, f"{words}: {share:.0%} of a step", [change])
    return _network(found)


def is_bound_by_reading(found: Numbers) -> bool:
    """A GPU waits for pictures; a processor that also trains spends most of its time on reading them."""
    if found.device != "cpu":
        slower = found.loader is not None and found.step is not None and found.loader < (1 - WAITING) * found.step
        return slower or (found.waiting or 0.0) > WAITING
    if found.a_core is None or found.step is None:
        return False
    hands = found.cores if found.workers else 1
    reading, training = 1 / (found.a_core * hands), 1 / found.step
    return reading / (reading + training) > MOST_READING


def _reading(found: Numbers) -> Conclusion:
    assert found.step is not None
    if found.loader is not None:
        who = f"{found.workers} process{'es' if found.workers > 1 else ''} read"
        told = f"reading bounds: {who} {number(found.loader)} pictures/s, and {number(found.step)} can be trained"
    else:
        told = f"reading bounds: it takes {found.waiting or 0:.0%} of the time"
    enough = int(found.step / found.a_core) + 1 if found.a_core else 0
    change = []
    if found.device != "cpu" and found.workers < enough < found.cores:
        change = [f"--workers {enough}: so many keep up"]
    elif not found.in_memory:
        change = [
            "--set data.cache=true, where the decoded pictures find room in memory",
            "pictures made smaller once, to about twice the pixels of the largest crop",
            "more cores" + (f": {enough} keep up" if enough and found.device != "cpu" else ""),
        ]
    else:
        change = ["more cores" + (f": {enough} keep up" if enough and found.device != "cpu" else ""), "fewer crops"]
    return Conclusion("reading", told, change)


def _network(found: Numbers) -> Conclusion:
    product, copy = found.product or 0.0, found.copy or 0.0
    bound = "memory" if copy > product else "arithmetic"
    share = found.shares.get("network")
    told = "the network bounds" + (f": forward and backward are {min(1.0, share):.0%} of a step" if share else "")
    if product or copy:
        told += f", at {product:.0%} of a matrix product's operations and {copy:.0%} of a copy's bytes"
    change = _compiling(found)
    if found.precision == "float32" and found.best_precision == "bf16":
        change.append("--precision bf16, which this device is good at; small networks may gain nothing by it")
    if found.device == "cpu":
        change.append("a GPU; or a narrower network or smaller crops, which change what is learnt")
    elif not change:
        change.append("more GPUs: --devices N")
    return Conclusion(bound, told, change)


def _compiling(found: Numbers) -> list[str]:
    if found.compiled is None or found.step is None or found.compiled < GAIN * found.step:
        return []
    return [f"--set training.compile=true: {found.compiled / found.step:.2f} times as fast"]
