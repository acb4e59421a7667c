"""Models in Python, in as few words as on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.core.device import pick_device
from swav_cli.core.model import SwAV
from swav_cli.core.weights import About
from swav_cli.data.inputs import open_inputs, with_channels
from swav_cli.data.pictures import Pictures
from swav_cli.errors import UserError
from swav_cli.evaluate import prediction
from swav_cli.evaluate.answer import Answer
from swav_cli.evaluate.features import extract_features, layer_function
from swav_cli.evaluate.inference import Inference
from swav_cli.zoo import load

Source = Pictures | str | Path | Sequence[str | Path]


class Model:
    """A trained network in eval mode, with what is to be known of it.

    >>> from swav_cli import read_picture
    >>> model = load_model("runs/quickstart")
    >>> x = model.prepare(read_picture("demo/bird.JPEG"))
    >>> model.features(x).shape, model.scores(x).shape
    (torch.Size([1, 128]), torch.Size([1, 200]))

    Its methods take pictures (B, C, H, W) as float tensors, normalised with `about.mean` and `about.std`, on any
    device, and give float tensors on the model's device, without gradients.
    """

    def __init__(self, network: SwAV, about: About) -> None:
        self.network, self.about = network.eval(), about

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return next(self.network.parameters()).device

    def features(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, F)
        """Pooled features of the backbone."""
        return self._run("pooled", x)

    def embed(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, D)
        """Projected features of unit length. Raises UserError where the model has no projection head."""
        return self._run("embedding", x)

    def scores(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K)
        """Cosine with each prototype. Raises UserError where the model has none."""
        return self._run("scores", x)

    def classify(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, classes)
        """Probability of each of `about.classes`. Raises UserError where the model has no classifier."""
        return self._run("probabilities", x)

    def prepare(self, picture: Tensor) -> Tensor:  # (C, H, W) uint8 -> (1, C, H, W)
        """A picture, as `read_picture` gives it, normalised for this model."""
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.about.mean, self.about.std))
        return ((picture / 255 - mean) / std)[None]

    def _run(self, layer: str, x: Tensor) -> Tensor:
        function: Callable[[Tensor], Tensor] = layer_function(self.network, layer)
        with torch.no_grad():
            return function(x.to(self.device, next(self.network.parameters()).dtype))


class Features(NamedTuple):
    """A row for each picture, in sorted order; the row of one that can't be read is NaN."""

    features: NDArray[np.float32]  # (N, F)
    paths: list[str]


def load_model(source: str | Path | None = None, device: str = "cpu", linear: str | Path | None = None) -> Model:
    """A model by whatever names it: see `swav_cli.zoo.load.load_model`.

    >>> load_model("runs/quickstart").about.size
    32
    >>> model = load_model("swav-800e", linear="checkpoint.pth.tar")    # doctest: +SKIP

    Args:
        linear: a file of a linear classifier alone, as the published eval_linear.py saves it, to join to the model.

    Raises:
        UserError: no such model, or not a whole one.
    """
    network, about = load.load_model(source, linear=linear)
    return Model(network.to(pick_device(device)), about)


def predict(model: Model, pictures: Source, top_k: int = 5) -> Iterator[Answer]:
    """Classes or clusters of each picture, in their order and in constant memory.

    >>> model = load_model("runs/quickstart")
    >>> for answer in predict(model, "demo/bird.JPEG"):
    ...     print(answer.path, len(answer.top))
    demo/bird.JPEG 5
    """
    return prediction.predict(model.network, model.about, pictures, top_k)


def extract(model: Model, pictures: Source, layer: str = "pooled") -> Features:
    """Features of pictures in memory; `swav_cli.evaluate.extraction.extract` writes any number of them to a file.

    >>> model = load_model("runs/quickstart")
    >>> features, paths = extract(model, "photos/")
    >>> features.shape, paths[0]
    ((40, 128), 'photos/plain/00.png')

    Args:
        pictures: a folder, a file, a list of either, or what `open_pictures` gives.
        layer: pooled, embedding, scores, logits, probabilities, or a feature map.

    Raises:
        UserError: no pictures, or no such layer.
    """
    opened = with_channels(_opened(pictures), model.about.channels)
    how = Inference.wanted(str(model.device))
    rows = extract_features(layer_function(model.network, layer), opened, model.about, how).numpy()
    return Features(rows, [opened.name(index) for index in range(len(opened))])


def _opened(pictures: Source) -> Pictures:
    if isinstance(pictures, Pictures):
        return pictures
    named = [pictures] if isinstance(pictures, (str, Path)) else list(pictures)
    if not named:
        raise UserError("no pictures: an empty list")
    return open_inputs([str(name) for name in named])
