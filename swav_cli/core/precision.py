"""In which precision the network computes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from swav_cli.errors import UserError, nearest

PRECISIONS = ("auto", "float32", "bf16")


def settle_precision(wanted: str, device: torch.device) -> str:
    """`float32` or `bf16` for `--precision`.

    Raises:
        UserError: no such precision.
    """
    if wanted not in PRECISIONS:
        raise UserError(f"--precision {wanted}: use {', '.join(PRECISIONS)}.{nearest(wanted, PRECISIONS)}")
    return pick_precision(device)[0] if wanted == "auto" else wanted


def memory_format(device: torch.device) -> torch.memory_format:
    """How pictures and weights lie in memory: channels last where convolutions are quick with it.

    They are on processors and on GPUs with units for bf16. Older ones (V100, T4, 20xx) train in float32, which cuDNN
    computes slowest with channels last. On Apple's, torch's kernels for it are the less tried ones.
    """
    if device.type == "mps" or (device.type == "cuda" and not _gpu_computes_bf16(device)):
        return torch.contiguous_format
    return torch.channels_last


def refuse_float64(precision: str, device: torch.device) -> None:
    """
    Raises:
        UserError: the device has no such numbers.
    """
    if precision == "float64" and device.type == "mps":
        raise UserError("training.precision=float64: Apple's GPUs have none; use --device cpu, or float32")


def pick_precision(device: torch.device) -> tuple[str, str]:
    """What `auto` means on a device, and why."""
    if device.type == "cuda":
        good = _gpu_computes_bf16(device)
    elif device.type == "cpu":
        good = _cpu_computes_bf16()
    else:
        good = False
    return (
        ("bf16", f"this {device.type} is good at it")
        if good
        else ("float32", f"this {device.type} is not good at bf16")
    )


def _gpu_computes_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _cpu_computes_bf16() -> bool:
    """The processor has matrix units for it (AMX). With AVX512-BF16 alone it was measured slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16", False))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the network runs; weights and codes stay in float32."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """The context in which nothing is rounded to bf16, whatever is around it."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
