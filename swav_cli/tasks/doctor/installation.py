"""The installation: Python, what swav needs and what it can use besides, whether pictures are decoded, the environment.

Nothing here needs torch to be there: that it can't be loaded is what is told.
"""

from __future__ import annotations

import io
import os
import platform
import re
from collections.abc import Mapping
from importlib import import_module, metadata
from typing import NamedTuple

from swav_cli.core.environment import installed
from swav_cli.errors import first_line
from swav_cli.report.checkup import Check

PACKAGE = "swav-cli"
SHOWN = ("torch", "torchvision", "torchcodec", "numpy", "pillow")
NOT_FOR_USERS = {"test", "dev"}  # extras
REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*([^;]*)(?:;\s*(.*))?")
EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
SLOWING = {  # variables that make torch slow, for finding faults
    "CUDA_LAUNCH_BLOCKING": "waits for the GPU after each kernel",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "asks the driver for each tensor's memory",
}


class Requirement(NamedTuple):
    """A package that swav asks for, or one of its extras."""

    name: str
    least: str  # version; "" where any will do
    extra: str | None


def check_installation() -> list[Check]:
    """All of them, in an order in which a person would ask."""
    needed = requirements()
    return [
        check_python(),
        check_packages(needed),
        check_torch_loads(),
        check_decoding(),
        *check_extras(needed),
        *check_environment(os.environ),
    ]


def check_python() -> Check:
    version, where = platform.python_version(), f"{platform.system()} {platform.release()}"
    values = {"python": version, "implementation": platform.python_implementation(), "system": where}
    return Check("Python", "ok", f"{version} on {where}, {platform.machine()}", values=values)


# --- packages --------------------------------------------------------------------------------------------------------


def requirements() -> list[Requirement]:
    """What the installed package says that it needs; nothing where it is used without being installed."""
    try:
        lines = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return []
    return [found for found in map(as_requirement, lines) if found is not None]


def as_requirement(line: str) -> Requirement | None:
    """
    >>> as_requirement('torch>=2.11'), as_requirement('timm>=1.0.12; extra == "timm"')
    (Requirement(name='torch', least='2.11', extra=None), Requirement(name='timm', least='1.0.12', extra='timm'))
    """
    found = REQUIREMENT.fullmatch(line)
    if found is None:
        return None
    name, versions, marker = found.groups()
    extra = EXTRA.search(marker or "")
    least = re.search(r">=\s*([0-9][0-9.]*)", versions)
    return Requirement(name, least[1] if least else "", extra[1] if extra else None)


def is_older(version: str, least: str) -> bool:
    """
    >>> is_older("2.9.1+cu130", "2.11"), is_older("2.11", "2.11.0"), is_older("12.0.dev1", "2.11")
    (True, False, False)
    """
    have, want = (_numbers(each) for each in (version, least))
    width = max(len(have), len(want))
    return have + [0] * (width - len(have)) < want + [0] * (width - len(want))


def _numbers(version: str) -> list[int]:
    found = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return [int(part) for part in found[0].split(".")] if found else []


def check_packages(needed: list[Requirement]) -> Check:
    """Versions of what swav stands on, and whether all that it needs is there and new enough."""
    there = {name: installed(name) for name in (PACKAGE, *SHOWN)}
    told = ", ".join(f"{name} {version}" for name, version in there.items() if version)
    wrong = [_lack(each) for each in needed if each.extra is None]
    lacks = [lack for lack in wrong if lack]
    if lacks:
        return Check(
            "packages", "problem", "; ".join(lacks), f"pip install --upgrade {PACKAGE}", values={"versions": there}
        )
    return Check("packages", "ok", told, values={"versions": there})


def _lack(needed: Requirement) -> str:
    version = installed(needed.name)
    if version is None:
        return f"{needed.name} is missing"
    if needed.least and is_older(version, needed.least):
        return f"{needed.name} is {version}, and {needed.least} is the least"
    return ""


def check_torch_loads() -> Check:
    """Torch and torchvision are made for each other, and say so at their import alone."""
    try:
        for name in ("torch", "torchvision"):
            import_module(name)
    except Exception as error:  # whatever a library's own code raises while it is loaded
        return Check(
            "torch", "problem", f"can't be loaded: {first_line(error)}",
            "install torch, torchvision and torchcodec anew, of one release: https://pytorch.org/get-started/locally",
        )  # fmt: skip
    torch = import_module("torch")
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "processors alone"
    if getattr(torch.version, "hip", None):
        built = f"ROCm {torch.version.hip}"
    values = {"torch": torch.__version__, "cuda": torch.version.cuda, "threads": torch.get_num_threads()}
    return Check("torch", "ok", f"{torch.__version__}, built for {built}", values=values)


def check_decoding() -> Check:
    """A small JPEG and a PNG, written and read again."""
    try:
        from swav_cli.data.decoding.images import MAX_PIXELS, decode_picture
        from swav_cli.data.decoding.jpeg import decode_plain

        jpeg, png = _drawn("JPEG"), _drawn("PNG")
        quick = decode_plain(jpeg, 3, MAX_PIXELS)
        exact = decode_picture(png).int()
        if quick is None:
            raise RuntimeError("torchcodec refuses a plain JPEG")
        apart = int((quick.int() - exact).abs().max())
        if apart > 16:
            raise RuntimeError(f"torchcodec's JPEG is {apart} of 255 away from what was written")
    except Exception as error:  # whatever a library's own code raises while it is loaded
        return Check(
            "decoding", "problem", f"a picture can't be decoded: {first_line(error)}",
            "pip install --upgrade torchcodec pillow (of the release that belongs to torch)",
        )  # fmt: skip
    return Check("decoding", "ok", "a JPEG by torchcodec and a PNG by Pillow are read as they were written")


def _drawn(kind: str) -> bytes:
    """A picture that changes slowly from corner to corner, which JPEG keeps well."""
    from PIL import Image

    picture = Image.new("RGB", (32, 32))
    picture.putdata([(4 * (x + y), 8 * x, 8 * y) for y in range(32) for x in range(32)])
    stream = io.BytesIO()
    picture.save(stream, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return stream.getvalue()


# --- extras ----------------------------------------------------------------------------------------------------------


def check_extras(needed: list[Requirement]) -> list[Check]:
    """Extras that are there, that are not, and that are half there."""
    extras: dict[str, list[Requirement]] = {}
    for each in needed:
        if each.extra and each.extra not in NOT_FOR_USERS and each.name != PACKAGE:
            extras.setdefault(each.extra, []).append(each)
    lacking = {extra: [lack for each in parts if (lack := _lack(each))] for extra, parts in extras.items()}
    whole = [extra for extra, lacks in lacking.items() if not lacks]
    missing = [extra for extra, lacks in lacking.items() if lacks and len(lacks) == len(extras[extra])]
    found = []
    if whole or missing:
        words = [f"installed: {', '.join(whole)}"] if whole else []
        words += [f"not installed: {', '.join(missing)}"] if missing else []
        remedy = f"pip install '{PACKAGE}[{','.join(missing)}]' installs them" if missing else ""
        found = [Check("extras", "ok", "; ".join(words), remedy, {"installed": whole, "missing": missing})]
    for extra, lacks in lacking.items():
        if extra not in whole and extra not in missing:
            found.append(
                Check(f"extra {extra}", "warning", "; ".join(lacks), f"pip install --upgrade '{PACKAGE}[{extra}]'")
            )
    return found


# --- environment -----------------------------------------------------------------------------------------------------


def check_environment(variables: Mapping[str, str]) -> list[Check]:
    """Variables that are set and change how quick torch is, or whether it sees a GPU; nothing where none is."""
    found = [_slow(name, why) for name, why in SLOWING.items() if why and variables.get(name, "0") not in ("", "0")]
    threads = check_threads(variables)
    return [*found, *([threads] if threads else [])]


def _slow(name: str, why: str) -> Check:
    return Check(name, "warning", f"is set, which {why}: a fault-finder's setting, and slow", f"unset {name}")


def check_threads(variables: Mapping[str, str]) -> Check | None:
    """OMP_NUM_THREADS, by which torch computes on processors; None where it says nothing odd."""
    given = variables.get("OMP_NUM_THREADS")
    if given is None:
        return None
    from swav_cli.data.reading.limits import own_processors

    cores, name = max(1, own_processors()), "OMP_NUM_THREADS"
    if not re.fullmatch(r"\s*[1-9][0-9]*(\s*,\s*[1-9][0-9]*)*\s*", given):
        return Check(name, "warning", f"is '{given}', which is no number of threads", f"unset {name}")
    count = int(given.split(",")[0])
    if count > cores:
        return Check(
            name, "warning", f"is {count}, and {cores} cores may be used: threads wait for each other",
            f"unset {name}, or {name}={cores}",
        )  # fmt: skip
    if count < cores and "LOCAL_WORLD_SIZE" not in variables:
        return Check(
            name, "warning", f"is {count}, and {cores} cores may be used: a processor trains with {count} of them",
            f"unset {name} where a processor trains; for a GPU it does no harm",
        )  # fmt: skip
    return None
