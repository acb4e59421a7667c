"""What a run will need: parameters, and memory for them and for the activations of a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from swav_cli.core.model import SwAV
from swav_cli.core.plan import make_model
from swav_cli.recipe.schema import Recipe, settled

# What steps on a processor took against what is counted here: 1.0 times (narrow networks) to 1.4 (ResNet-50); beside
# it, what the libraries take once they compute.
ACTIVATIONS_TAKE = 1.4
LIBRARIES_TAKE = 0.5e9  # bytes


class Estimate(NamedTuple):
    parameters: int
    backbone_parameters: int
    weights_bytes: int  # weights, gradients and the optimiser's state, in float32
    activations: int  # values of one part of a batch that are kept for the backward pass
    activations_bytes: int  # of these, in the run's precision


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
    return Estimate(parameters, parameters - head, parameters * 4 * states, values, values * size)


def processor_bytes(needs: Estimate, pictures: int, counted: int) -> float:
    """Memory of a run on a processor, with so many pictures at a time, rather more than less.

    Args:
        counted: pictures at a time for which the needs were estimated.
    """
    return LIBRARIES_TAKE + needs.weights_bytes + ACTIVATIONS_TAKE * needs.activations_bytes * pictures / counted


class DiskEstimate(NamedTuple):
    checkpoint_bytes: int
    run_bytes: int  # the most that a run's folder takes: the last two checkpoints, the next, those kept, the weights


def estimate_disk(recipe: Recipe, needs: Estimate, pictures: int) -> DiskEstimate:
    """What a run writes. A checkpoint holds weights, the optimiser's memory, and the queue or an epoch's embeddings."""
    weights = 4 * needs.parameters
    kept = pictures if recipe.objective == "deepcluster2" else settled(recipe.loss.queue.length)
    embeddings = 4 * len(recipe.assigned_crops) * kept * recipe.model.embedding_dim
    checkpoint = needs.weights_bytes - weights + embeddings  # no gradients
    every = recipe.checkpoint.keep_epochs
    for_good = settled(recipe.training.epochs) // every if every else 0
    return DiskEstimate(checkpoint, checkpoint * (3 + for_good) + weights)


def _activations(model: SwAV, recipe: Recipe) -> int:
    """Values that convolutions, normalisations and linear layers of one picture's crops keep for the backward pass.

    Where blocks are computed anew: what is outside of them, their inputs, and once the insides of the largest. (timm's
    networks, which choose for themselves what is computed anew, are counted whole: they take less.)
    """
    counted = Counted()
    recomputes = recipe.training.checkpoint_activations and not model.has("backbone")
    stages = (model.layer1, model.layer2, model.layer3, model.layer4) if recomputes else ()
    blocks = [block for stage in stages for block in stage]
    inside = {module for block in blocks for module in block.modules()}
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.MaxPool2d)):
            module.register_forward_hook(counted.inside if module in inside else counted.kept_of)
    for block in blocks:
        block.register_forward_hook(counted.block)
    model.eval()
    channels = recipe.data.channels
    crops = [torch.empty(crop.count, channels, crop.size, crop.size, device="meta") for crop in recipe.crops]
    with torch.no_grad():
        model(crops)
    if recipe.objective == "deepcluster2":  # the network computes the scores of one head, and the loss those of all
        counted.kept += recipe.loss.clusters.heads * recipe.crop_count * settled(recipe.model.prototypes)
    return counted.kept + counted.largest_block


class Counted:
    """Adds up the outputs of layers, whose hooks it is."""

    def __init__(self) -> None:
        self.kept = self.largest_block = self._within = 0

    def kept_of(self, _: nn.Module, __: object, output: Tensor) -> None:
        self.kept += output.numel()

    def inside(self, _: nn.Module, __: object, output: Tensor) -> None:
        self._within += output.numel()

    def block(self, _: nn.Module, inputs: tuple[Tensor], __: object) -> None:
        self.kept += inputs[0].numel()
        self.largest_block, self._within = max(self.largest_block, self._within), 0
