"""ResNet backbones (arXiv 1512.03385) of any depth, width and stem, with the names of published checkpoints.

The blocks are our own, since `import torchvision` takes as long as `import torch` does; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from swav_cli.recipe.architectures import ARCHITECTURES, Stem


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a way past them (section 3.3): `downsample`, or the input itself.

    Args:
        channels: channels that come in.
        planes: channels that go out.
        stride: of the first convolution.
        downsample: brings the input to the output's shape, where the two differ.
    """

    expansion = 1

    def __init__(self, channels: int, planes: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = _convolution(3, channels, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _convolution(3, planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:  # (B, channels, H, W) -> (B, planes, H / stride, W / stride)
        passed = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += passed
        rectified: Tensor = self.relu(x)
        return rectified


class Bottleneck(nn.Module):
    """1x1 to fewer channels, 3x3, and 1x1 to four times `planes` (section 4.1), with a way past them.

    The stride stands at the 3x3 convolution, as in all published SwAV weights, where the paper has it at the first.

    Args:
        channels: channels that come in.
        planes: a quarter of the channels that go out.
        stride: of the 3x3 convolution.
        downsample: brings the input to the output's shape, where the two differ.
        inner: channels of the 3x3 convolution; `planes` where it is left out.
    """

    expansion = 4

    def __init__(
        self, channels: int, planes: int, stride: int = 1, downsample: nn.Module | None = None, inner: int | None = None
    ) -> None:
        super().__init__()
        inner = inner or planes
        self.conv1 = _convolution(1, channels, inner)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = _convolution(3, inner, inner, stride)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = _convolution(1, inner, planes * self.expansion)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:  # (B, channels, H, W) -> (B, 4 planes, H / stride, W / stride)
        passed = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x += passed
        rectified: Tensor = self.relu(x)
        return rectified


def _convolution(size: int, channels: int, out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, size, stride, padding=size // 2, bias=False)


class ResNet(nn.Module):
    """The backbone: a residual network (arXiv 1512.03385) without its classifier. `SwAV` adds a head to it.

    Args:
        name: one of `ARCHITECTURES`.
        width: channels of the stem; 64 is the usual one. `resnet50w2` multiplies it by two, and so on.
        stem: `imagenet` (7x7, stride 2, pooling) or `small` (3x3, stride 1, no pooling; for pictures up to about 64);
            `small_pad2` is `small` with the padding of solo-learn's networks, 2 where 1 keeps the size.
        channels: channels of the pictures.
        zero_init_residual: the last normalisation of each block starts at zero, so that a block starts as the identity.
    """

    def __init__(
        self,
        name: str,
        width: int = 64,
        stem: Stem = "imagenet",
        channels: int = 3,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        kind, layers, widen, bottleneck_width = ARCHITECTURES[name]
        block = BasicBlock if kind == "basic" else Bottleneck
        planes = width * widen
        self._inplanes = planes
        self._inner = bottleneck_width / 64  # of a bottleneck, in planes
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(channels, planes, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            padding = 2 if stem == "small_pad2" else 1
            self.conv1 = nn.Conv2d(channels, planes, 3, stride=1, padding=padding, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(block, planes, layers[0], stride=1)
        self.layer2 = self._stage(block, planes * 2, layers[1], stride=2)
        self.layer3 = self._stage(block, planes * 4, layers[2], stride=2)
        self.layer4 = self._stage(block, planes * 8, layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.feature_dim = planes * 8 * block.expansion
        self.recomputes_blocks = False
        self._initialise(zero_init_residual)

    def _stage(self, block: type[BasicBlock] | type[Bottleneck], planes: int, count: int, stride: int) -> nn.Sequential:
        out = planes * block.expansion
        downsample = None
        if stride != 1 or self._inplanes != out:
            downsample = nn.Sequential(_convolution(1, self._inplanes, out, stride), nn.BatchNorm2d(out))
        make: Callable[..., nn.Module] = block
        if block is Bottleneck:
            make = partial(Bottleneck, inner=int(planes * self._inner))
        blocks = [make(self._inplanes, planes, stride, downsample)]
        self._inplanes = out
        blocks += [make(out, planes) for _ in range(count - 1)]
        return nn.Sequential(*blocks)

    def _initialise(self, zero_init_residual: bool) -> None:
        if self.conv1.weight.is_meta:  # to be loaded; torch would import its compiler to draw numbers that nobody keeps
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                nn.init.zeros_(last.weight)

    def features(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, F)
        """Pooled features: what is used once training is over."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = _recomputed(stage, x) if self.recomputes_blocks and torch.is_grad_enabled() else stage(x)
        return torch.flatten(self.avgpool(x), 1)


def _recomputed(blocks: nn.Sequential, x: Tensor) -> Tensor:
    """The blocks one after another, each of which keeps its input alone for the backward pass."""
    from torch.utils.checkpoint import checkpoint

    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)  # nothing in a block is drawn
    return x
