"""Several processes of one command on this machine: what `--devices N` does, by torchrun's own launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from dataclasses import fields
from typing import Any

import torch

from swav_cli.data.reading.limits import processors_allowed
from swav_cli.errors import UserError

SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGUSR1"  # handed on to every process, which saves and ends
SIGNAL_NAMES = {int(each): each.name for each in signal.Signals}
SECONDS_TO_SAVE = 120  # after a signal; processes that take longer are killed. By torch 2.11 they have 30


def is_to_launch(wanted: int | None) -> bool:
    """Whether `--devices` asks for processes: not for one alone, nor in one of several that were started already."""
    return wanted is not None and wanted > 1 and "RANK" not in os.environ


def launch(wanted: int, device: str, kind: torch.device) -> int:
    """Run the command that was typed in so many processes; its exit code.

    Args:
        device: as it was asked for.
        kind: what that is on this machine.

    Raises:
        UserError: more processes than GPUs.
    """
    _check(wanted, device, kind)
    return _launch(wanted)


def _check(wanted: int, device: str, kind: torch.device) -> None:
    there = torch.cuda.device_count() if device in ("auto", "cuda") else 1
    if kind.type == "cuda" and wanted > there:
        gpus = "1 GPU" if there == 1 else f"{there} GPUs"
        raise UserError(
            f"--devices {wanted}: each process takes a GPU of its own, and this machine shows {gpus}; use "
            f"--devices {there}, or --device cpu for processes that train on processors"
        )
    if kind.type == "mps":
        raise UserError(f"--devices {wanted}: an Apple GPU is one; use --device cpu or leave --devices out")
    if kind.type == "cpu":
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, processors_allowed() // wanted)))


def _launch(wanted: int) -> int:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # The processes say themselves what happened; a launcher's account of it would stand around each line. Its loggers
    # have levels of their own, so that a level set here would count for nothing.
    for name in ("torch.distributed.elastic", "torch.distributed.launcher"):
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())
    known = {field.name for field in fields(LaunchConfig)}
    patience: dict[str, Any] = {"shutdown_timeout": SECONDS_TO_SAVE} if "shutdown_timeout" in known else {}
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=wanted, run_id=uuid.uuid4().hex, rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a free port
        max_restarts=0, monitor_interval=0.1, signals_to_handle=SIGNALS, **patience,
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)("-m", "swav_cli", *sys.argv[1:])
    except ChildFailedError as failed:
        return _exit_code([failure.exitcode for _, failure in sorted(failed.failures.items())])
    except SignalException as stop:
        return 128 + int(stop.sigval)
    return 0


def _exit_code(codes: list[int]) -> int:
    """Of the process that failed for itself; the others end with it, with 1 or as they were told to end."""
    killed = [-code for code in codes if code < 0 and -code != signal.SIGTERM]
    if killed:
        by = SIGNAL_NAMES.get(killed[0], f"signal {killed[0]}")
        why = " (which is how NCCL ends one that waits for another in vain)" if by == "SIGABRT" else ""
        print(f"swav: a process was ended by {by}{why}. Go on with the same command", file=sys.stderr)
        return 128 + killed[0]
    own = [code for code in codes if code > 1 and code != 128 + signal.SIGTERM]
    return own[0] if own else 1
