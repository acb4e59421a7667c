"""What a run will need: parameters, and memory for them and for the activations of a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from swav_cli.core.plan import make_model
from swav_cli.recipe.schema import Recipe, settled


class Estimate(NamedTuple):
    parameters: int
    backbone_parameters: int
    weights_bytes: int  # weights, gradients and the optimiser's state, in float32
    activations_bytes: int  # of one part of a batch, in the run's precision


def estimate(recipe: Recipe) -> Estimate:
    """Counted by sending crops of no content through the network, without computing anything."""
    with torch.device("meta"):
        model = make_model(recipe)
    parameters = sum(p.numel() for p in model.parameters())
    head = sum(p.numel() for name, p in model.named_parameters() if name.startswith(("projection", "prototypes")))
    states = 4 if recipe.optimizer.name == "adamw" else 3
    batch = settled(recipe.training.batch_size)
    pictures = batch // recipe.training.accumulate
    values = _activations(model, recipe) * pictures
    size = 2 if recipe.training.precision == "bf16" else 8 if recipe.training.precision == "float64" else 4
    return Estimate(parameters, parameters - head, parameters * 4 * states, values * size)


def _activations(model: nn.Module, recipe: Recipe) -> int:
    """Values that convolutions, normalisations and linear layers of one picture's crops keep for the backward pass."""
    kept = 0

    def count(_: nn.Module, __: object, output: Tensor) -> None:
        nonlocal kept
        kept += output.numel()

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.MaxPool2d)):
            module.register_forward_hook(count)
    model.eval()
    crops = [
        torch.empty(1, recipe.data.channels, crop.size, crop.size, device="meta")
        for crop in recipe.crops
        for _ in range(crop.count)
    ]
    with torch.no_grad():
        model(crops)
    return kept
