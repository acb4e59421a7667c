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


def pick_precision(device: torch.device) -> tuple[str, str]:
    """What `auto` means on a device, and why."""
    if device.type == "cuda":
        good = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        good = _cpu_computes_bf16()
    else:
        good = False
    return (
        ("bf16", f"this {device.type} is good at it")
        if good
        else ("float32", f"this {device.type} is not good at bf16")
    )


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
