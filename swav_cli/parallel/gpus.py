"""Of several processes on a machine, each takes a GPU of its own: which one, and whether it is its own indeed."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

import torch

from swav_cli.errors import UserError
from swav_cli.parallel import distributed


class Gpu(NamedTuple):
    """A GPU that a process has taken."""

    host: str
    identity: str  # no other GPU has it, on this machine or another


def own_gpu(device: str, variables: Mapping[str, str] = os.environ) -> str:
    """`auto` and `cuda` as the GPU of this process among those of its machine; other devices as they are named."""
    local = variables.get("LOCAL_RANK")
    if local is None or device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{gpu_of(int(local), torch.cuda.device_count())}"


def gpu_of(local_rank: int, visible: int) -> int:
    """The number of a process's GPU among those that it sees.

    torchrun shows every process all of a machine's GPUs, srun --gpus-per-task=1 shows each its own alone. No process
    can tell the one from the other, nor whether another has taken the same: `refuse_shared_gpus` asks all of them.

    >>> [gpu_of(rank, 4) for rank in range(4)], [gpu_of(rank, 1) for rank in range(4)]
    ([0, 1, 2, 3], [0, 0, 0, 0])
    """
    return local_rank % visible


def taken_gpu(device: torch.device) -> Gpu | None:
    """The GPU of a device, by what no other GPU is called; None where the device is none."""
    if device.type != "cuda":
        return None
    host, number = socket.gethostname(), device.index or 0
    uuid = getattr(torch.cuda.get_device_properties(number), "uuid", None)
    return Gpu(host, identity(os.environ.get("CUDA_VISIBLE_DEVICES", ""), number, f"GPU-{uuid}" if uuid else host))


def identity(visible: str, number: int, otherwise: str) -> str:
    """What no other GPU is called. Slices of one GPU (MIG) have its UUID in common, and names of their own.

    >>> identity("MIG-5c,MIG-6d", 1, "GPU-1a"), identity("2,3", 1, "GPU-1a")
    ('MIG-6d', 'GPU-1a')
    """
    names = [name.strip() for name in visible.split(",")]
    sliced = number < len(names) and names[number].startswith("MIG-")
    return names[number] if sliced else otherwise if otherwise.startswith("GPU-") else f"{otherwise}, GPU {number}"


def refuse_shared_gpus(own: Gpu | None) -> None:
    """
    Raises:
        UserError: in all processes, where two of them have taken one GPU.
    """
    shared = shared_gpu(distributed.objects_of_all(own))
    if shared:
        raise UserError(shared)


def shared_gpu(taken: list[Gpu | None]) -> str | None:
    """Which processes have taken one GPU, and what to do; None where each has its own."""
    ranks: dict[str, list[int]] = {}
    for rank, gpu in enumerate(taken):
        if gpu is not None:
            ranks.setdefault(gpu.identity, []).append(rank)
    for name, together in ranks.items():
        if len(together) > 1:
            host = next(gpu.host for gpu in taken if gpu is not None and gpu.identity == name)
            numbers = f"{', '.join(map(str, together[:-1]))} and {together[-1]}"
            return (
                f"processes {numbers} on {host} have taken the same GPU ({name}), and each needs one of its own: start "
                "no more processes than there are GPUs, with LOCAL_RANK or the visible GPU different in each, or use "
                "--device cpu"
            )
    return None
