"""Some pictures that a run looks at after each epoch, always the same ones: what the network makes of them."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import torch
from torch import Tensor

from swav_cli.core.health import Seen
from swav_cli.core.model import SwAV
from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.precision import autocast, memory_format
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Crops, epoch_order
from swav_cli.recipe.schema import AugmentRecipe, Recipe, settled

MOST, SHARE = 256, 0.02  # pictures, and of all of them: a pass over so many costs less than a hundredth of an epoch
LEAST = 16
COMPARED = 32  # of these pictures, with each other


class Sample:
    """A crop each of some pictures, in memory; drawn by the run's seed, the same however often the run is stopped."""

    def __init__(self, recipe: Recipe, pictures: Pictures) -> None:
        count = min(len(pictures), MOST, max(LEAST, int(SHARE * len(pictures))))
        crop = next(crop for crop in recipe.crops if crop.assign).model_copy(update={"count": 1})
        plain = AugmentRecipe(flip=0, jitter=0, grayscale=0, blur=0)
        chosen = epoch_order(len(pictures), recipe.training.seed, 0)[:count]
        draw = MultiCrop([crop], plain, recipe.training.seed)
        self.distinct = _distinct(pictures, [int(index) for index in chosen[:COMPARED]])
        self.crops = Crops(pictures, draw).__getitems__([(0, int(index)) for index in chosen]).crops[0][:, 0]
        self.mean, self.std = settled(recipe.data.mean), settled(recipe.data.std)
        self.precision = recipe.training.precision
        self.nearest: Tensor | None = None  # at the last look

    @torch.no_grad()
    def look(self, model: SwAV, device: torch.device) -> Seen:
        """Leaves the model in eval mode."""
        model.eval()
        weight = model.prototypes.weight
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (self.mean, self.std))
        found = []
        for crops in self.crops.split(64):
            x = ((crops.to(device).float() / 255 - mean) / std).to(weight.dtype)
            with autocast(device, self.precision):
                features = model.features(x.contiguous(memory_format=memory_format(device)))
                found.append((features.to(weight.dtype), model.similarity(model.project(features)).argmax(dim=1)))
        features, nearest = torch.cat([each for each, _ in found]), torch.cat([each for _, each in found]).cpu()
        kept = None if self.nearest is None else float((nearest == self.nearest).float().mean())
        self.nearest = nearest
        return Seen(features, nearest, kept, self.distinct)


def _distinct(pictures: Pictures, chosen: list[int]) -> float:
    """Share of pictures that are no copy of another, pixel by pixel; of those that can be read."""
    digests = []
    for index in chosen:
        with suppress(BadPicture):
            digests.append(hashlib.sha256(pictures.read(index).contiguous().numpy().tobytes()).digest())
    return len(set(digests)) / max(1, len(digests))
