"""The ResNets that can be trained, as numbers; `resnet.py` builds them."""

from __future__ import annotations

from typing import Literal, NamedTuple

Stem = Literal["imagenet", "small", "small_pad2"]  # 7x7 with pooling; 3x3; 3x3 that pads by 2, as solo-learn's does


class Architecture(NamedTuple):
    block: Literal["basic", "bottleneck"]
    layers: tuple[int, int, int, int]  # blocks in each stage
    widen: int = 1  # all channels, as in resnet50w2
    bottleneck_width: int = 64  # inner channels of a block alone, as in wide_resnet50_2


ARCHITECTURES = {
    "resnet18": Architecture("basic", (2, 2, 2, 2)),
    "resnet34": Architecture("basic", (3, 4, 6, 3)),
    "resnet50": Architecture("bottleneck", (3, 4, 6, 3)),
    "resnet101": Architecture("bottleneck", (3, 4, 23, 3)),
    "resnet152": Architecture("bottleneck", (3, 8, 36, 3)),
    "wide_resnet50_2": Architecture("bottleneck", (3, 4, 6, 3), bottleneck_width=128),
    "resnet50w2": Architecture("bottleneck", (3, 4, 6, 3), widen=2),
    "resnet50w4": Architecture("bottleneck", (3, 4, 6, 3), widen=4),
    "resnet50w5": Architecture("bottleneck", (3, 4, 6, 3), widen=5),
}
