"""Processes: who writes, and sums over all of them.

The same code serves one process and many: alone, rank is 0 of 1 and a sum changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from swav_cli.errors import UserError

Model = TypeVar("Model", bound=nn.Module)


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


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


def mean_over_processes(values: Tensor) -> Tensor:
    return sum_over_processes(values) / world_size()


def local_share(count: int) -> slice:
    """Which of `count` consecutive items of a batch this process works on (count divides evenly)."""
    share = count // world_size()
    return slice(rank() * share, (rank() + 1) * share)


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps` as a device that is there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: no such device; use auto, cpu, cuda, cuda:0 or mps") from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise UserError(f"--device {name}: not on this machine; use --device auto or cpu")
    return device


@torch.no_grad()
def average_gradients(params: Iterable[Tensor]) -> None:
    """Gradients averaged over all processes, in one reduction."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in params if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    sum_over_processes(flat).div_(world_size())
    for gradient, averaged in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(averaged.view_as(gradient))


def with_synchronised_norms(model: Model, wanted: bool | int) -> Model:
    """The model with batch normalisation over all processes, or over neighbouring groups of so many."""
    if not wanted or world_size() == 1:
        return model
    group = None
    if wanted is not True:
        if world_size() % int(wanted):
            raise UserError(f"training.sync_batchnorm ({wanted}) does not divide the {world_size()} processes")
        group, _ = dist.new_subgroups(int(wanted))
    return nn.SyncBatchNorm.convert_sync_batchnorm(model, group)  # type: ignore[no-any-return]
