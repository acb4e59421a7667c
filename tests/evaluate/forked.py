"""Several processes of one work, for tests; this module is also the program that each of them runs.

They are forked by the server of `tests.processes`, which has no threads beside the one that forks. What they are to do
is a function that stands in a module by its name, and values.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.processes import start_together


def by_processes(world: int, folder: Path, work: Callable[..., Any], *given: Any) -> list[Any]:
    """What `work(rank, *given)` finds in each process, in the order of their ranks."""
    torch.save((work, given), folder / "work.pt")
    for process in start_together(world, str(folder), cwd=folder, module="tests.evaluate.forked"):
        _, failed = process.communicate(timeout=120)
        assert process.returncode == 0, failed[-3000:]
    return [torch.load(folder / f"found-{rank}.pt", weights_only=False) for rank in range(world)]


def take_part(folder: Path) -> None:
    rank, world = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    work, given = torch.load(folder / "work.pt", weights_only=False)
    dist.init_process_group("gloo", store=dist.FileStore(str(folder / "meeting"), world), rank=rank, world_size=world)
    torch.save(work(rank, *given), folder / f"found-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    take_part(Path(sys.argv[1]))
