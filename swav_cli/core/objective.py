"""Swapped prediction (arXiv 2006.09882, section 3.2, eq. 1 and 2), with the queue of section 4.1.

Each assigned crop's codes are predicted from the scores of every other crop of the same picture. The loss starts at
ln K, where every prototype is as likely as any other, and a network that learns nothing stays there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from swav_cli.core.sinkhorn import FollowingEpsilon, sinkhorn
from swav_cli.parallel import distributed


def swapped_prediction(
    scores: Tensor,  # (V, B, K): scores of every crop
    codes: Tensor,  # (A, B, K): codes of the assigned crops
    assigned: Sequence[int],  # which of the V crops those are
    temperature: float,
) -> Tensor:  # (): the loss, in nats
    """Cross entropy of each crop's prediction against the codes of each other, assigned crop; the mean of all pairs.

    Eq. 1 and 2 of the paper, for more crops than two as in section 3.3.

    >>> scores, codes = torch.zeros(3, 2, 4), torch.full((2, 2, 4), 1 / 4)    # every prototype as likely as any other
    >>> swapped_prediction(scores, codes, assigned=[0, 1], temperature=0.1)    # ln 4
    tensor(1.3863)
    """
    crops = scores.shape[0]
    log_p = (scores / temperature).log_softmax(dim=-1)
    loss = scores.new_zeros(())
    for code, source in zip(codes, assigned, strict=True):
        others = [crop for crop in range(crops) if crop != source]
        loss = loss - (code * chosen(log_p, others)).sum(dim=-1).mean()
    return loss / len(assigned)


def chosen(values: Tensor, crops: Sequence[int]) -> Tensor:  # (V, ...) -> (len(crops), ...)
    """The values of some crops. A list as an index would be copied to the device, which waits for it."""
    return torch.stack([values[crop] for crop in crops])


class Queue(nn.Module):
    """The newest embeddings of the assigned crops, which join small batches when codes are computed.

    >>> queue = Queue(assigned=2, length=4, dim=8)
    >>> for _ in range(2):
    ...     queue.push(torch.ones(2, 3, 8))
    ...     print(queue.is_full)
    False
    True

    It takes part once it is full; the newest batch stands at its front. A checkpoint holds what `whole` gives. Of
    several processes each keeps the rows of its own pictures.

    Args:
        length: rows of each crop over all processes, which divide them evenly.
    """

    embeddings: Tensor

    def __init__(self, assigned: int, length: int, dim: int) -> None:
        super().__init__()
        own = length // distributed.world_size()
        self.register_buffer("embeddings", torch.zeros(assigned, own, dim))  # (A, L, D)
        self.filled = 0  # rows, at most L; no tensor, since to ask one would wait for the device

    @property
    def is_full(self) -> bool:
        """Whether every row has been filled, so that it takes part in the assignment."""
        return self.filled >= self.embeddings.shape[1]

    @torch.no_grad()
    def push(self, embeddings: Tensor) -> None:  # (A, B, D)
        """Put a batch at the front; the oldest rows fall out at the back."""
        length = self.embeddings.shape[1]
        joined = torch.cat([embeddings.to(self.embeddings), self.embeddings], dim=1)
        self.embeddings.copy_(joined[:, :length])
        self.filled += min(embeddings.shape[1], length)

    def whole(self, share: int) -> dict[str, Tensor]:
        """The rows of all processes in the order in which a single one holds them; every process has to ask.

        Args:
            share: how many pictures of a part of a batch are this process's.
        """
        filled = torch.tensor(self.filled * distributed.world_size())
        if distributed.world_size() == 1:
            return {"embeddings": self.embeddings, "filled": filled}
        blocks = self.embeddings.unflatten(1, (-1, share))
        joined = torch.cat(distributed.of_all(blocks), dim=2).flatten(1, 2)
        return {"embeddings": joined, "filled": filled}

    def take_share(self, whole: dict[str, Tensor], share: int) -> None:
        """This process's rows of what `whole` gave, by however many processes that was."""
        world, rank = distributed.world_size(), distributed.rank()
        rows = whole["embeddings"]
        if world > 1:
            rows = rows.unflatten(1, (-1, world, share))[:, :, rank].flatten(1, 2)
        self.load_state_dict({"embeddings": rows})
        self.filled = int(whole["filled"]) // world


@torch.no_grad()
def assign_codes(
    embeddings: Tensor,  # (A, B, D): unit embeddings of the assigned crops
    prototypes: Tensor,  # (K, D): unit prototypes
    queue: Queue | None,
    epsilon: float | FollowingEpsilon,
    iterations: int,
) -> Tensor:  # (A, B, K)
    """Codes of the batch, crop by crop; a full queue's embeddings share in the assignment. The batch is then queued.

    Eq. 3 to 5 of the paper; the queue is that of section 4.1.

    >>> embeddings, prototypes = torch.eye(2)[None], torch.eye(2)    # each picture lies on a prototype
    >>> assign_codes(embeddings, prototypes, queue=None, epsilon=0.5, iterations=3)
    tensor([[[0.8808, 0.1192],
             [0.1192, 0.8808]]])
    """
    rows = embeddings
    if queue is not None and queue.is_full:
        rows = torch.cat([queue.embeddings.to(embeddings), embeddings], dim=1)
    scores = rows @ prototypes.to(embeddings).T
    sharpness = epsilon.of(scores) if isinstance(epsilon, FollowingEpsilon) else epsilon
    codes = sinkhorn(scores, sharpness, iterations)[:, -embeddings.shape[1] :]
    if queue is not None:
        queue.push(embeddings)
    return codes
