"""Processes: who writes, and sums over all of them.

The same code serves one process and many: alone, rank is 0 of 1 and a sum changes nothing.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from swav_cli.errors import UserError
from swav_cli.parallel.synchronised_norm import is_synchronised

T = TypeVar("T")


_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Within it this process is the only one: what it tries is its own, and may fail without the others."""
    global _alone
    _alone = True
    try:
        yield
    finally:
        _alone = False


def _is_joined() -> bool:
    return not _alone and dist.is_available() and dist.is_initialized()


def world_size() -> int:
    return dist.get_world_size() if _is_joined() else 1


def rank() -> int:
    return dist.get_rank() if _is_joined() else 0


def is_writer() -> bool:
    """Only the first process writes files and prints."""
    return rank() == 0


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, in place; the values themselves where there is one."""
    if world_size() > 1:
        dist.all_reduce(values, op=dist.ReduceOp.SUM)
    return values


def max_over_processes(values: Tensor) -> Tensor:
    """The elementwise maximum of `values` over all processes, in place."""
    if world_size() > 1:
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
    return values


class Rounds:
    """The rounds of `largest_of_all` of this process: torch's flight recorder does not know them."""

    begun = 0
    is_open = False


def largest_of_all(*numbers: int) -> list[int]:
    """The largest of what all processes say, such as a signal that reached one of them and not yet the others.

    Each tells the process after it, then the second, the fourth and so on, what is the largest that it has heard of (a
    dissemination barrier). That is one message after another for each doubling of processes, in memory; gloo's own
    reduction takes two for each process.
    """
    world = world_size()
    if world == 1:
        return list(numbers)
    Rounds.begun, Rounds.is_open = Rounds.begun + 1, True
    known, distance = torch.tensor(numbers), 1
    while distance < world:
        heard = torch.empty_like(known)
        told = dist.isend(known, (rank() + distance) % world)
        dist.recv(heard, (rank() - distance) % world)
        if told is not None:
            told.wait()
        known, distance = torch.maximum(known, heard), 2 * distance
    Rounds.is_open = False
    return known.tolist()


def of_all(values: Tensor) -> list[Tensor]:
    """The values of every process, in the order of their ranks; they have one shape."""
    if world_size() == 1:
        return [values]
    found = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(found, values.contiguous())
    return found


def objects_of_all(value: T) -> list[T]:
    """The same for plain Python values."""
    if world_size() == 1:
        return [value]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, value)
    return found


def from_process(owner: int, tensors: list[Tensor]) -> list[Tensor]:
    """One process's tensors, of some megabytes, in all of them; what the others give is not looked at."""
    if world_size() == 1:
        return tensors
    # Copies, since a tensor is sent with all of the memory that it is a part of.
    box: list[Any] = [[each.cpu().clone() for each in tensors] if rank() == owner else None]
    dist.broadcast_object_list(box, src=owner, device=torch.device("cpu"))
    return box[0]  # type: ignore[no-any-return]


def rows_in_first(own: Tensor) -> Tensor:
    """The rows of all processes, one process's after another's, in the first one; in each other its own."""
    if world_size() == 1:
        return own
    counts = objects_of_all(len(own))
    if rank() > 0:
        if own.numel():
            dist.send(own.contiguous(), dst=0)
        return own
    rows = own.new_empty(sum(counts), *own.shape[1:])
    parts = rows.split(counts)
    parts[0].copy_(own)
    for other, part in enumerate(parts[1:], 1):
        if part.numel():
            dist.recv(part, src=other)  # at its place, so that nothing is held twice
    return rows


def mean_over_processes(values: Tensor) -> Tensor:
    return sum_over_processes(values) / world_size()


def local_share(count: int) -> slice:
    """Which of `count` consecutive items of a batch this process works on (count divides evenly)."""
    share = count // world_size()
    return slice(rank() * share, (rank() + 1) * share)


def check_shares(batch: int, parts: int, world: int) -> None:
    """
    Raises:
        UserError: so many processes do not divide each of a batch's parts evenly, with a batch that they do.
    """
    part = batch // parts
    if part % world:
        raise UserError(
            f"training.batch_size ({batch}) does not divide evenly over {world} processes"
            + (f" and training.accumulate ({parts})" if parts > 1 else "")
            + f"; try --batch-size {max(1, part // world) * world * parts}"
        )


@torch.no_grad()
def average_gradients(params: Iterable[Tensor]) -> None:
    """Gradients averaged over all processes, in one reduction."""
    if world_size() > 1:
        _average([p.grad for p in params if p.grad is not None])


@torch.no_grad()
def average_running_statistics(model: nn.Module) -> None:
    """The mean over all processes of what batch normalisation keeps of the pictures that each has seen.

    Done after each step, so that every process holds at any time what is saved. Norms that are synchronised over all
    processes hold it already.
    """
    if world_size() == 1:
        return
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and not is_synchronised(m)]
    kept = [buffer for m in norms for buffer in (m.running_mean, m.running_var) if buffer is not None]
    _average(kept)


def _average(tensors: list[Tensor]) -> None:
    """Each tensor's mean over all processes in its place, by one reduction."""
    if not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    sum_over_processes(flat).div_(world_size())
    averaged = [part.view(t.shape) for part, t in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True)]
    torch._foreach_copy_(tensors, averaged)  # as torch's optimizers do: on a GPU one launch in place of one a tensor


def shared_gradients(network: Any, device: torch.device) -> Any:
    """The network, whose gradients are averaged over all processes while the backward pass goes on.

    Every parameter has to take part in every backward pass, so that none is looked for in vain: prototypes that are
    frozen get their gradients too, which are then dropped.
    """
    if world_size() == 1:
        return network
    # It tells of 1 x 1 convolutions with channels last, whose strides have two ways of writing for one order in memory:
    # the slowness that it fears does not come, and every process would show it.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
    # Running statistics are averaged instead. torch 2.14 has another name for it and warns of the one before.
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    buffers: dict[str, Any] = {name: False}
    return DistributedDataParallel(
        network,
        device_ids=[device.index or 0] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,  # no second copy of the gradients
        **buffers,
    )


def gradients_kept_back(network: Callable[..., Any]) -> AbstractContextManager[Any]:
    """Within it a backward pass adds up gradients on its own process: for all parts of a batch but the last."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()
