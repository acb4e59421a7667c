"""Codes from scores: the Sinkhorn-Knopp iteration of SwAV (arXiv 2006.09882, section 3.1, eq. 3 and 5).

Codes Q maximise Tr(Q^T C^T Z) + epsilon H(Q) under equal use of all prototypes in the batch. The optimum is
Diag(u) exp(scores / epsilon) Diag(v); u and v are found by normalising prototypes and pictures in turn.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from swav_cli.core.precision import full_precision
from swav_cli.parallel.distributed import max_over_processes, mean_over_processes, sum_over_processes


@torch.no_grad()
def sinkhorn(
    scores: Tensor,  # (B, K) or (A, B, K): cosine of each picture of this process with each prototype
    epsilon: float | Tensor = 0.05,  # a tensor where it is of each crop: (A, 1, 1)
    iterations: int = 3,
) -> Tensor:  # like the scores: codes; each row sums to one
    """Soft assignments of pictures to prototypes that use all prototypes equally; of A crops, each for itself.

    >>> scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])    # the first is nearest to all four
    >>> sinkhorn(scores, epsilon=0.1)    # and gets as much of them as the other
    tensor([[0.9526, 0.0474],
            [0.7311, 0.2689],
            [0.2689, 0.7311],
            [0.0474, 0.9526]])

    The batch is that of all processes: a picture's own sum is local, and the processes are joined by one
    reduction of K maxima and one of K sums an iteration (A K where there are A crops). Computed in float32 (float64
    scores stay float64) as logarithms, so that it is finite at any epsilon and every row sums to one.

    Raises:
        ValueError: epsilon is not positive, or iterations is below one.
    """
    asked = 1.0 if isinstance(epsilon, Tensor) else epsilon  # to look into a tensor would wait for the device
    if asked <= 0 or iterations < 1:
        raise ValueError(f"sinkhorn needs epsilon > 0 and iterations >= 1, got {epsilon} and {iterations}")
    precise = scores.dtype if scores.dtype == torch.float64 else torch.float32
    with full_precision(scores.device):
        log_q = scores.to(precise) / epsilon
        # A prototype's shift goes out with its first normalisation. With it no sum below can underflow: each is at
        # least 1 in the first round, and at least 1 / K after that, since no picture's sum exceeds K.
        log_q -= max_over_processes(log_q.amax(dim=-2, keepdim=True))
        for _ in range(iterations):
            # prototypes share the batch equally ...
            log_q -= sum_over_processes(log_q.exp().sum(dim=-2, keepdim=True)).log()
            log_q -= log_q.logsumexp(dim=-1, keepdim=True)  # ... and each picture gives its whole weight
        return log_q.exp()


class FollowingEpsilon(NamedTuple):
    """An epsilon that is a share of the scores' spread, so that codes stay as sharp where scores draw together.

    With a fixed one there is a state from which no way leads back: scores of all pictures so close together that
    exp(scores / epsilon) is flat, codes that are therefore uniform, and a loss at ln K whose gradient draws scores
    together still more. A share of the spread knows no such state. It must not follow without an end, though: a network
    that tells pictures apart by next to nothing would be told that it does so sharply, and agree with itself about
    noise. Hence the least value.

    >>> epsilon = FollowingEpsilon(most=0.05, share=0.2, least=0.01)
    >>> scores = torch.eye(4) * 0.4    # their spread is 0.173
    >>> [round(epsilon.of(scores * size).item(), 3) for size in (1.0, 3.0, 0.1)]
    [0.035, 0.05, 0.01]
    """

    most: float
    share: float  # of the spread
    least: float

    def of(self, scores: Tensor) -> Tensor:  # (B, K) or (A, B, K) -> (1, 1) or (A, 1, 1)
        """What it is for these scores and those of all other processes; of A crops, each for itself."""
        return (self.share * spread(scores)).clamp(min=self.least, max=self.most)


@torch.no_grad()
def spread(scores: Tensor) -> Tensor:  # (..., B, K) of this process -> (..., 1, 1)
    """Deviation of the scores after taking out each picture's and each prototype's mean, which Sinkhorn removes.

    >>> spread(torch.tensor([[1.0], [2.0]]) + torch.tensor([3.0, 5.0]))    # nothing else is in them
    tensor([[0.]])
    """
    precise = scores.to(torch.float64 if scores.dtype == torch.float64 else torch.float32)
    centered = precise - precise.mean(dim=-1, keepdim=True)
    centered = centered - mean_over_processes(centered.mean(dim=-2, keepdim=True))
    return mean_over_processes(centered.square().mean(dim=(-2, -1), keepdim=True)).sqrt()
