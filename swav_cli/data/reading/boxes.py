"""Batches of numbers alone: where crops lie in pictures that the device that trains has, and what is done to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Batch, Crops, Item

Draw = Callable[[int, int, int, int], tuple[NDArray[np.int64], Tensor]]  # height, width, epoch, index


class Boxes(Crops):
    """Draws what `Crops` would cut; runs in the workers. Pictures are in memory, so that to read one costs nothing."""

    def __init__(self, pictures: Pictures, draw: Draw) -> None:
        super().__init__(pictures, self.none_cut)
        self.draw = draw

    @staticmethod
    def none_cut(picture: Tensor, epoch: int, index: int) -> tuple[list[Tensor], Tensor]:
        raise NotImplementedError

    def __getitems__(self, items: list[Item]) -> Batch:
        bad: list[tuple[int, str]] = []
        boxes, numbers = [], []
        for epoch, index in items:
            taken, picture = self.readable(epoch, index, bad)
            own, colours = self.draw(picture.shape[1], picture.shape[2], epoch, index)
            boxes.append(np.insert(own, 0, taken, axis=1))  # (V, 5)
            numbers.append(colours)
        indices = torch.tensor([index for _, index in items])
        return Batch([], torch.stack(numbers), indices, bad, boxes=torch.from_numpy(np.stack(boxes)))
