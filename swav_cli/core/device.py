"""The device that computes: by its name, and of several processes each its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from swav_cli.errors import UserError
from swav_cli.parallel.gpus import own_gpu
from swav_cli.parallel.place import check_environment
from swav_cli.parallel.processes import LONG, joined_processes
from swav_cli.progress import say


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps` as a device that is there.

    `auto` takes Apple's GPU where it computes what the processor does.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if _apple_is_right() else "cpu"
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


def peak_memory(device: torch.device) -> int | None:
    """Bytes that this process has held at most: of a CUDA device, by torch; else of the machine. None where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return None
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@cache
def _apple_is_right() -> bool:
    """Whether there is an Apple GPU that computes what the processor does; that one does not is said, once."""
    if not torch.backends.mps.is_available():
        return False
    from swav_cli.core.apple import difference_from_cpu

    wrong = difference_from_cpu(torch.device("mps"))
    if wrong is not None:
        say(f"Apple's GPU is left alone: {wrong}. --device mps takes it all the same")
    return wrong is None


def own_device(device: str) -> torch.device:
    """The device of this process, which is from here on the one that CUDA means where none is named.

    Without that, a thread that pins memory would open a second one, on the first GPU. From here on convolutions of
    float32 are computed in float32, as linear layers are; torch would round their factors to 10 bits (TF32).

    Raises:
        UserError: there is no such device.
    """
    found = pick_device(own_gpu(device))
    if found.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    if found.index is not None and found.type == "cuda":  # `cuda` alone is the current one, and torch refuses it here
        torch.cuda.set_device(found)
    return found


@contextmanager
def joined_on(device: str, minutes: float = LONG) -> Iterator[None]:
    """`joined_processes`, each on its own device.

    Args:
        device: auto, cpu, cuda, cuda:1 or mps.

    Raises:
        UserError: there is no such device, or what `joined_processes` raises.
    """
    if check_environment() == 1:
        yield
        return
    with joined_processes(own_device(device), minutes):
        yield
