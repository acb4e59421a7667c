"""A linear classifier that was saved by itself, joined to the network on whose features it was trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from swav_cli.core.weights import Model
from swav_cli.errors import UserError
from swav_cli.zoo.foreign.layouts import classes_in
from swav_cli.zoo.foreign.pickles import read_foreign
from swav_cli.zoo.foreign.said import class_names
from swav_cli.zoo.foreign.wrappers import tensors_in

NAME = re.compile(r"(?:(?:linear|fc|classifier|last_linear|head|head\.fc)\.)?(weight|bias)")
NORMALISED = re.compile(r"bn\.(weight|bias|running_mean|running_var|num_batches_tracked)")
EPSILON = 1e-5  # of the published evaluation's normalisation before the layer


class Linear(NamedTuple):
    weight: Tensor  # (classes, F)
    bias: Tensor  # (classes,)


def linear_alone(content: Any) -> Linear | None:
    """The classifier in a file that holds nothing else, as the published linear evaluation saves it; else None.

    With a normalisation before it (its --use_bn), both are folded into one layer, which gives the same.
    """
    tensors = tensors_in(content)
    found = {match[1]: tensor for key, tensor in tensors.items() if (match := NAME.fullmatch(key))}
    norm = {match[1]: tensor for key, tensor in tensors.items() if (match := NORMALISED.fullmatch(key))}
    weight = found.get("weight")
    if weight is None or weight.dim() != 2 or len(found) + len(norm) != len(tensors):
        return None
    weight = weight.float()
    bias = found.get("bias", weight.new_zeros(len(weight))).float()
    if "running_mean" not in norm:
        return Linear(weight, bias) if not norm else None
    scale = norm.get("weight", torch.ones(())) / (norm["running_var"] + EPSILON).sqrt()
    shift = norm.get("bias", torch.zeros(())) - norm["running_mean"] * scale
    return Linear(weight * scale, bias + weight @ shift)


def read_linear(path: Path) -> tuple[Linear, tuple[str, ...]]:
    """The linear layer of a file, and the names of its classes where the file gives them.

    Raises:
        UserError: no such file, or one that holds something else.
    """
    content = read_foreign(path)
    linear = linear_alone(content)
    if linear is None:
        first = ", ".join(list(tensors_in(content))[:3]) or "none"
        raise UserError(
            f"--linear {path}: no linear layer alone (its first keys: {first}); one with its network is a model"
        )
    return linear, classes_in(content) if isinstance(content, Mapping) else ()


def joined(model: Model, path: Path) -> tuple[Model, str]:
    """The model with the file's linear layer as its classifier, and what was done in words.

    Raises:
        UserError: it was trained on features of another width.
    """
    linear, names = read_linear(path)
    classes, width = linear.weight.shape
    about = model.about
    if width != model.network.feature_dim:
        raise UserError(
            f"--linear {path}: takes {width:,} features, and {about.source or about.backbone} ({about.backbone}) gives "
            f"{model.network.feature_dim:,}; name the model that it was trained on"
        )
    described = replace(about, classes=class_names(names, classes))
    network = described.build()
    network.load_state_dict({**model.network.state_dict(), "fc.weight": linear.weight, "fc.bias": linear.bias})
    before = f" in place of that of {len(about.classes)}" if about.classes else ""
    zeros = "" if bool(linear.weight.any()) else ", which is all zeros"
    return Model(network, described), f"{path}: classifier of {classes:,} classes joined{before}{zeros}"
