"""Does an exported model say what ours says? Pictures to ask it about, our own answers, and how far they differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from swav_cli.core.model import SwAV
from swav_cli.core.weights import About, Model
from swav_cli.data.shapes import shape_picture
from swav_cli.errors import UserError
from swav_cli.exports.formats import ExportRequest

Reader = Callable[[Tensor], dict[str, Tensor]]  # an exported model, loaded: pictures to the layers it gives


class Difference(NamedTuple):
    """How far a layer of an exported model is from ours on one batch."""

    shape: tuple[int, int, int]  # pictures, height, width
    layer: str
    largest: float  # of all its numbers, as they are
    values: float  # the largest of our own, without its sign

    @property
    def relative(self) -> float:
        """What is judged: the largest difference, divided by the largest value where that is above 1.

        The last digits of float32 stand for more where values are larger: features of up to 160, as random weights make
        a ResNet-50 give, move by more than 1e-4 with the order of summation, and nothing is wrong. Each layer is judged
        by its own values, so that large features excuse nothing in cosines.
        """
        return self.largest / max(1.0, self.values)


def answer(network: SwAV, layer: str, x: Tensor) -> Tensor:  # x: (B, C, H, W) normalised, of the weights' dtype
    """What our own network gives at a layer; `logits` beside those that can be exported."""
    if layer == "pooled":
        return network.features(x)
    if layer == "embedding":
        return network.embed(x)
    if layer == "scores":
        return network.score(network.embed(x).to(network.prototypes.weight.dtype))
    logits = network.logits(x)
    return logits if layer == "logits" else F.softmax(logits.float(), dim=1)


def sample(about: About, count: int, height: int, width: int) -> Tensor:  # (count, C, height, width) uint8
    """Drawn pictures with noise on them, the last one noise alone."""
    random = torch.Generator().manual_seed(count)
    drawn = torch.stack([shape_picture(0, "val", index) for index in range(count)]).float()
    pictures = F.interpolate(drawn, (height, width), mode="bilinear", antialias=True)
    pictures = pictures[:, [channel % 3 for channel in range(about.channels)]]
    pictures = pictures + 10 * torch.randn(pictures.shape, generator=random)
    if count > 1:
        pictures[-1] = 128 + 60 * torch.randn(pictures[-1].shape, generator=random)
    return pictures.clamp(0, 255).to(torch.uint8)


def normalise(pictures: Tensor, about: About) -> Tensor:  # uint8 -> float32
    mean, std = (torch.tensor(values)[:, None, None] for values in (about.mean, about.std))
    return (pictures.float() / 255 - mean) / std


def timm_facts(network: SwAV) -> dict[str, Any]:
    """What timm says of a backbone of its own; nothing of a ResNet of ours."""
    facts: Any = getattr(network.backbone, "pretrained_cfg", {}) if network.has("backbone") else {}
    return dict(facts)


def takes_any_size(network: SwAV) -> bool:
    """All but those networks of timm whose position embedding belongs to one size."""
    return not timm_facts(network).get("fixed_input_size", False)


def compare(model: Model, read: Reader, request: ExportRequest) -> list[Difference]:
    """On one picture, on seven, and for a graph on pictures of another height and width where it takes them.

    A graph of a fixed batch is asked for two of them.

    Every number of every layer that the export gives is compared.

    Raises:
        UserError: the exported model gives something else.
    """
    network, about = model.network, model.about
    size = about.size
    shapes = [(1, size, size), (7, size, size)]
    if request.kind.is_graph and takes_any_size(network):
        shapes.append((2, size + size // 4, size + size // 8 + 3))
    batches = [sample(about, *shape) for shape in shapes]
    if request.static:
        batches = list(sample(about, 2 * request.static, size, size).split(request.static))
    differences = []
    for pictures in batches:
        shape = (len(pictures), *pictures.shape[2:])
        x = normalise(pictures, about)
        with torch.no_grad():
            theirs = read(pictures if request.preprocess else x)
            ours = {layer: answer(network, layer, x) for layer in theirs}
        found = [_difference(shape, layer, own, theirs[layer]) for layer, own in ours.items()]
        differences += found
        for difference in found:
            # Written so that a NaN fails too.
            if not difference.relative <= request.tolerance:
                raise UserError(
                    f"the exported model differs from ours by {difference.largest:.1e} in {difference.layer} on a "
                    f"batch of {shape[0]} (values up to {difference.values:.2g}, so relative "
                    f"{difference.relative:.1e}), and {request.tolerance:.0e} is allowed; nothing was kept"
                )
    return differences


def _difference(shape: tuple[int, int, int], layer: str, ours: Tensor, theirs: Tensor) -> Difference:
    if theirs.shape != ours.shape:
        raise UserError(f"{layer}: {tuple(theirs.shape)} where ours is {tuple(ours.shape)}; nothing was kept")
    return Difference(shape, layer, float((theirs.float() - ours).abs().max()), float(ours.abs().max()))
