"""Flip, colour jitter, grayscale, blur and normalisation of whole batches, on the device that trains.

The numbers come from `multicrop.draw_colours`, one row a crop. The operations are PIL's as torchvision's transforms
use them, down to where PIL drops fractions: it cuts every blend to whole grey levels, which darkens a picture by half a
level each time, and keeps hue and saturation in 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

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
Operation = Callable[[Tensor, Tensor], Tensor]
AtOnce = Callable[[Tensor, Tensor, Tensor], Tensor]
BLENDS = (CONTRAST, SATURATION, BRIGHTNESS)  # the jitters that go away from a gray
JITTERS_OF = {1: (BRIGHTNESS, CONTRAST), 3: (BRIGHTNESS, CONTRAST, SATURATION, HUE)}  # by the number of channels


def recolour(
    crops: Tensor,  # (N, C, H, W) uint8, on the training device
    numbers: Tensor,  # (N, COLUMNS) float32, on the CPU: which crops an operation concerns is known without waiting
    mean: Tensor,  # (C,), 0 to 1
    std: Tensor,  # (C,)
    at_once: AtOnce | None = None,  # `coloured_at_once`, compiled
) -> Tensor:  # (N, C, H, W) float32, normalised
    """Crops as the network sees them. One channel has no hue to turn; more than three are only flipped and blurred.

    >>> white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    >>> numbers = torch.tensor([[0, 0.5, 1, 1, 0, 0, 0, 0, 1, 2, 3]])    # half as bright, and nothing else
    >>> recolour(white, numbers, mean=torch.full((3,), 0.5), std=torch.full((3,), 0.25))[0, :, 0, 0]
    tensor([-0.0078, -0.0078, -0.0078])
    """
    x = crops.to(torch.float32, memory_format=torch.contiguous_format, copy=True)  # in grey levels, 0 to 255
    told = moved(numbers, x.device)
    if at_once is not None and x.shape[1] == 3:
        x, concerned = at_once(x, told, _trapezoids(x.device)), [*_blurs(numbers, x)]
    else:
        concerned = [*_colours(numbers, x), *_blurs(numbers, x)]
    # Which crops each operation concerns goes to the device in one piece.
    rows = moved(torch.cat([rows for _, rows in concerned]), x.device)
    counts = [len(rows) for _, rows in concerned]
    told = told[rows].split(counts)
    for (operation, _), own, theirs in zip(concerned, rows.split(counts), told, strict=True):
        if len(own):  # changed in place: a copy of the batch for each operation would take most of the time
            x.index_copy_(0, own, operation(x[own], theirs))
    return x.sub_(255 * mean[:, None, None]).div_(255 * std[:, None, None])


def coloured_at_once(x: Tensor, numbers: Tensor, trapezoids: Tensor) -> Tensor:
    """Flip, jitter and gray of all crops, (N, 3, H, W) in grey levels; what does not concern one leaves it as it is.

    For torch.compile, which makes two kernels of each of the four jitters: one for mean grays, one for all the rest.
    """
    each = numbers[:, :, None, None, None]  # (N, COLUMNS, 1, 1, 1)
    x = torch.where(each[:, FLIP] > 0, x.flip(-1), x)
    for place in range(JITTERS):
        now, gray = each[:, FIRST_JITTER + place] + BRIGHTNESS, _gray(x)
        level, factor = torch.zeros_like(gray), each[:, BRIGHTNESS]
        for column, own in ((CONTRAST, _mean(gray)), (SATURATION, gray)):
            level, factor = torch.where(now == column, own, level), torch.where(now == column, each[:, column], factor)
        blended = ((x - level) * factor + level).clamp(0, 255).floor()
        turned = torch.where(each[:, HUE] != NEUTRAL[HUE], _turned(x, numbers[:, HUE], trapezoids), x)
        x = torch.where(now == HUE, turned, blended)
    return torch.where(each[:, GRAY] > 0, _gray(x), x)


def _colours(numbers: Tensor, x: Tensor) -> Iterator[tuple[Operation, Tensor]]:
    """What is done one after another, and the rows that it concerns: flip, jitter in each crop's order, gray."""
    yield _flipped, _rows(numbers[:, FLIP] > 0)
    jitters, none = JITTERS_OF.get(x.shape[1], ()), torch.empty(0, dtype=torch.long)
    for place in range(JITTERS):
        column_now = numbers[:, FIRST_JITTER + place] + BRIGHTNESS  # which of the four each crop does now
        of = {each: _rows((column_now == each) & (numbers[:, each] != NEUTRAL[each])) for each in jitters}
        blends = [of.get(each, none) for each in BLENDS]
        yield partial(_blended, counts=[len(rows) for rows in blends]), torch.cat(blends)
        if HUE in of:
            yield _hue_turned, of[HUE]
    if x.shape[1] == 3:
        yield _grayscaled, _rows(numbers[:, GRAY] > 0)


def _blurs(numbers: Tensor, x: Tensor) -> Iterator[tuple[Operation, Tensor]]:
    """The same, of blur: the last thing that is done."""
    blurred = _rows(numbers[:, SIGMA] > 0)
    weights = moved(blur_weights(numbers[blurred, SIGMA]), x.device) if len(blurred) else x
    yield partial(_blurred, weights=weights), blurred


def _rows(chosen: Tensor) -> Tensor:
    return chosen.nonzero().flatten()


# Each takes some crops, (N, C, H, W) in grey levels, which it may change, and their rows of numbers, (N, COLUMNS).


def _flipped(x: Tensor, numbers: Tensor) -> Tensor:
    return x.flip(-1)


def _gray(x: Tensor) -> Tensor:  # (N, 1 or 3, H, W) -> (N, 1, H, W), whole grey levels
    if x.shape[1] == 1:
        return x
    red, green, blue = LUMA
    return (red * x[:, 0:1]).add_(x[:, 1:2], alpha=green).add_(x[:, 2:3], alpha=blue).round_()


def _grayscaled(x: Tensor, numbers: Tensor) -> Tensor:
    return _gray(x).expand(-1, 3, -1, -1)


def _blended(x: Tensor, numbers: Tensor, counts: list[int]) -> Tensor:
    """PIL's ImageEnhance: each crop by its own factor away from a gray, in whole levels.

    Contrast: from its mean gray; saturation: from each pixel's gray; brightness: from black. So many crops of each come
    one after another, in the order of `BLENDS`; what all three do is done to all of them at once.
    """
    factors = torch.cat([own[:, column] for column, own in zip(BLENDS, numbers.split(counts), strict=True)])
    grayed = x[: counts[0] + counts[1]]
    level = _levels(grayed, counts[0]) if len(grayed) else grayed
    grayed.sub_(level)
    x.mul_(factors[:, None, None, None])
    grayed.add_(level)
    return x.clamp_(0, 255).floor_()


def _mean(gray: Tensor) -> Tensor:  # (N, C, H, W) -> (N, 1, 1, 1), whole grey levels
    return gray.mean(dim=(1, 2, 3), keepdim=True).add_(0.5).floor_()


def _levels(x: Tensor, meant: int) -> Tensor:  # (N, C, H, W) -> (N, 1, H, W), or 1 for H and W
    """Each pixel's gray; of the first so many crops its mean over the crop."""
    gray = _gray(x)
    mean = _mean(gray[:meant])
    if meant == len(x):
        return mean
    gray[:meant] = mean
    return gray


def _hue_turned(x: Tensor, numbers: Tensor) -> Tensor:
    return _turned(x, numbers[:, HUE], _trapezoids(x.device))


def _turned(x: Tensor, turns: Tensor, trapezoids: Tensor) -> Tensor:
    """Turn the colour circle: RGB to hue, turned, and back, at the same value and nearly the same saturation.

    Args:
        turns: (N,), parts of the circle.
    """
    turns = turns[:, None, None]
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
    middle, slope, height = trapezoids.unbind()  # a channel is a trapezoid over the hue
    risen = turned[:, None].sub(middle).abs_().mul_(slope).add_(height).clamp_(0, 1)
    return torch.addcmul(lowest[:, None], chroma[:, None], risen).round_()


@cache
def _trapezoids(device: torch.device) -> Tensor:  # (3, 3, 1, 1)
    """Of red, green and blue: the middle of each trapezoid, in sixths of the circle, its slope and its height there."""
    return moved(torch.tensor([[3.0, 2.0, 4.0], [1.0, -1.0, -1.0], [-1.0, 2.0, 2.0]])[:, :, None, None], device)


def _blurred(x: Tensor, numbers: Tensor, weights: Tensor) -> Tensor:
    """Gaussian blur, each crop with its own sigma, as a product with one matrix a side; edges repeat."""
    down = blur_matrices(weights, x.shape[2])[:, None]
    across = blur_matrices(weights, x.shape[3])[:, None]
    return down @ x @ across.transpose(2, 3)


def blur_weights(sigmas: Tensor) -> Tensor:  # (N,), above 0 -> (N, taps), an odd number of taps
    """PIL's GaussianBlur on a line: a box, whose ends count in part, three times over, of the Gaussian's variance."""
    variance = sigmas.double()[:, None] ** 2
    whole = ((4 * variance + 1).sqrt().sub(1) / 2).floor()  # pixels to each side that count in full
    part = (2 * whole + 1) * (whole * (whole + 1) - variance) / (2 * variance - 6 * (whole + 1) ** 2)
    reach = int(whole.max()) + 1
    box = (whole + part + 1 - torch.arange(-reach, reach + 1).abs()).clamp(0, 1)
    box = box / box.sum(dim=1, keepdim=True)
    weights = box
    for _ in range(2):
        wider = F.pad(weights, (2 * reach, 2 * reach)).unfold(1, 2 * reach + 1, 1)  # (N, taps, 2 reach + 1)
        weights = (wider @ box[:, :, None])[:, :, 0]
    return weights.float()


def blur_matrices(weights: Tensor, length: int) -> Tensor:  # (N, taps) -> (N, length, length)
    """Row i holds the weights with which the pixels of a line make up its blurred pixel i."""
    count, taps = weights.shape
    pixels = torch.arange(length, device=weights.device)
    offsets = torch.arange(taps, device=weights.device) - taps // 2
    sources = (pixels[:, None] + offsets).clamp(0, length - 1)  # (length, taps): beyond the edge, the edge
    matrices = torch.zeros(count, length, length, device=weights.device)
    return matrices.scatter_add_(2, sources.expand(count, -1, -1), weights[:, None].expand(-1, length, -1))
