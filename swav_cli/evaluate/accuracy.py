"""Counting right answers, a batch at a time and over all processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from swav_cli.data.pictures import Pictures
from swav_cli.errors import UserError, counted
from swav_cli.parallel import distributed

TOP = 5


class Tally:
    """Right and wrong answers of one classifier. Every process adds its own pictures, and reads the sum of all.

    >>> tally = Tally(classes=2)
    >>> tally.add(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]), torch.tensor([0, 1, 1]))
    >>> tally.top1, tally.per_class()
    (66.66666666666667, [100.0, 50.0])

    A row of logits that is not finite, as of a picture that can't be read, counts as unread and nowhere else. The
    first number that is read waits for the other processes to read theirs; those after it don't.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._among, self._unread = torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
        self._confusion = torch.zeros(classes, classes, dtype=torch.long)
        self._summed = False

    def add(self, logits: Tensor, labels: Tensor) -> None:  # (B, C), (B,)
        if self._summed:
            raise RuntimeError("a tally that has been read counts no more: its numbers are those of all processes")
        read = logits.isfinite().all(dim=1)
        best = logits[read].topk(min(TOP, self.classes), dim=1).indices.cpu()
        labels = labels.cpu()[read.cpu()]
        self._unread += int((~read).sum())
        self._among += int((best == labels[:, None]).any(dim=1).sum())
        self._confusion.index_put_((labels, best[:, 0]), torch.ones_like(labels), accumulate=True)

    def summed_already(self) -> None:
        """This process has seen all pictures, and no other has any to add."""
        self._summed = True

    def _sum(self) -> None:
        """Once, over all processes."""
        if not self._summed:
            for counts in (self._among, self._unread, self._confusion):
                distributed.sum_over_processes(counts)
            self._summed = True

    @property
    def confusion(self) -> Tensor:  # (C, C): a row for each true class, a column for each that was said
        self._sum()
        return self._confusion

    @property
    def count(self) -> int:
        """Pictures that could be read."""
        return int(self.confusion.sum())

    @property
    def unread(self) -> int:
        self._sum()
        return int(self._unread)

    @property
    def top1(self) -> float:
        """Per cent."""
        return 100 * int(self.confusion.diagonal().sum()) / max(1, self.count)

    @property
    def top5(self) -> float:
        """Per cent whose class is among the likeliest five, or among all where there are fewer."""
        self._sum()
        return 100 * int(self._among) / max(1, self.count)

    def per_class(self) -> list[float | None]:
        """Per cent right of each class; None where it has no pictures."""
        counts, right = self.confusion.sum(dim=1).tolist(), self.confusion.diagonal().tolist()
        return [100 * hits / count if count else None for hits, count in zip(right, counts, strict=True)]

    def summary(self) -> dict[str, Any]:
        known = [accuracy for accuracy in self.per_class() if accuracy is not None]
        return {
            "top1": self.top1,
            "top5": self.top5,
            "mean_class_accuracy": sum(known) / max(1, len(known)),
            "count": self.count,
            "unread": self.unread,
        }


def refuse_no_answers(found: Tally, pictures: Pictures, model: str) -> None:
    """An accuracy among no pictures would be 0 %, which says something else.

    Raises:
        UserError: the model has answered for none.
    """
    if not found.count:
        raise UserError(
            f"{pictures.source}: no answers to its {counted(len(pictures), 'picture')}: they can't be read, or the "
            f"weights of {model} are not finite"
        )
