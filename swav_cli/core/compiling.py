"""`training.compile`: where it pays, whether it can be done here, and the network that a step then calls."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import torch

from swav_cli.core.estimate import estimate
from swav_cli.core.model import SwAV
from swav_cli.core.photometric import AtOnce, coloured_at_once
from swav_cli.errors import UserError
from swav_cli.parallel import distributed
from swav_cli.recipe.schema import Recipe, settled

# Measured on one H200 with torch 2.11: of a step of in1k-200e 46 of 207 ms (17.8 thousand million values), of one of
# cifar10 with 512 pictures 1.7 of 26 ms (1.26), by 86 s of compiling. The lesser of both counts; slower GPUs save more.
SAVED = 1.3e-12  # seconds a step, for each value that is kept for the backward pass
COMPILING = 90.0  # seconds
WORTHWHILE = 2  # times the seconds of compiling
COMPILES_FROM = (7, 0)  # compute capability, which triton asks for


def pick_compile(recipe: Recipe, pictures: int, device: torch.device) -> tuple[bool, str]:
    """What `auto` means for a recipe with so many pictures, and why.

    Args:
        recipe: settled but for it.
    """
    if device.type != "cuda":
        where = "a processor" if device.type == "cpu" else "Apple's GPU"
        return False, f"on {where} results stay what they are without it, bit for bit"
    lacking = what_compiling_lacks(device)
    if lacking is not None:
        return False, lacking
    batch = settled(recipe.training.batch_size)
    steps = pictures // batch * settled(recipe.training.epochs)
    values = estimate(recipe).activations * recipe.training.accumulate // distributed.world_size()
    saved = SAVED * values * steps
    compiling = COMPILING * min(2, recipe.training.accumulate)  # a pass without gradients is compiled too
    if saved < WORTHWHILE * compiling:
        return False, f"{steps:,} steps of this size would hardly earn back some minutes of compiling"
    return True, f"about {saved / 60:,.0f} minutes less in {steps:,} steps, for {compiling / 60:.1f} of compiling"


def what_compiling_lacks(device: torch.device) -> str | None:
    """In words, what torch.compile asks for and this machine does not have; None where all is there."""
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device) < COMPILES_FROM:
            return "this GPU is older than torch.compile makes code for"
        if importlib.util.find_spec("triton") is None:
            return "torch.compile needs triton, which is not installed"
        return None if _found("CC", "gcc", "clang", "cc") else "torch.compile needs a C compiler, such as gcc"
    if device.type == "cpu" and sys.platform != "win32" and not _found("CXX", "g++", "clang++"):
        return "torch.compile needs a C++ compiler, such as g++"
    return None


def _found(variable: str, *names: str) -> bool:
    """A compiler, by the environment's variable or by a name."""
    return any(shutil.which(name) for name in (os.environ.get(variable, ""), *names) if name)


def check_compile(recipe: Recipe, device: torch.device) -> None:
    """
    Raises:
        UserError: a settled recipe wants to be compiled, which can't be done here.
    """
    lacking = what_compiling_lacks(device) if recipe.training.compile else None
    if lacking is not None:
        raise UserError(f"training.compile (true): {lacking}; set it to auto or false")


def quickened(model: SwAV, way: bool) -> Callable[..., Any]:
    """The network as a step calls it: the model itself, or compiled, which happens at its first step.

    What is compiled within DistributedDataParallel is cut at the buckets of gradients, each of which is sent while the
    next is computed; the same graphs come of compiling around it.
    """
    return torch.compile(model) if way else model


def compiled_colours(way: bool) -> AtOnce | None:
    """What changes the colours of a batch in a few kernels for each size of crops; None where nothing is compiled."""
    return torch.compile(coloured_at_once, dynamic=False) if way else None
