"""What a step of training is made of: its parts, each timed by itself, and what it asks of torch and of the device."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from swav_cli.core.deepcluster import DeepCluster
from swav_cli.core.objective import chosen, swapped_prediction
from swav_cli.core.swav import Trainer, gradient_norms
from swav_cli.data.reading.loader import Batch
from swav_cli.planning.timing import median_seconds, wait

ROUNDS = 20  # of each part, at most
PARTS = {
    "views": "crops to views",
    "network": "forward, loss, backward",
    "codes": "of it codes and health",
    "norms": "norms of the gradient",
    "update": "update",
}
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernelEx", "cudaMemsetAsync")
COPIES = "cudaMemcpyAsync"
SYNCHRONIZES = "synchronizing CUDA operation"  # what torch's warning says of an operation that waits


def seconds_of_parts(trainer: Trainer, batch: Batch, seconds: float) -> dict[str, float]:
    """Seconds of each of `PARTS` for a batch that goes through the network at once.

    The device is waited for before and after each, so that their sum is more than the whole.

    Args:
        seconds: for all of them, roughly.
    """
    device, recipe = trainer.device, trainer.recipe
    assigned = recipe.assigned_crops
    views = trainer.views(batch)

    def forward_and_backward() -> None:
        trainer.optimizer.zero_grad()
        embeddings, scores = trainer.forward(views)
        if isinstance(trainer, DeepCluster):
            trainer.loss(embeddings, trainer.targets_of(batch)).backward()
            return
        codes = trainer.codes(chosen(embeddings.detach(), assigned), chosen(scores.detach(), assigned))
        swapped_prediction(scores, codes, assigned, recipe.loss.temperature).backward()

    forward_and_backward()
    with torch.no_grad():
        embeddings, scores = (chosen(each, assigned) for each in trainer.forward(views))
    work: dict[str, Callable[[], object]] = {
        "views": lambda: trainer.views(batch),
        "network": forward_and_backward,
        "codes": lambda: trainer.codes(embeddings, scores),
        "norms": lambda: gradient_norms(trainer.model),
        "update": trainer.optimizer.step,
    }
    if isinstance(trainer, DeepCluster):  # whose targets are known beforehand
        del work["codes"]
    return {name: median_seconds(part, device, ROUNDS, seconds / len(work)) for name, part in work.items()}


class Counts(NamedTuple):
    """What one step asks for."""

    operators: int  # of torch that were called, views of tensors too
    kernels: int  # launched on a CUDA device; 0 elsewhere, as are the others below
    copies: int
    waits: int  # for the device
    busy_seconds: float  # in which the device computed or copied
    flops: int  # floating-point operations of products and convolutions
    bytes: int  # that operators read and wrote


def counts_of_step(trainer: Trainer, parts: list[Batch]) -> Counts:
    """Counted in a step whose operators are looked at, and on CUDA in two more."""
    traffic = _Traffic()
    with FlopCounterMode(display=False) as flops, traffic:
        trainer.train_step(parts)
    found = Counts(traffic.operators, 0, 0, 0, 0.0, flops.get_total_flops(), traffic.bytes)
    if trainer.device.type != "cuda":
        return found
    profiled = profiled_step(trainer, parts)
    called = {event.key: event.count for event in profiled}
    on_device = [event for event in profiled if event.device_type == DeviceType.CUDA]
    return found._replace(
        kernels=sum(called.get(name, 0) for name in LAUNCHES),
        copies=called.get(COPIES, 0),
        waits=waits_of(lambda: trainer.train_step(parts)),
        busy_seconds=sum(event.self_device_time_total for event in on_device) / 1e6,
    )


def profiled_step(trainer: Trainer, parts: list[Batch]) -> Any:
    """A step as torch's profiler saw it, by what was called: `key_averages()`."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it tells a screen that it begins
    cuda = [ProfilerActivity.CUDA] if trainer.device.type == "cuda" else []
    with profile(activities=[ProfilerActivity.CPU, *cuda]) as profiled:
        trainer.train_step(parts)
        wait(trainer.device)
    return profiled.key_averages()


def waits_of(work: Callable[[], object]) -> int:
    """How often some work waits for the CUDA device, as torch itself tells."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return sum(SYNCHRONIZES in str(each.message) for each in told)


class _Traffic(TorchDispatchMode):
    """Within it operators are counted, and the bytes that they read and write, each tensor once an operator.

    What only looks at a tensor in another way moves nothing. A kernel that does the work of several operators moves
    less than is counted, and what a processor's caches hold need not come from memory.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operators += 1
        if not _only_looks(func):
            self.bytes += sum(_bytes(each) for each in (args, list((kwargs or {}).values()), result))
        return result


def _only_looks(func: Any) -> bool:
    """Gives another view of what is there, or room in which nothing is written yet."""
    name = func.overloadpacket.__name__
    return func.is_view or name.startswith(("empty", "new_empty")) or name in ("detach", "_unsafe_view")


def _bytes(values: Any) -> int:
    if isinstance(values, Tensor):
        return values.nbytes
    return sum(map(_bytes, values)) if isinstance(values, (list, tuple)) else 0
