"""Where pictures are compared: features of length 1, less their mean, in their main directions.

Cosines of features as a network gives them are all alike (those after a ReLU have no negative numbers), and others with
every network; less the mean, two pictures that have nothing in common are at right angles whatever the network. The
mean and the directions are those of the first pictures that a folder of clusters was made for, and stay: a picture's
place never depends on those that came later.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST = 128  # directions: what neighbours cost grows with them, and a hundred hold nearly all of the features' variance
SAMPLE = 4096  # pictures that tell mean and directions
FEW = 1024  # below so many the directions would be those of these pictures alone, and all are kept


class Space(NamedTuple):
    """A place to compare pictures in."""

    mean: NDArray[np.float32]  # (F,)
    axes: NDArray[np.float32]  # (F, D) at right angles, the main one first; (F, 0): all directions as they are

    @property
    def dimensions(self) -> int:
        return self.axes.shape[1] or len(self.mean)

    def points(self, features: Tensor) -> Tensor:  # (N, F) -> (N, D) of unit length
        """Where the features lie; a picture that is exactly as the mean has no direction and becomes zero."""
        moved = torch.nn.functional.normalize(features.float(), dim=1) - torch.from_numpy(self.mean)
        if self.axes.shape[1]:
            moved = moved @ torch.from_numpy(self.axes)
        return torch.nn.functional.normalize(moved, dim=1, eps=1e-6)


def space_of(features: Tensor) -> Space:  # (N, F) finite
    """The space that these features span.

    >>> space = space_of(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> space.points(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))
    tensor([[ 0.7071, -0.7071],
            [-0.7071,  0.7071]])
    """
    unit = torch.nn.functional.normalize(features.float(), dim=1).numpy()
    mean, width = unit.mean(axis=0), unit.shape[1]
    if width <= MOST or len(unit) < FEW:
        return Space(mean, np.empty((width, 0), dtype=np.float32))
    from sklearn.decomposition import PCA

    found = PCA(MOST, random_state=0).fit(unit)
    return Space(found.mean_.astype(np.float32), np.ascontiguousarray(found.components_.T, dtype=np.float32))
