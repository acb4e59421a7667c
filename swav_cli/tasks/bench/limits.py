"""What the device gives at most: of a matrix product, and of a copy within its memory."""

from __future__ import annotations

import torch

from swav_cli.planning.timing import laps

SIDE = {"cpu": 1024, "mps": 2048, "cuda": 8192}  # of the matrices
COPIED = {"cpu": 2**27, "mps": 2**28, "cuda": 2**30}  # bytes
TYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "float64": torch.float64}
ROUNDS = 30


def product_flops(device: torch.device, precision: str, seconds: float) -> float:
    """Floating-point operations a second of a large matrix product, of the quickest of some."""
    side, kind = SIDE[device.type], TYPES[precision]
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    torch.mm(left, right)
    return 2 * side**3 / min(laps(lambda: torch.mm(left, right), device, ROUNDS, seconds))


def copied_bytes(device: torch.device, seconds: float) -> float:
    """Bytes a second that a copy within the device's memory reads and writes, of the quickest of some."""
    source = torch.zeros(COPIED[device.type] // 4, device=device)
    target = torch.empty_like(source).copy_(source)
    return 2 * source.nbytes / min(laps(lambda: target.copy_(source), device, ROUNDS, seconds))
