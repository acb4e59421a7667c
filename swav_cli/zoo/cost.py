"""What a network costs: parameters, and multiply-adds of one picture as mmpretrain's tables count them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from swav_cli.core.model import SwAV
from swav_cli.core.weights import About


def parameters(about: About) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in about.build().parameters())


def flops(about: About) -> int:
    """Multiply-adds of the backbone for one picture of `about.size`.

    As counted by fvcore and mmengine on a feature extractor in eval mode: a multiply-add is one, a normalisation takes
    two for each number (scale and shift), activations and the stem's pooling nothing. The last pooling (one for each
    number that goes in) belongs to networks with a classifier, whose own linear layer is left out: mmpretrain measures
    the way to the features alone. ResNet-50 at 224 pixels: 4,109,364,224, and 4,109,464,576 with the pooling.
    """
    total = 0

    def count(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += made.numel() * module.weight[0].numel()
        elif isinstance(module, nn.BatchNorm2d):
            total += 2 * given[0].numel()
        elif isinstance(module, nn.AdaptiveAvgPool2d) and about.classes:
            total += given[0].numel()

    with torch.device("meta"):
        model: SwAV = about.build()
        picture = torch.empty(1, about.channels, about.size, about.size)
    for module in model.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        model.eval().features(picture)
    return total
