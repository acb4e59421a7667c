"""Several processes of one work, forked from the test: what they meet is gloo's, and starting them takes no import."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def by_processes(world: int, folder: Path, work: Callable[[int], Any]) -> list[Any]:
    """What each process finds, in the order of their ranks."""
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking beside other threads, which here hold no lock
        processes = [context.Process(target=_take_part, args=(rank, world, folder, work)) for rank in range(world)]
        for process in processes:
            process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    return [torch.load(folder / f"found-{rank}.pt", weights_only=False) for rank in range(world)]


def _take_part(rank: int, world: int, folder: Path, work: Callable[[int], Any]) -> None:
    store = dist.FileStore(str(folder / "meeting"), world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    torch.save(work(rank), folder / f"found-{rank}.pt")
    dist.destroy_process_group()
