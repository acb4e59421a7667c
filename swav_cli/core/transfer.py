"""Tensors on their way from memory to the device that computes."""

from __future__ import annotations

import torch
from torch import Tensor


def moved(values: Tensor, device: torch.device) -> Tensor:
    """The values on a device, without waiting for it where that is safe.

    On CUDA it is from pinned memory, which torch keeps until it has been copied; from other memory the copy would wait
    for all that the device has to do before. On Apple's GPUs torch may free what values lay in before they are read.
    """
    if device.type != "cuda":
        return values.to(device)
    return (values.pin_memory() if values.device.type == "cpu" else values).to(device, non_blocking=True)
