"""Flip, colour jitter, grayscale, blur and normalisation of whole batches, on the device that trains.

The numbers come from `multicrop.draw_colours`, one row a crop. The operations are PIL's as torchvision's transforms
use them, in floating point: an operation's result is clipped to the range of a picture but not rounded to 8 bits.
"""

from __future__ import annotations

import math

import torch
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

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as PIL's conversion to "L"


def recolour(
    crops: Tensor,  # (N, C, H, W) uint8, on the training device
    numbers: Tensor,  # (N, COLUMNS) float32, on the CPU: which crops an operation concerns is known without waiting
    mean: Tensor,  # (C,), 0 to 1
    std: Tensor,  # (C,)
) -> Tensor:  # (N, C, H, W) float32, normalised
    """Crops as the network sees them. Colour operations need three channels; on others flip and blur are left."""
    x = crops.float() / 255
    x = _flip(x, numbers[:, FLIP])
    if x.shape[1] == 3:
        x = _jitter(x, numbers)
        x = _grayscale(x, numbers[:, GRAY])
    x = _blur(x, numbers[:, SIGMA])
    return (x - mean[:, None, None]) / std[:, None, None]


def _rows(chosen: Tensor, device: torch.device) -> Tensor:
    return chosen.nonzero().flatten().to(device, non_blocking=True)


def _flip(x: Tensor, flips: Tensor) -> Tensor:
    rows = _rows(flips > 0, x.device)
    return x.index_copy(0, rows, x[rows].flip(-1))


def _gray(x: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, 1, H, W)
    red, green, blue = LUMA
    return red * x[:, 0:1] + green * x[:, 1:2] + blue * x[:, 2:3]


def _grayscale(x: Tensor, grays: Tensor) -> Tensor:
    rows = _rows(grays > 0, x.device)
    return x.index_copy(0, rows, _gray(x[rows]).expand(-1, 3, -1, -1))


def _jitter(x: Tensor, numbers: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue, each crop in its own order."""
    for place in range(JITTERS):
        operation = numbers[:, FIRST_JITTER + place]  # which of the four each crop does now
        for which, column in enumerate((BRIGHTNESS, CONTRAST, SATURATION)):
            own = (operation == which) & (numbers[:, column] != 1)
            rows = _rows(own, x.device)
            if len(rows):
                factor = numbers[own, column].to(x.device, non_blocking=True)[:, None, None, None]
                x = x.index_copy(0, rows, _blend(x[rows], column, factor))
        own = (operation == HUE - BRIGHTNESS) & (numbers[:, HUE] != 0)
        rows = _rows(own, x.device)
        if len(rows):
            x = x.index_copy(0, rows, _turn_hue(x[rows], numbers[own, HUE].to(x.device, non_blocking=True)))
    return x


def _blend(x: Tensor, column: int, factor: Tensor) -> Tensor:
    """PIL's ImageEnhance: away from black (brightness), the mean gray (contrast) or the pixel's gray (saturation)."""
    if column == BRIGHTNESS:
        return (x * factor).clamp_(0, 1)
    gray = _gray(x)
    if column == CONTRAST:
        gray = ((gray.mean(dim=(1, 2, 3), keepdim=True) * 255).round()) / 255  # PIL takes a whole number
    return torch.lerp(gray, x, factor).clamp_(0, 1)


def _turn_hue(x: Tensor, turns: Tensor) -> Tensor:  # turns: (N,), parts of the circle
    """Turn the colour circle: RGB to hue, turned, and back, at the same value and saturation."""
    highest, lowest = x.amax(dim=1), x.amin(dim=1)
    chroma = highest - lowest
    red, green, blue = x.unbind(dim=1)
    safe = chroma.clamp(min=1e-8)
    sixth = torch.where(
        highest == red,
        (green - blue) / safe,
        torch.where(highest == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixth = sixth + 6 * turns[:, None, None]
    channels = []
    for offset in (5, 3, 1):  # each channel is the value less the chroma times a trapezoid of the hue
        k = (offset + sixth) % 6
        channels.append(highest - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, dim=1)


def _blur(x: Tensor, sigmas: Tensor) -> Tensor:
    """Gaussian blur, each crop with its own sigma, as a product with one matrix a side; edges repeat."""
    own = sigmas > 0
    rows = _rows(own, x.device)
    if not len(rows):
        return x
    chosen = x[rows]
    sigma = sigmas[own].to(x.device, non_blocking=True)
    radius = math.ceil(3 * float(sigmas.max()))
    down = blur_matrices(sigma, x.shape[2], radius)[:, None]
    across = blur_matrices(sigma, x.shape[3], radius)[:, None]
    return x.index_copy(0, rows, down @ chosen @ across.transpose(2, 3))


def blur_matrices(sigmas: Tensor, length: int, radius: int) -> Tensor:  # (N,) -> (N, length, length)
    """Row i holds the weights with which the pixels of a line, `radius` to each side, make up its blurred pixel i."""
    offsets = torch.arange(-radius, radius + 1, device=sigmas.device)
    weights = torch.exp(-0.5 * (offsets / sigmas[:, None]) ** 2)
    weights = weights / weights.sum(dim=1, keepdim=True)
    pixels = torch.arange(length, device=sigmas.device)
    sources = (pixels[:, None] + offsets).clamp(0, length - 1)  # (length, taps): beyond the edge, the edge
    matrices = torch.zeros(len(sigmas), length, length, device=sigmas.device)
    return matrices.scatter_add_(
        2, sources.expand(len(sigmas), -1, -1), weights[:, None].expand(-1, length, -1)
    )
