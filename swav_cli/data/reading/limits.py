"""What the system lets processes share: processors, memory in which workers leave their batches, number of open files.

Where a launcher has started several processes on a machine, each has its part.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import NamedTuple

MOST_AHEAD = 4  # batches that each worker makes in advance
READ_AHEAD = 4e9  # bytes of batches that lie ready in a process
SHARE_READ_AHEAD = 0.1  # and no more of the memory that is free
ENOUGH_FILES = 65_536  # asked for where more are allowed
FILES_BESIDE = 64  # open in a process that trains, whatever its workers do
FILES_A_WORKER = 8  # pipes and the like


def local_processes() -> int:
    """How many processes of this work are on this machine, as far as a launcher has told."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def own_processors() -> int:
    """This process's part of the machine's processors that it may use; 0 where there are more processes."""
    return int(min(processors_allowed(), max(1, processors_of_container()))) // local_processes()


def processors_allowed() -> int:
    """Processors on which this process may run, whatever share of their time it gets."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processors_of_container(group: Path = Path("/sys/fs/cgroup")) -> float:
    """How many processors' time a container may take, such as 1.5; infinity where nothing is set."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((group / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return math.inf
    try:
        share = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return math.inf
    return share if share > 0 else math.inf  # -1: no limit


class Limits(NamedTuple):
    """What a process may use."""

    shared_bytes: float  # of memory for what processes share
    files: float  # open at once


class Traffic(NamedTuple):
    """What lies ready at once where workers read ahead."""

    workers: int
    batches: int
    bytes_a_batch: int
    tensors_a_batch: int  # a file each, as long as it is in use


def limits(shared: str = "/dev/shm") -> Limits:
    """This process's limits, once the number of open files has been raised as far as is allowed."""
    free = math.inf  # no Linux: nothing to be told
    with contextlib.suppress(OSError, AttributeError):
        status = os.statvfs(shared)
        free = status.f_bavail * status.f_frsize / local_processes()
    return Limits(free, _raise_open_files())


def _raise_open_files() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return math.inf
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return math.inf if soft == resource.RLIM_INFINITY else soft
    with contextlib.suppress(OSError, ValueError):  # less is allowed than is said
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def batches_ahead(workers: int, bytes_a_batch: int, allowed: float) -> int:
    """How many batches each worker makes in advance: by bytes, for large ones in many workers are gigabytes.

    Args:
        allowed: bytes that may lie ready, which as much again may be on the way to a GPU (pinned).

    >>> [batches_ahead(16, 120_000_000, allowed) for allowed in (8e9, 4e9, 1e9)]
    [4, 2, 1]
    """
    return int(min(MOST_AHEAD, max(1, allowed // max(1, workers * bytes_a_batch))))


def why_not_shared(traffic: Traffic, allowed: Limits) -> str | None:
    """Why the batches can't lie in shared memory, with what would make room; None where they can.

    >>> why_not_shared(Traffic(workers=2, batches=10, bytes_a_batch=20_000_000, tensors_a_batch=4), Limits(67e6, 1024))
    '/dev/shm has 67 MB free of the 200 MB needed (docker run --shm-size=1g gives more)'
    """
    needed = traffic.batches * traffic.bytes_a_batch
    if needed > allowed.shared_bytes:
        more = math.ceil(2 * needed / 1e9)
        return (
            f"/dev/shm has {allowed.shared_bytes / 1e6:.0f} MB free of the {needed / 1e6:,.0f} MB needed (docker run "
            f"--shm-size={more}g gives more)"
        )
    files = FILES_BESIDE + FILES_A_WORKER * traffic.workers + traffic.batches * traffic.tensors_a_batch
    if files > allowed.files:
        return (
            f"{allowed.files:.0f} files may be open at once of the {files} needed (ulimit -n {2 * files} allows more)"
        )
    return None
