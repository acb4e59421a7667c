"""Tensors on their way from memory to the device that computes."""

from __future__ import annotations

import torch
from torch import Tensor


def moved(values: Tensor, device: torch.device) -> Tensor:
    """The values on a device, without waiting for it where that is safe.

    On CUDA it is: pinned memory stays where it is until it has been copied, and other memory is copied aside before the
    call returns. On Apple's GPUs torch may free what the values lay in before they are read.
    """
    return values.to(device, non_blocking=device.type == "cuda")
