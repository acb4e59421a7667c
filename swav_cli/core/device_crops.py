"""Pictures kept on the device that trains, and crops cut from them there: `data.cache: device`.

Processes that read then draw nothing but numbers. The boxes are theirs, and so is the arithmetic, of whole numbers:
torch resizes pictures of 8 bits with weights of 16 bits, first across, then down, rounded to levels after each. In the
products of matrices below no sum is rounded, so that each crop is the one that `multicrop.cut` cuts, level for level.
(On Apple's GPUs, which have no float64, a weight in some thousands may differ by one part in 2^15.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from swav_cli.core.transfer import moved
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.cache import CachedPictures, bytes_needed
from swav_cli.errors import UserError
from swav_cli.recipe.sections import CropRecipe

MOST_BITS = 22  # by which weights are enlarged at most; as many fit into 15 bits and a sign
EXACT_IN_FLOAT32 = 1.9  # times smaller: up to here sums stay below 2^24
AT_ONCE = 2**24  # numbers of a step in between


class DeviceCrops:
    """Cuts the crops of a batch from pictures on the device.

    >>> from swav_cli.data.sources import open_pictures
    >>> pictures = CachedPictures(open_pictures("shapes:2"), threads=1)
    >>> cut = DeviceCrops(pictures, [CropRecipe(count=2, size=16, scale=(0.2, 1))], torch.device("cpu"))
    >>> boxes = torch.tensor([[[1, 0, 0, 20, 24], [1, 8, 8, 30, 20]]])    # two of picture 1: top, left, height, width
    >>> [tuple(crops.shape) for crops in cut(boxes)]
    [(1, 2, 3, 16, 16)]

    Args:
        kinds: of crops, in the order of a picture's boxes.
    """

    def __init__(self, pictures: CachedPictures, kinds: Sequence[CropRecipe], device: torch.device) -> None:
        self.kinds, self.device, self.channels = kinds, device, pictures.channels
        self.pixels = pictures.block.to(device)
        self.starts = torch.from_numpy(pictures.ends[:-1]).to(device)
        self.sides = pictures.shapes.max(axis=1)  # the longer ones; on the processor, which knows sizes without waiting
        self.widths = torch.from_numpy(pictures.shapes[:, 1].astype(np.int64)).to(device)
        self.precise = torch.float32 if device.type == "mps" else torch.float64

    def __call__(
        self, boxes: Tensor
    ) -> list[Tensor]:  # (B, V, 5), on the CPU -> of each kind (B, count, C, size, size)
        """The crops as they come from processes that read, uint8, on the device.

        Args:
            boxes: of each crop its picture's number, top, left, height and width.
        """
        frame = int(self.sides[boxes[:, 0, 0].numpy()].max())
        there = moved(boxes, self.device)
        crops, first = [], 0
        for kind in self.kinds:
            own = slice(first, first + kind.count)
            first = own.stop
            smaller = float(boxes[:, own, 3:].max()) / kind.size
            exact = self.precise if smaller > EXACT_IN_FLOAT32 else torch.float32
            count = max(1, AT_ONCE // (kind.count * kind.size * frame * max(2, self.channels)))
            parts = [self._cut(part, kind.size, frame, exact) for part in there[:, own].split(count)]
            crops.append(torch.cat(parts) if len(parts) > 1 else parts[0])
        return crops

    def _cut(self, boxes: Tensor, size: int, frame: int, exact: torch.dtype) -> Tensor:
        across, down = resizing(boxes[..., 1:3].flip(-1), boxes[..., 3:5].flip(-1), size, frame, self.precise)
        x = self._pictures(boxes[:, 0, 0], frame).to(exact)  # (B, W, H C)
        x = _rounded(across.weights.to(exact).flatten(1, 2) @ x, across.bits.flatten(1, 2))  # (B, count size, H C)
        x = x.view(*boxes.shape[:2], size, frame, self.channels).transpose(2, 3).flatten(3)  # (B, count, H, size C)
        x = _rounded(down.weights.to(exact) @ x, down.bits)  # (B, count, size, size C)
        return x.to(torch.uint8).view(*boxes.shape[:2], size, size, self.channels).permute(0, 1, 4, 2, 3)

    def _pictures(self, numbers: Tensor, frame: int) -> Tensor:  # (B,) -> (B, frame, frame C): column after column
        """Each in the corner of a square; what lies beside it is of other pictures, and has no weight in any crop."""
        places = torch.arange(frame, device=self.device)
        pixel = places[:, None] + places * self.widths[numbers][:, None, None]  # (B, x, y)
        values = (self.starts[numbers][:, None, None] + pixel * self.channels)[..., None] + torch.arange(
            self.channels, device=self.device
        )
        return self.pixels[values.clamp_(max=len(self.pixels) - 1)].flatten(2)


class Resizing:
    """Along one axis: `weights` (B, count, size, frame), whole numbers, and by how many `bits` (B, count, size, 1)."""

    def __init__(self, weights: Tensor, bits: Tensor) -> None:
        self.weights, self.bits = weights, bits


def resizing(starts: Tensor, lengths: Tensor, size: int, frame: int, precise: torch.dtype) -> list[Resizing]:
    """How much each pixel of a line has to do with each of a crop's, across and down, as torch counts it in 16 bits.

    Args:
        starts, lengths: of boxes, (B, count, 2), left before top.
    """
    length = lengths.to(precise)[..., None, None]
    scale = length / size
    reach = scale.clamp(min=1)
    middle = scale * (torch.arange(size, device=starts.device, dtype=precise) + 0.5)[:, None]
    taps = (torch.arange(frame, device=starts.device) - starts[..., None, None]).to(precise)
    first, last = (middle - reach + 0.5).trunc_().clamp_(min=0), (middle + reach + 0.5).trunc_()
    weights = (1 - ((taps - middle + 0.5) / reach).abs_()).clamp_(min=0)  # (B, count, 2, size, frame)
    weights *= (taps >= first) & (taps < torch.minimum(last, length))
    weights /= weights.sum(dim=-1, keepdim=True)
    powers = torch.arange(1, MOST_BITS + 1, device=starts.device, dtype=precise)
    largest = weights.amax(dim=(-2, -1), keepdim=True)
    bits = (largest * powers.exp2() + 0.5 < 2**15).sum(dim=-1, keepdim=True).to(precise)
    weights = weights.mul_(bits.exp2()).add_(0.5).floor_()
    bits = bits.expand(*weights.shape[:-1], 1)
    return [Resizing(weights[:, :, axis], bits[:, :, axis]) for axis in range(2)]


def _rounded(sums: Tensor, bits: Tensor) -> Tensor:
    """In whole levels."""
    return sums.div_(bits.exp2().to(sums.dtype)).add_(0.5).floor_().clamp_(0, 255)


def check_room(pictures: Pictures, device: torch.device) -> None:
    """
    Raises:
        UserError: the pictures alone take more than the device has.
    """
    if device.type != "cuda":
        return  # whose memory is the processor's, which is looked at where they are read
    needed, free = bytes_needed(pictures), torch.cuda.mem_get_info(device)[0]
    if needed > free:
        raise UserError(
            f"data.cache (device): {pictures.source} takes about {needed / 1e9:.1f} GB, of which {device} has "
            f"{free / 1e9:.1f} free; set it to auto"
        )
