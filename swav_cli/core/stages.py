"""Feature maps inside a network, by name; and several of them, pooled, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from swav_cli.core.model import SwAV
from swav_cli.errors import UserError, nearest

STEM = "maxpool"  # its output is what enters layer1
POOLED = "pooled"
MAPS = ("stem", "layer1", "layer2", "layer3", "layer4")  # of a ResNet, in the order in which they are computed


def map_names(model: SwAV) -> tuple[str, ...]:
    """Names of the network's feature maps, in the order in which they are computed.

    Those of timm are timm's own: `stages.3` of a ConvNeXt, `s4` of a RegNet, `blocks.11` of a vision transformer.
    """
    if not model.has("backbone"):
        return MAPS
    told: Any = getattr(model.backbone, "feature_info", None) or []
    return tuple(stage["module"] for stage in getattr(told, "info", told)) if _gives_maps(model.backbone) else ()


def feature_map(model: SwAV, name: str) -> Callable[[Tensor], Tensor]:  # (B, C, H, W) -> (B, C', H', W')
    """One of `map_names` as a function that computes no more than it needs.

    A transformer's tokens are laid out as the patches that they stand for; its class token is left out.
    """
    position = map_names(model).index(name)

    def of_resnet(x: Tensor) -> Tensor:
        x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
        for stage in MAPS[1 : position + 1]:
            x = getattr(model, stage)(x)
        return x

    def of_timm(x: Tensor) -> Tensor:
        backbone: Any = model.backbone
        found: Tensor = backbone.forward_intermediates(
            x, indices=[position], stop_early=True, intermediates_only=True, output_fmt="NCHW"
        )[0]
        return found

    return of_timm if model.has("backbone") else of_resnet


def _gives_maps(backbone: nn.Module) -> bool:
    return hasattr(backbone, "forward_intermediates")


class Stages:
    """Feature maps by name, each averaged over its places, beside the network's own pooled features.

    >>> model = SwAV("resnet18", width=16, stem="small").eval()
    >>> found = Stages(model, ["layer3"])(torch.rand(2, 3, 32, 32))
    >>> {layer: tuple(rows.shape) for layer, rows in found.items()}
    {'layer3': (2, 64), 'pooled': (2, 128)}

    Args:
        layers: modules of the backbone by name, such as layer3; `stem` is what enters layer1.

    Raises:
        UserError: the network has no such layer.
    """

    def __init__(self, model: SwAV, layers: list[str]) -> None:
        self.model, self.layers = model, layers
        self._seen: dict[str, Tensor] = {}
        backbone = getattr(model, "backbone", model)
        self._channels_last = getattr(backbone, "output_fmt", None) == "NHWC"  # as Swin transformers have them
        modules = dict(backbone.named_modules())
        for layer in layers:
            module = modules.get(STEM if layer == "stem" and layer not in modules else layer)
            if module is None or not layer:
                known = map_names(model)
                raise UserError(f"--layers {layer}: no such layer.{nearest(layer, known)} It has {', '.join(known)}")
            module.register_forward_hook(self._keep(layer))

    def _keep(self, layer: str) -> Any:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            self._seen[layer] = output.permute(0, 3, 1, 2) if self._channels_last and output.dim() == 4 else output

        return hook

    def __call__(self, x: Tensor) -> dict[str, Tensor]:  # (B, C, H, W) -> (B, F) each
        pooled = self.model.features(x)
        found = {layer: _averaged(self._seen[layer]) for layer in self.layers}
        self._seen.clear()
        return {**found, POOLED: pooled}

    def sizes(self, channels: int, size: int) -> dict[str, int]:
        """How many features each layer gives."""
        parameter = next(self.model.parameters())
        with torch.no_grad():
            out = self(torch.zeros(1, channels, size, size, device=parameter.device, dtype=parameter.dtype))
        return {layer: values.shape[1] for layer, values in out.items()}


def _averaged(output: Tensor) -> Tensor:
    """Maps (B, C, H, W) over their places, tokens (B, T, C) of a transformer over the tokens."""
    if output.dim() == 4:
        return output.mean(dim=(2, 3))
    return output.mean(dim=1) if output.dim() == 3 else output
