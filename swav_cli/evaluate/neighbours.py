"""How well features tell classes apart: k-NN among labelled pictures, for `swav eval` and at a run's end alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.core.weights import About
from swav_cli.data.pictures import Pictures
from swav_cli.data.same_pictures import NOWHERE, places_among
from swav_cli.errors import Told, UserError, silent
from swav_cli.evaluate.features import SMALL
from swav_cli.evaluate.knn import KnnAccuracy, LabelledRows, knn_accuracies
from swav_cli.evaluate.representation import Representation
from swav_cli.parallel import distributed
from swav_cli.parallel.processes import first_decides

MOST_PIXELS = 2e9  # values of a bank of raw pixels, 4 GB in half precision


@dataclass(frozen=True)
class Labelled:
    """Pictures that judge features, and those they learn the classes from."""

    queries: Pictures
    query_labels: Tensor | None  # (M,) in the bank's numbering; None: nothing is known of classes
    bank: Pictures | None  # None: the queries themselves, each without itself
    bank_labels: Tensor | None  # (N,)

    @property
    def taught_by(self) -> Pictures:
        """Those that classes are learnt from."""
        return self.bank or self.queries

    @cached_property
    def places(self) -> NDArray[np.int64]:  # (M,)
        """The number that each query has in the bank, -1 for none; asked once, of all processes together."""
        bank, queries = self.bank, self.queries
        if bank is None:
            return np.arange(len(queries))
        return first_decides(lambda: places_among(queries, bank))


def pixels_compare(labelled: Labelled, about: About) -> bool:
    """Whether features are held against raw pixels too: of small pictures, and not of so many that memory is short."""
    return about.size <= SMALL and len(labelled.taught_by) * about.channels * about.size**2 <= MOST_PIXELS


def neighbours(
    labelled: Labelled,
    bank: Representation,
    asked: Representation,
    ks: Sequence[int],
    temperatures: Sequence[float],
    device: torch.device,
    progress: Told = silent,
) -> list[KnnAccuracy]:
    """k-NN for every k and temperature; a picture that stands on both sides is not its own neighbour.

    Raises:
        UserError: no picture of a side can be read.
    """
    assert labelled.query_labels is not None
    assert labelled.bank_labels is not None
    in_bank = torch.from_numpy(labelled.places)[asked.rows]
    joined = torch.cat(distributed.objects_of_all(bank.rows))  # which pictures the rows of the whole bank are
    try:
        return knn_accuracies(
            LabelledRows(bank.pooled, labelled.bank_labels[bank.rows]),
            LabelledRows(asked.pooled, labelled.query_labels[asked.rows], _rows_of(in_bank, joined)),
            ks, temperatures, device=device, progress=progress,
        )  # fmt: skip
    except ValueError:
        few = labelled.queries if len(joined) > 1 else labelled.taught_by
        raise UserError(f"{few.source}: too few of its pictures can be read for any to have a neighbour") from None


def _rows_of(pictures: Tensor, joined: Tensor) -> Tensor:
    """At which row each of the pictures stands; -1 for none, as of one that can't be read."""
    if not len(joined):
        return torch.full_like(pictures, NOWHERE)
    at = torch.searchsorted(joined, pictures).clamp(max=len(joined) - 1)
    return torch.where(joined[at] == pictures, at, NOWHERE)
