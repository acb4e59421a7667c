"""How often classifiers are right on labelled pictures, each counted once whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from swav_cli.core.weights import About
from swav_cli.data.pictures import Pictures
from swav_cli.evaluate.accuracy import Tally
from swav_cli.evaluate.features import stream_features
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.unread import Unread
from swav_cli.parallel import distributed

Classifiers = Callable[[Tensor], dict[str, Tensor]]  # (B, C, H, W) normalised -> logits (B, classes) by name


def tally(
    classifiers: Classifiers,
    found: dict[str, Tally],  # by the classifiers' names
    pictures: Pictures,
    labels: Tensor,  # (N,)
    about: About,
    how: Inference,
    unread: Unread | None = None,
) -> dict[str, Tally]:
    """Count right and wrong answers of each classifier, all from one pass over the pictures.

    Args:
        unread: gets those that can't be read.
    """
    own = np.array_split(np.arange(len(pictures)), distributed.world_size())[distributed.rank()]

    def function(x: Tensor) -> Tensor:
        logits = classifiers(x)
        return torch.stack([logits[name].float() for name in found], dim=1)

    if len(own):
        for rows in stream_features(function, pictures, about, how, own.tolist()):
            if unread is not None:
                unread.add(rows.bad)
            for position, name in enumerate(found):
                found[name].add(rows.values[:, position], labels[rows.indices])
    return found


def with_mirror_images(classifiers: Classifiers) -> Classifiers:
    """The mean of the probabilities of a picture and its mirror image."""

    def function(x: Tensor) -> dict[str, Tensor]:
        logits, mirrored = classifiers(x), classifiers(x.flip(-1))
        return {name: _mean_of_probabilities(logits[name], mirrored[name]) for name in logits}

    return function


def _mean_of_probabilities(first: Tensor, second: Tensor) -> Tensor:
    """As logits again, and finite: the probability of a class may be 0 in float32."""
    mean = (first.float().softmax(dim=1) + second.float().softmax(dim=1)) / 2
    return mean.clamp_min(torch.finfo(torch.float32).tiny).log()
