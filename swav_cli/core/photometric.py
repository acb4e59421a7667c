"""Flip, colour jitter, grayscale, blur and normalisation of whole batches, on the device that trains.

The numbers come from `multicrop.draw_colours`, one row a crop. The operations are PIL's as torchvision's transforms
use them, down to where PIL drops fractions: it cuts every blend to whole grey levels, which darkens a picture by half a
level each time, and keeps hue and saturation in 8 bits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from swav_cli.core.multicrop import (
    BRIGHTNESS,
    CONTRAST,
    FIRST_JITTER,
    FLIP,
    GRAY,
    HUE,
    JITTERS,
    SATURATION,
    SIGMA,
)
from swav_cli.core.transfer import moved

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as PIL's conversion to "L"
NEUTRAL = {BRIGHTNESS: 1.0, CONTRAST: 1.0, SATURATION: 1.0, HUE: 0.0}  # what changes nothing
JITTERS_OF = {1: (BRIGHTNESS, CONTRAST), 3: (BRIGHTNESS, CONTRAST, SATURATION, HUE)}  # by the number of channels


def recolour(
    crops: Tensor,  # (N, C, H, W) uint8, on the training device
    numbers: Tensor,  # (N, COLUMNS) float32, on the CPU: which crops an operation concerns is known without waiting
    mean: Tensor,  # (C,), 0 to 1
    std: Tensor,  # (C,)
) -> Tensor:  # (N, C, H, W) float32, normalised
    """Crops as the network sees them. One channel has no hue to turn; more than three are only flipped and blurred.

    >>> white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    >>> numbers = torch.tensor([[0, 0.5, 1, 1, 0, 0, 0, 0, 1, 2, 3]])    # half as bright, and nothing else
    >>> recolour(white, numbers, mean=torch.full((3,), 0.5), std=torch.full((3,), 0.25))[0, :, 0, 0]
    tensor([-0.0078, -0.0078, -0.0078])
    """
    x = crops.to(torch.float32, memory_format=torch.contiguous_format, copy=True)  # in grey levels, 0 to 255
    _flip(x, numbers[:, FLIP])
    _jitter(x, numbers)
    if x.shape[1] == 3:
        _grayscale(x, numbers[:, GRAY])
    _blur(x, numbers[:, SIGMA])
    return x.sub_(255 * mean[:, None, None]).div_(255 * std[:, None, None])


# Each of these changes the crops that it concerns in place: a copy of the batch for each would take most of the time.


def _rows(chosen: Tensor, device: torch.device) -> Tensor:
    return moved(chosen.nonzero().flatten(), device)


def _flip(x: Tensor, flips: Tensor) -> None:
    rows = _rows(flips > 0, x.device)
    x.index_copy_(0, rows, x[rows].flip(-1))


def _gray(x: Tensor) -> Tensor:  # (N, 1 or 3, H, W) -> (N, 1, H, W), whole grey levels
    if x.shape[1] == 1:
        return x
    red, green, blue = LUMA
    return (red * x[:, 0:1]).add_(x[:, 1:2], alpha=green).add_(x[:, 2:3], alpha=blue).round_()


def _grayscale(x: Tensor, grays: Tensor) -> None:
    rows = _rows(grays > 0, x.device)
    x.index_copy_(0, rows, _gray(x[rows]).expand(-1, 3, -1, -1))


def _jitter(x: Tensor, numbers: Tensor) -> None:
    """Brightness, contrast, saturation and hue, each crop in its own order."""
    for place in range(JITTERS):
        column_now = numbers[:, FIRST_JITTER + place] + BRIGHTNESS  # which of the four each crop does now
        for column in JITTERS_OF.get(x.shape[1], ()):
            own = (column_now == column) & (numbers[:, column] != NEUTRAL[column])
            rows = _rows(own, x.device)
            if len(rows):
                strengths = moved(numbers[own, column], x.device)[:, None, None]
                changed = _turn_hue(x[rows], strengths) if column == HUE else _blend(x[rows], strengths, column)
                x.index_copy_(0, rows, changed)


def _blend(x: Tensor, factors: Tensor, column: int) -> Tensor:  # factors: (N, 1, 1)
    """PIL's ImageEnhance: away from black (brightness), the mean gray (contrast) or the pixel's gray (saturation)."""
    factors = factors[:, None]
    if column == BRIGHTNESS:
        return x.mul_(factors).clamp_(0, 255).floor_()
    gray = _gray(x)
    if column == CONTRAST:
        gray = gray.mean(dim=(1, 2, 3), keepdim=True).add_(0.5).floor_()
    return x.sub_(gray).mul_(factors).add_(gray).clamp_(0, 255).floor_()


def _turn_hue(x: Tensor, turns: Tensor) -> Tensor:  # turns: (N, 1, 1), parts of the circle
    """Turn the colour circle: RGB to hue, turned, and back, at the same value and nearly the same saturation."""
    value, lowest = x.amax(dim=1), x.amin(dim=1)
    chroma = value - lowest
    red, green, blue = x.unbind(dim=1)
    sixths = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, (blue - red).add_(chroma, alpha=2), (red - green).add_(chroma, alpha=4)),
    ).div_(chroma.clamp(min=1))
    hue = sixths.div_(6).remainder_(1).mul_(255).floor_()  # 0 to 255
    turned = hue.add_((turns * 255).trunc_()).remainder_(256).mul_(6 / 255)  # again 0 to 6
    chroma = chroma.mul_(255).div_(value.clamp(min=1)).floor_().mul_(value).div_(255)  # its saturation in 8 bits
    lowest = value.sub_(chroma)
    return torch.stack(  # a channel is a trapezoid over the hue
        [
            torch.addcmul(lowest, chroma, (turned - 3).abs_().sub_(1).clamp_(0, 1)),
            torch.addcmul(lowest, chroma, (turned - 2).abs_().neg_().add_(2).clamp_(0, 1)),
            torch.addcmul(lowest, chroma, (turned - 4).abs_().neg_().add_(2).clamp_(0, 1)),
        ],
        dim=1,
    ).round_()


def _blur(x: Tensor, sigmas: Tensor) -> None:
    """Gaussian blur, each crop with its own sigma, as a product with one matrix a side; edges repeat."""
    own = sigmas > 0
    rows = _rows(own, x.device)
    if not len(rows):
        return
    weights = moved(blur_weights(sigmas[own]), x.device)
    down = blur_matrices(weights, x.shape[2])[:, None]
    across = blur_matrices(weights, x.shape[3])[:, None]
    x.index_copy_(0, rows, down @ x[rows] @ across.transpose(2, 3))


def blur_weights(sigmas: Tensor) -> Tensor:  # (N,), above 0 -> (N, taps), an odd number of taps
    """PIL's GaussianBlur on a line: a box, whose ends count in part, three times over, of the Gaussian's variance."""
    variance = sigmas.double()[:, None] ** 2
    whole = ((4 * variance + 1).sqrt().sub(1) / 2).floor()  # pixels to each side that count in full
    part = (2 * whole + 1) * (whole * (whole + 1) - variance) / (2 * variance - 6 * (whole + 1) ** 2)
    reach = int(whole.max()) + 1
    offsets = torch.arange(-3 * reach, 3 * reach + 1).abs()
    box = (whole + part + 1 - offsets).clamp(0, 1)
    box = box / box.sum(dim=1, keepdim=True)
    weights = box
    for _ in range(2):
        weights = F.conv1d(weights[None], box[:, None], padding=3 * reach, groups=len(box))[0]
    return weights.float()


def blur_matrices(weights: Tensor, length: int) -> Tensor:  # (N, taps) -> (N, length, length)
    """Row i holds the weights with which the pixels of a line make up its blurred pixel i."""
    count, taps = weights.shape
    pixels = torch.arange(length, device=weights.device)
    offsets = torch.arange(taps, device=weights.device) - taps // 2
    sources = (pixels[:, None] + offsets).clamp(0, length - 1)  # (length, taps): beyond the edge, the edge
    matrices = torch.zeros(count, length, length, device=weights.device)
    return matrices.scatter_add_(2, sources.expand(count, -1, -1), weights[:, None].expand(-1, length, -1))
