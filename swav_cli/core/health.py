"""Is it learning? Numbers that need no labels, and the likeliest reason where they look bad.

The loss alone does not tell: it starts at ln K and stays there when all pictures get the same scores, and it can sink
while a network agrees with itself about nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from swav_cli.parallel import distributed

FLAT = 0.98  # of ln K: at or above, the predictions tell nothing
NARROW = 0.02  # spread of scores at or below which all pictures look alike to the prototypes


class Health(NamedTuple):
    used_prototypes: int  # prototypes that are nearest to some picture of the epoch
    perplexity: float  # of the nearest prototypes of the epoch: how many are used evenly
    spread: float  # deviation of scores over pictures, their means taken out
    rank: float  # effective rank of the last batch's embeddings (RankMe, arXiv 2210.02885, eq. 1)


class HealthMeter:
    """Collects over an epoch which prototypes are nearest to the assigned crops.

    >>> meter = HealthMeter(prototypes=3, device=torch.device("cpu"))
    >>> meter.add(torch.eye(2)[None], torch.tensor([[[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]]]))
    >>> health = meter.read()
    >>> health.used_prototypes, round(health.perplexity, 3), round(health.rank, 3)
    (2, 2.0, 2.0)
    """

    def __init__(self, prototypes: int, device: torch.device) -> None:
        self.counts = torch.zeros(prototypes, dtype=torch.long, device=device)
        self.scores: Tensor | None = None
        self.embeddings: Tensor | None = None

    @torch.no_grad()
    def add(self, embeddings: Tensor, scores: Tensor) -> None:  # (A, B, D) and (A, B, K)
        nearest = scores.argmax(dim=-1).flatten()
        self.counts += torch.bincount(nearest, minlength=len(self.counts))
        self.embeddings, self.scores = embeddings[0], scores[0]

    def read(self) -> Health:
        """The epoch's numbers over all processes, and a new start."""
        assert self.scores is not None
        assert self.embeddings is not None
        counts = distributed.sum_over_processes(self.counts.clone()).cpu()
        shares = counts.double() / counts.sum().clamp(min=1)
        health = Health(
            used_prototypes=int((counts > 0).sum()),
            perplexity=float(torch.special.entr(shares).sum().exp()),
            spread=score_spread(self.scores),
            rank=effective_rank(torch.cat(distributed.of_all(self.embeddings))),
        )
        self.counts.zero_()
        self.scores = self.embeddings = None
        return health


def score_spread(scores: Tensor) -> float:  # (B, K) of this process
    """Deviation of the scores after taking out each picture's and each prototype's mean, which Sinkhorn removes."""
    centered = scores.float() - scores.float().mean(dim=1, keepdim=True)
    centered = centered - distributed.mean_over_processes(centered.mean(dim=0))
    return float(distributed.mean_over_processes(centered.square().mean()).sqrt())


def effective_rank(rows: Tensor) -> float:  # (B, D)
    """exp of the entropy of the singular values' shares: how many directions the rows use.

    >>> round(effective_rank(torch.eye(4)), 3), round(effective_rank(torch.ones(4, 4)), 3)
    (4.0, 1.0)
    """
    values = torch.linalg.svdvals(rows.cpu().double())  # not every device has float64
    shares = values / values.sum().clamp(min=1e-12)
    return float(torch.special.entr(shares).sum().exp())


def warning(health: Health, share_of_ln_k: float, epoch: int, warm: bool) -> str | None:
    """What is wrong and what to change, or None. A loss near ln K is normal until prototypes and rate are warm."""
    if not warm or epoch < 2:
        return None
    if share_of_ln_k >= FLAT and health.spread <= NARROW:
        return (
            f"the loss sits at ln K ({share_of_ln_k:.3f} of it) and all pictures get nearly the same scores "
            f"(spread {health.spread:.3f}): nothing is being learnt. Try sharper codes (--set loss.epsilon=0.02), "
            "crops that share more of the picture (a larger crops.0.scale), or a longer warm-up"
        )
    if health.rank < 2:
        return (
            f"embeddings use {health.rank:.1f} directions: the network agrees with itself about nothing much. "
            "Try a larger loss.epsilon, a lower optimizer.lr, or stronger augmentation"
        )
    return None
