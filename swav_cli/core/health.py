"""Is it learning? Numbers that need no labels; `swav_cli.core.verdict` says what they mean.

The loss alone does not tell: it starts at ln K and stays there when all pictures get the same scores, and it can sink
while a network agrees with itself about nothing. Within a step all is added up on the device, and nothing waits for it;
an epoch's end reads the sums, and looks at some pictures that are always the same (`swav_cli.core.sample`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from swav_cli.core.sinkhorn import spread
from swav_cli.parallel import distributed

SUMMED = ("code entropy", "prediction entropy", "agreement", "steps")  # of the meter
TWIN = 0.99  # cosine from which two prototypes are one
ROWS_AT_ONCE = 4096  # prototypes that are compared with all others at a time


class Seen(NamedTuple):
    """What a network makes of some pictures, always the same ones; see `swav_cli.core.sample`."""

    features: Tensor  # (N, F), pooled
    stability: float | None  # share that kept its nearest prototype since the last look; None at the first one
    distinct: float  # share of them that are no copy of another
    pixel_mean: float  # of the values that reach the network: about 0 where mean and std are those of the pictures
    pixel_deviation: float  # of them, likewise about 1


class Health(NamedTuple):
    """An epoch's numbers. Of codes and predictions they are means over its steps and over the assigned crops."""

    used_prototypes: int  # prototypes that are nearest to some picture of the epoch
    perplexity: float  # of the nearest prototypes of the epoch: how many are used evenly
    spread: float  # deviation of scores over pictures, their means taken out
    rank: float  # effective rank of the last batch's embeddings (RankMe, arXiv 2210.02885, eq. 1)
    deviation: float  # of the last batch's embeddings: 1 where they lie evenly on the sphere, 0 where they are one
    twins: int  # prototypes that have another within a cosine of 0.99
    code_entropy: float  # of a picture's codes, as a share of ln K: 1 where they are flat and tell nothing
    prediction_entropy: float  # of a picture's predictions, likewise
    agreement: float | None  # share of pictures whose first two assigned crops have the same likeliest code
    feature_rank: float | None = None  # effective rank of the features of some pictures, always the same ones
    feature_deviation: float | None = None  # of these features, as of embeddings
    stability: float | None = None  # share of these pictures that have kept their nearest prototype since an epoch
    distinct: float | None = None  # share of them that are no copy of another
    pixel_mean: float | None = None  # of the values of these pictures that reach the network, about 0
    pixel_deviation: float | None = None  # of them, about 1
    queue_epochs: float | None = None  # age of the oldest embeddings in the queue, once it takes part
    queue_jump: float | None = None  # by how much of ln K the loss rose when it began, from epoch to epoch
    queue_sharpening: float | None = None  # what became of the entropy of codes then: 0.5 where half of it was left


class HealthMeter:
    """Adds up over an epoch what its steps tell.

    >>> meter = HealthMeter(prototypes=3, ln_k=math.log(3), device=torch.device("cpu"))
    >>> scores = torch.tensor([[[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]]])
    >>> meter.add(torch.eye(2)[None], scores, codes=torch.eye(3)[None, :2], temperature=0.1)
    >>> health = meter.read(torch.randn(3, 2), assigned=1)
    >>> health.used_prototypes, round(health.perplexity, 3), round(health.rank, 3), round(health.code_entropy, 3)
    (2, 2.0, 2.0, 0.0)

    Args:
        prototypes: K.
    """

    def __init__(self, prototypes: int, ln_k: float, device: torch.device) -> None:
        self.ln_k = ln_k
        self.counts = torch.zeros(prototypes, dtype=torch.long, device=device)
        self.sums = torch.zeros(len(SUMMED), device=device)
        self.scores: Tensor | None = None
        self.embeddings: Tensor | None = None

    @torch.no_grad()
    def add(
        self,
        embeddings: Tensor,  # (A, B, D)
        scores: Tensor,  # (A, B, K)
        codes: Tensor,  # (A, B, K)
        temperature: float,
    ) -> None:
        """A step's batch."""
        nearest = scores.argmax(dim=-1).flatten()
        self.counts.scatter_add_(0, nearest, torch.ones_like(nearest))
        likeliest = codes.argmax(dim=-1)
        log_p = (scores / temperature).log_softmax(dim=-1)
        told = [
            torch.special.entr(codes).sum(dim=-1).mean(),
            -(log_p.exp() * log_p).sum(dim=-1).mean(),
            (likeliest[0] == likeliest[min(1, len(likeliest) - 1)]).float().mean(),
            torch.ones((), device=self.sums.device),
        ]
        self.sums += torch.stack([each.to(self.sums) for each in told])
        self.embeddings, self.scores = embeddings[0], scores[0]

    def state(self) -> dict[str, Tensor]:
        """Of all processes; each has to ask."""
        return {
            "prototype_counts": distributed.sum_over_processes(self.counts.clone()),
            "health_sums": distributed.sum_over_processes(self.sums.clone()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """What all processes had gathered is the first one's from here on; runs begun before kept no sums."""
        if distributed.is_writer():
            self.counts.copy_(state["prototype_counts"])
            self.sums.copy_(state.get("health_sums", self.sums))

    @torch.no_grad()
    def read(self, prototypes: Tensor, assigned: int, seen: Seen | None = None) -> Health:  # prototypes: (K, D)
        """The epoch's numbers over all processes, and a new start.

        Args:
            assigned: A, how many crops of a picture give codes.
            seen: what the pictures that are always the same look like now.
        """
        assert self.scores is not None
        assert self.embeddings is not None
        counts = distributed.sum_over_processes(self.counts.clone()).cpu()
        shares = counts.double() / counts.sum().clamp(min=1)
        codes, predictions, agreement, steps = distributed.sum_over_processes(self.sums.clone()).tolist()
        embeddings = torch.cat(distributed.of_all(self.embeddings))
        health = Health(
            used_prototypes=int((counts > 0).sum()),
            perplexity=float(torch.special.entr(shares).sum().exp()),
            spread=float(spread(self.scores)),
            rank=effective_rank(embeddings),
            deviation=deviation(embeddings),
            twins=twins(prototypes),
            code_entropy=codes / steps / self.ln_k,
            prediction_entropy=predictions / steps / self.ln_k,
            agreement=agreement / steps if assigned > 1 else None,
            feature_rank=effective_rank(seen.features) if seen else None,
            feature_deviation=deviation(F.normalize(seen.features.float(), dim=1)) if seen else None,
            stability=seen.stability if seen else None,
            distinct=seen.distinct if seen else None,
            pixel_mean=seen.pixel_mean if seen else None,
            pixel_deviation=seen.pixel_deviation if seen else None,
        )
        self.counts.zero_()
        self.sums.zero_()
        self.scores = self.embeddings = None
        return health


def deviation(rows: Tensor) -> float:  # (B, D), of unit length
    """Mean deviation of their values times the root of D: 1 where rows lie evenly on the sphere, 0 where all are one.

    arXiv 2011.10566, section 4.1.
    """
    return float(rows.float().std(dim=0, correction=0).mean()) * math.sqrt(rows.shape[1])


def twins(prototypes: Tensor) -> int:  # (K, D)
    """How many have another one within a cosine of 0.99."""
    rows = F.normalize(prototypes.float(), dim=1)
    found = 0
    for first in range(0, len(rows), ROWS_AT_ONCE):
        cosines = rows[first : first + ROWS_AT_ONCE] @ rows.T
        found += int(((cosines > TWIN).sum(dim=1) > 1).sum())  # each is its own
    return found


def effective_rank(rows: Tensor) -> float:  # (B, D)
    """exp of the entropy of the singular values' shares: how many directions the rows use.

    >>> round(effective_rank(torch.eye(4)), 3), round(effective_rank(torch.ones(4, 4)), 3)
    (4.0, 1.0)
    """
    values = torch.linalg.svdvals(rows.cpu().double())  # not every device has float64
    shares = values / values.sum().clamp(min=1e-12)
    return float(torch.special.entr(shares).sum().exp())
