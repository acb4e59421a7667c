"""Layers of a network as functions of pictures, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from swav_cli.core.model import SwAV
from swav_cli.core.stages import feature_map, map_names
from swav_cli.errors import UserError, nearest

SCALES = (1.0, 2**-0.5, 0.5)  # of the size, whose features are averaged as retrieval does

Function = Callable[[Tensor], Tensor]


def layers_of(model: SwAV) -> list[str]:
    """Names of what the network can give of a picture; a network that others trained may lack some."""
    found = ["pooled"]
    found += ["embedding"] if model.has("projection_head") else []
    found += ["scores"] if model.has("prototypes") else []
    found += ["logits", "probabilities"] if model.has("fc") else []
    return [*found, *map_names(model)]


def layer_function(model: SwAV, layer: str, *, normalize: bool = False, multi_scale: bool = False) -> Function:
    """Pictures (B, C, H, W) to that layer's output: (B, F), or (B, C', H', W') of a feature map.

    Args:
        normalize: each picture's output gets length 1.
        multi_scale: the mean over pictures of three sizes, `SCALES`.

    Raises:
        UserError: the network has no such layer.
    """
    known = layers_of(model)
    if layer not in known:
        raise UserError(_no_such_layer(layer, known))
    is_map = layer in map_names(model)
    if multi_scale and is_map:
        raise UserError(f"--multi-scale: a feature map ({layer}) has another size at each scale; leave one out")
    function: Function
    if is_map:
        function = feature_map(model, layer)
    else:
        function = {
            "pooled": model.features,
            "embedding": model.embed,
            "scores": model.scores,
            "logits": model.logits,
            "probabilities": lambda x: model.logits(x).float().softmax(dim=1),
        }[layer]
    if multi_scale:
        function = _mean_over_scales(function)
    return _unit_rows(function) if normalize else function


def _no_such_layer(layer: str, known: list[str]) -> str:
    missing = {
        "embedding": "projection head",
        "scores": "prototypes",
        "logits": "classifier",
        "probabilities": "classifier",
    }
    told = f"this model has no {missing[layer]}" if layer in missing else "no such layer"
    return f"--layer {layer}: {told}.{nearest(layer, known)} It has {', '.join(known)}"


def _mean_over_scales(function: Function) -> Function:
    def averaged(x: Tensor) -> Tensor:
        sides = [round(scale * x.shape[-1]) for scale in SCALES]
        sizes = [x if side == x.shape[-1] else F.interpolate(x, (side, side), mode="bilinear") for side in sides]
        return torch.stack([function(each).float() for each in sizes]).mean(dim=0)

    return averaged


def _unit_rows(function: Function) -> Function:
    def normalized(x: Tensor) -> Tensor:
        values = function(x).float()
        return F.normalize(values.flatten(1), dim=1).view(values.shape)

    return normalized
