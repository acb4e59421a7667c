"""Features that no network has made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unit_rows(count: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Rows of length 1, anywhere."""
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def kinds(count: int, of_each: int, width: int = 16, spread: float = 0.15, seed: int = 0) -> NDArray[np.float32]:
    """Rows of several kinds, one kind after another, each near a row of its own."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(unit_rows(count, width, seed), of_each, axis=0)
    rows = rows + spread * rng.standard_normal(rows.shape).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
