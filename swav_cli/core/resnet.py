"""ResNet backbones on torchvision's blocks: any depth, width and stem, with the names of published checkpoints."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

from swav_cli.core.architectures import ARCHITECTURES


class ResNet(nn.Module):
    """The backbone: a residual network (arXiv 1512.03385) without its classifier. `SwAV` adds a head to it.

    Args:
        name: one of `ARCHITECTURES`.
        width: channels of the stem; 64 is the usual one. `resnet50w2` multiplies it by two, and so on.
        stem: `imagenet` (7x7, stride 2, pooling) or `small` (3x3, stride 1, no pooling; for pictures up to about 64).
        channels: channels of the pictures.
        zero_init_residual: the last normalisation of each block starts at zero, so that a block starts as the identity.
    """

    def __init__(
        self,
        name: str,
        width: int = 64,
        stem: Literal["imagenet", "small"] = "imagenet",
        channels: int = 3,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        kind, layers, widen, bottleneck_width = ARCHITECTURES[name]
        block = BasicBlock if kind == "basic" else Bottleneck
        planes = width * widen
        self._inplanes = planes
        # torchvision counts a block's inner width in planes / 64 * base_width, so 64 leaves it at `planes`.
        self._base_width = bottleneck_width
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(channels, planes, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(channels, planes, 3, stride=1, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(block, planes, layers[0], stride=1)
        self.layer2 = self._stage(block, planes * 2, layers[1], stride=2)
        self.layer3 = self._stage(block, planes * 4, layers[2], stride=2)
        self.layer4 = self._stage(block, planes * 8, layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.feature_dim = planes * 8 * block.expansion
        self._initialise(zero_init_residual)

    def _stage(self, block: type[BasicBlock] | type[Bottleneck], planes: int, count: int, stride: int) -> nn.Sequential:
        out = planes * block.expansion
        downsample = None
        if stride != 1 or self._inplanes != out:
            downsample = nn.Sequential(conv1x1(self._inplanes, out, stride), nn.BatchNorm2d(out))
        blocks = [block(self._inplanes, planes, stride, downsample, base_width=self._base_width)]
        self._inplanes = out
        blocks += [block(out, planes, base_width=self._base_width) for _ in range(count - 1)]
        return nn.Sequential(*blocks)

    def _initialise(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                nn.init.zeros_(last.weight)

    def features(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, F)
        """Pooled features: what is used once training is over."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(self.avgpool(x), 1)
