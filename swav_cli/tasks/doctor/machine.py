"""The machine: devices, precision, processors, memory, what processes share, disks."""

from __future__ import annotations

import os
import platform
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from swav_cli.core.environment import in_words
from swav_cli.core.precision import pick_precision
from swav_cli.data.paths import cache_folder
from swav_cli.data.reading.cache import free_memory
from swav_cli.data.reading.limits import limits, own_processors, processors_allowed, processors_of_container
from swav_cli.errors import UserError, counted, first_line
from swav_cli.report.checkup import Check, State
from swav_cli.report.words import size

LITTLE_MEMORY, HARDLY_ANY_MEMORY = 2e9, 0.5e9  # bytes: a small network's run; not even that
LITTLE_SHARED = 0.5e9  # bytes in /dev/shm: docker gives 64 MB, and a few workers' batches take more
FEW_FILES = 1024  # open at once, after the limit was raised as far as is allowed
LITTLE_DISK, HARDLY_ANY_DISK = 5e9, 0.5e9  # bytes
GPU_TAKEN = 0.5  # share of a GPU's memory that others have taken
NVIDIA, DISPLAY = "0x10de", "0x03"  # vendor and class of PCI devices
GET_STARTED = "https://pytorch.org/get-started/locally"


def check_machine(device: torch.device, run_folder: Path) -> list[Check]:
    """All of them, in an order in which a person would ask.

    Args:
        run_folder: where runs go.
    """
    return [
        *check_devices(),
        check_precision(device),
        check_processors(),
        check_load(),
        check_memory(),
        check_shared_memory(limits().shared_bytes),
        check_open_files(limits().files),
        check_disk("disk of runs", run_folder),
        *check_cache_disk(),
    ]


# --- devices ---------------------------------------------------------------------------------------------------------


def check_devices() -> list[Check]:
    """Every GPU that torch can use; else the processor, and why no GPU is."""
    if torch.cuda.is_available():
        return [check_gpu(number) for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        return [Check("GPU", "ok", f"Apple's, {platform.machine()}", values={"device": "mps"})]
    trouble = why_no_gpu(Build.here(), has_nvidia_gpu(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    unused = f"; torch's build for CUDA {torch.version.cuda} finds nothing to use, and does no harm"
    told = f"no GPU; {in_words(torch.device('cpu'))}{unused if torch.version.cuda else ''}"
    return [trouble or Check("device", "ok", told, values={"device": "cpu"})]


class Build(NamedTuple):
    """What torch was built for, and what it says where it should see a GPU."""

    cuda: str | None  # version
    refusal: str

    @classmethod
    def here(cls) -> Build:
        cuda, refusal = torch.version.cuda, ""
        if cuda:
            try:
                torch.cuda.init()
            except (RuntimeError, AssertionError) as error:
                refusal = first_line(error)
        return cls(cuda or torch.version.hip, refusal)


def why_no_gpu(build: Build, has_gpu: bool, visible: str | None) -> Check | None:
    """What keeps torch from a GPU that is there; None where there is none.

    Args:
        visible: CUDA_VISIBLE_DEVICES.
    """
    if not has_gpu:
        return None
    if build.cuda is None:
        return Check(
            "GPU", "problem", "this machine has an NVIDIA GPU, and torch is built for processors alone",
            f"install torch's build for CUDA: {GET_STARTED}",
        )  # fmt: skip
    if visible is not None and visible.strip() in ("", "-1"):
        return Check(
            "GPU", "warning", f"this machine has an NVIDIA GPU, and CUDA_VISIBLE_DEVICES='{visible}' hides it",
            "unset CUDA_VISIBLE_DEVICES",
        )  # fmt: skip
    return Check(
        "GPU", "problem", f"this machine has an NVIDIA GPU, and torch (CUDA {build.cuda}) can't use it: "
        f"{build.refusal or 'it sees none'}",
        f"nvidia-smi has to show it; the driver has to be new enough for CUDA {build.cuda}, or torch of an older CUDA "
        f"({GET_STARTED}); in a container: docker run --gpus all",
    )  # fmt: skip


def has_nvidia_gpu(system: Path = Path("/")) -> bool:
    """Whether the hardware is there, whatever drivers are."""
    if (system / "proc/driver/nvidia/version").exists() or (system / "dev/nvidia0").exists():
        return True
    for device in (system / "sys/bus/pci/devices").glob("*"):
        with suppress(OSError):
            if (device / "vendor").read_text().strip() == NVIDIA and (device / "class").read_text().startswith(DISPLAY):
                return True
    return False


def driver_version(told: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    with suppress(OSError):
        found = re.search(r"\s(\d{3,}\.\d+(?:\.\d+)?)\s", told.read_text())
        return found[1] if found else None
    return None


def check_gpu(number: int) -> Check:
    """One GPU: its memory, what others take of it, and whether torch has code for it."""
    about = torch.cuda.get_device_properties(number)
    free, total = torch.cuda.mem_get_info(number)
    capability = (about.major, about.minor)
    driver = driver_version()
    told = (
        f"{about.name}, {size(total)}, {size(free)} of it free, compute capability {about.major}.{about.minor}"
        f"{f', driver {driver}' if driver else ''}"
    )
    values = {
        "device": f"cuda:{number}", "name": about.name, "memory_bytes": total, "free_bytes": free,
        "capability": list(capability), "driver": driver,
    }  # fmt: skip
    name = f"GPU {number}"
    if not has_code_for(capability, torch.cuda.get_arch_list()):
        remedy = f"install a build of torch that has: {GET_STARTED}"
        return Check(name, "problem", f"{told}; this build of torch has no code for it", remedy, values)
    if free < (1 - GPU_TAKEN) * total:
        remedy = f"nvidia-smi shows who has the other {size(total - free)}; end them, or take another GPU by --device"
        return Check(name, "warning", told, remedy, values)
    return Check(name, "ok", told, values=values)


def has_code_for(capability: tuple[int, int], built_for: list[str]) -> bool:
    """Code for a GPU runs on later ones of the same generation; PTX (`compute_`) on any later one.

    >>> has_code_for((8, 6), ["sm_80", "sm_90"]), has_code_for((7, 0), ["sm_75"]), has_code_for((12, 0), ["compute_90"])
    (True, False, True)
    """
    for name in built_for:
        kind, _, digits = name.partition("_")
        found = re.match(r"\d+", digits)
        if found is None:
            continue
        major, minor = divmod(int(found[0]), 10)
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if kind == "compute" and (major, minor) <= capability:
            return True
    return not built_for  # ROCm tells none


def check_precision(device: torch.device) -> Check:
    precision, reason = pick_precision(device)
    values = {"device": str(device), "precision": precision}
    return Check("precision", "ok", f"auto takes {precision} on {device}: {reason}", values=values)


# --- processors and memory -------------------------------------------------------------------------------------------


def check_processors() -> Check:
    """How many this process may use, and what keeps it from the others."""
    there, allowed, quota = os.cpu_count() or 1, processors_allowed(), processors_of_container()
    own = max(1, own_processors())
    why = [f"{there} there"]
    if allowed < there:
        why.append(f"{allowed} by affinity")
    if quota < allowed:
        why.append(f"time of {quota:g} by the container's limit")
    told = f"{counted(own, 'core')} may be used ({', '.join(why)})"
    values = {"cores": own, "there": there, "affinity": allowed, "container": quota if quota < there else None}
    threads = torch.get_num_threads()
    if threads > own:
        return Check(
            "processors", "warning", f"{told}; torch would compute with {threads} threads, which wait for each other",
            f"OMP_NUM_THREADS={own}", values,
        )  # fmt: skip
    return Check("processors", "ok", told, values=values)


def load() -> float:
    """How many programs have wanted a core at once, over the last minute; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return 0.0


def check_load() -> Check:
    """Whether other programs are at work, which take from all that is measured."""
    busy, own = load(), max(1, own_processors())
    told, values = f"other programs want {busy:.1f} of {counted(own, 'core')}", {"load": busy}
    if busy >= own:
        return Check(
            "load", "warning", f"{told}: what is timed here is what they leave", "run it again when they have ended",
            values,
        )  # fmt: skip
    return Check("load", "ok", told, values=values)


def check_memory() -> Check:
    """What can be had; within a container, of its share."""
    free = free_memory()
    told, values = f"{size(free)} can be had", {"free_bytes": free}
    if free < LITTLE_MEMORY:
        state: State = "problem" if free < HARDLY_ANY_MEMORY else "warning"
        return Check("memory", state, told, "end other programs, or give the container or the job more", values)
    return Check("memory", "ok", told, values=values)


def check_shared_memory(free: float) -> Check:
    """/dev/shm, through which reading processes hand on their batches."""
    if free == float("inf"):
        return Check("shared memory", "ok", "no limit is told by this system")
    told, values = f"/dev/shm has {size(free)} free", {"free_bytes": free}
    if free < LITTLE_SHARED:
        return Check(
            "shared memory", "warning", f"{told}; batches that find no room go through pipes, which is slower",
            "docker run --shm-size=8g, or in Kubernetes an emptyDir of medium Memory at /dev/shm", values,
        )  # fmt: skip
    return Check("shared memory", "ok", told, values=values)


def check_open_files(most: float) -> Check:
    told = "any number may be open at once" if most == float("inf") else f"{most:,.0f} may be open at once"
    values = {"files": None if most == float("inf") else most}
    if most < FEW_FILES:
        return Check(
            "open files", "warning", f"{told}; reading processes that need more go through pipes, or end",
            "ulimit -n 65536, or nofile in /etc/security/limits.conf", values,
        )  # fmt: skip
    return Check("open files", "ok", told, values=values)


# --- disks -----------------------------------------------------------------------------------------------------------


def free_disk(folder: Path) -> float:
    """Bytes that may still be written there."""
    return float(shutil.disk_usage(folder).free)


def there_is(folder: Path) -> Path:
    """The folder, else the nearest one above it that is there."""
    whole = Path(os.path.abspath(folder))
    return next(each for each in (whole, *whole.parents) if os.path.isdir(each))


def check_disk(name: str, folder: Path, needed: float = 0.0, is_vital: bool = True) -> Check:
    """Whether a folder can be written, and what room there is.

    Args:
        needed: bytes that will be written.
        is_vital: nothing is learnt where it can't be written; caches are made again.
    """
    there = there_is(folder)
    bad: State = "problem" if is_vital else "warning"
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(
            name, bad, f"{folder}: can't be written below {there}", "another place, or the right to write there"
        )
    free = free_disk(there)
    values = {"folder": str(folder), "free_bytes": free, "needed_bytes": needed}
    takes = f", and a run takes {size(needed)}" if needed else ""
    told = f"{folder}: {size(free)} free{takes}"
    if free < max(needed, HARDLY_ANY_DISK):
        return Check(name, bad, told, "make room, or name a folder on another disk", values)
    if free < max(2 * needed, LITTLE_DISK):
        return Check(name, "warning", told, "make room, or name a folder on another disk", values)
    return Check(name, "ok", told, values=values)


def check_cache_disk() -> list[Check]:
    """The user's cache folder: published weights, listings of large folders, data sets of torchvision."""
    try:
        folder = cache_folder()
    except UserError as error:
        return [Check("disk of caches", "warning", str(error), "export XDG_CACHE_HOME=/a/folder")]
    return [check_disk("disk of caches", folder, is_vital=False)]
