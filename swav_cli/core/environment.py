"""What a run is computed by, in words: versions and machine, and nothing of who uses it.

Torch is imported for a device alone, so that versions can be told where it can't be loaded.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from swav_cli.data.reading.limits import processors_allowed

if TYPE_CHECKING:
    import torch

LIBRARIES = ("torch", "torchvision", "torchcodec", "timm")


def environment(device: torch.device, processes: int = 1) -> dict[str, str]:
    """
    >>> import torch
    >>> environment(torch.device("cpu"))["python"] == platform.python_version()
    True
    """
    found: dict[str, str | None] = {"swav": installed("swav-cli"), "python": platform.python_version()}
    found |= {name: installed(name) for name in LIBRARIES}
    found |= {"system": f"{platform.system()} {platform.release()}, {platform.machine()}", "device": in_words(device)}
    if processes > 1:
        found["processes"] = str(processes)
    return {name: words for name, words in found.items() if words}


def installed(name: str) -> str | None:
    """The version of a package that is there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def in_words(device: torch.device) -> str:
    """A device with the name of what is behind it."""
    import torch

    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return f"{device}: {found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    if device.type == "cpu":
        cores = processors_allowed()
        return f"cpu: {_processor()}, {cores} {'core' if cores == 1 else 'cores'}, {torch.get_num_threads()} in use"
    return f"{device}: {platform.machine()}"


def _processor() -> str:
    """Not by `platform.processor`, which starts another program to ask it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
