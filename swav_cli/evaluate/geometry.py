"""How features lie in their space: numbers that need no labels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-7  # of RankMe: what keeps the logarithm of an unused direction finite
ROWS_AT_ONCE = 4096
CPU = torch.device("cpu")
DRAWN = 10_000  # rows whose pairs are looked at for uniformity: 50 million pairs


def rankme(rows: Tensor, device: torch.device = CPU) -> float:  # (N, F)
    """RankMe, arXiv 2210.02885, eq. 1: exp(-sum p_k log p_k) with p_k = s_k / sum(s) + 1e-7 of singular values s.

    >>> round(rankme(torch.eye(8)), 3), round(rankme(torch.ones(8, 8)), 3)
    (8.0, 1.0)

    How many directions the rows use evenly: 1 to min(N, F). The rows are not centred; the paper takes 25,600 of them.
    The singular values are square roots of the eigenvalues of the rows' Gram matrix, summed over parts in float64, so
    that N may be large and the rows of any floating type.

    Args:
        device: sums on a CUDA GPU, and else on the processor: others have no float64.
    """
    where = device if device.type == "cuda" else CPU
    gram = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64, device=where)
    for part in rows.split(ROWS_AT_ONCE):
        part = part.to(where).double()
        gram.addmm_(part.T, part)
    values = torch.linalg.eigvalsh(gram.cpu())
    # What rounding leaves of directions that are not there; its square roots would count.
    values[values < values[-1] * len(gram) * torch.finfo(torch.float64).eps] = 0
    singular = values.sqrt().flip(0)[: min(rows.shape)]
    shares = singular / singular.sum().clamp(min=1e-12) + EPSILON
    return float(torch.special.entr(shares).sum().exp())


def uniformity(rows: Tensor, seed: int = 0) -> float:  # (N, F)
    """L_uniform of arXiv 2005.10242 with t = 2: log of the mean of exp(-2 |x - y|^2) over pairs of unit rows.

    >>> round(uniformity(torch.eye(8)), 3)    # at right angles to each other: |x - y|^2 = 2
    -4.0

    0 where all rows are the same, -4 where they are spread evenly in many dimensions. Over all pairs of two different
    rows; of more than 10,000 rows, over those of as many that the seed draws. NaN of a single row.
    """
    if len(rows) < 2:
        return math.nan
    if len(rows) > DRAWN:
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:DRAWN]]
    unit = F.normalize(rows.float(), dim=1)
    total = 0.0
    for first in range(0, len(unit), ROWS_AT_ONCE):
        near = (4 * (unit[first : first + ROWS_AT_ONCE] @ unit.T) - 4).exp()  # |x - y|^2 = 2 - 2 xy
        near.diagonal(first).zero_()  # a row with itself
        total += float(near.cpu().sum(dtype=torch.float64))
    return math.log(total / (len(unit) * (len(unit) - 1)))


def alignment(first: Tensor, second: Tensor) -> float:  # (N, F) and (N, F)
    """L_align of arXiv 2005.10242 with alpha = 2: mean of |x - y|^2 of unit rows, two views of a picture. 0 to 4.

    >>> alignment(torch.eye(2), torch.eye(2)), alignment(torch.eye(2), -torch.eye(2))
    (0.0, 4.0)
    """
    apart = F.normalize(first.float(), dim=1) - F.normalize(second.float(), dim=1)
    return float(apart.square().sum(dim=1).cpu().mean(dtype=torch.float64))
