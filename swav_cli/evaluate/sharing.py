"""Processes that torchrun started and that share the work on one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from swav_cli.core import distributed
from swav_cli.errors import Interrupted, UserError

T = TypeVar("T")


@contextmanager
def joined_processes() -> Iterator[None]:
    """Under torchrun, join the other processes for as long as the work lasts."""
    joins = int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ and not dist.is_initialized()
    if joins:
        # One that has finished its share waits for the slowest, however long.
        dist.init_process_group("gloo", timeout=timedelta(days=30))
    try:
        yield
    finally:
        if joins:
            dist.destroy_process_group()


def first_decides(decide: Callable[[], T]) -> T:
    """What the first process finds, or the error that it meets, in all of them."""
    if distributed.world_size() == 1:
        return decide()
    box: list[Any] = [None, None, 0]  # what was found, or an error's message and its signal
    if distributed.rank() == 0:
        try:
            box[0] = decide()
        except UserError as error:
            box[1] = str(error)
        except Interrupted as stop:
            box[1:] = str(stop), stop.exit_code - 128
    dist.broadcast_object_list(box, src=0)
    found, message, signal_number = box
    if message is not None:
        raise Interrupted(message, signal_number) if signal_number else UserError(message)
    return found  # type: ignore[no-any-return]


def own_gpu(device: str) -> str:
    """Under torchrun each process of a machine takes a GPU of its own."""
    local = os.environ.get("LOCAL_RANK")
    if local is None or device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{int(local) % torch.cuda.device_count()}"
