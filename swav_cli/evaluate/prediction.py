"""Which class a picture shows, or which prototype it is nearest to."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F

from swav_cli.core.layers import Function
from swav_cli.core.weights import About, Model
from swav_cli.data.inputs import Source, opened_for
from swav_cli.data.pictures import Pictures
from swav_cli.errors import UserError
from swav_cli.evaluate.answer import Answer, Guess, kind_of
from swav_cli.evaluate.features import Rows, stream_features
from swav_cli.evaluate.inference import Inference

TEMPERATURE = 0.1  # of the softmax over cosines, as in training (section 4 of the paper)


def predict(
    model: Model,
    pictures: Source,
    top_k: int = 5,
    how: Inference | None = None,
) -> Iterator[Answer]:
    """What the model says of each picture, in their order and in constant memory.

    >>> from swav_cli.zoo.load import load_model
    >>> for answer in predict(load_model("runs/quickstart"), "demo/bird.JPEG"):
    ...     print(answer.path, answer.error or len(answer.top))
    demo/bird.JPEG 5

    A model with a classifier gives classes and the softmax of its logits. Another gives prototypes and the softmax of
    cosine / 0.1; that is a plain argmax for each picture by itself, and not the equal shares that training assigns.

    Args:
        pictures: as `open_pictures` or `open_inputs` give them, or what `open_inputs` takes.
        top_k: guesses a picture; as many as there are where that is less.
        how: on which device and the like; None: where the model is. The model is moved there.

    Raises:
        UserError: the model has neither a classifier nor prototypes, or nothing is there to read.
    """
    if top_k < 1:
        raise UserError(f"top_k ({top_k}) is at least 1")
    function = _function(model)
    opened = opened_for(pictures, model.about.channels)
    how = how or Inference.wanted(str(model.device))
    rows = stream_features(function, opened, model.about, how)
    model.to(how.device)
    return (answer for part in rows for answer in _answers_of(part, model.about, opened, top_k))


def _function(model: Model) -> Function:  # (B, C, H, W) -> (B, classes or K)
    network, about = model.network, model.about
    if about.classes:
        return network.logits
    if network.has("prototypes"):
        return lambda x: network.similarity(network.embed(x))
    parts = f"a backbone ({about.backbone})" + (" and a projection head" if network.has("projection_head") else "")
    raise UserError(
        f"{model.name or 'this model'}: has {parts}, but neither a classifier nor prototypes to answer with; "
        "take one that has (--model), or its features with: swav extract"
    )


def _answers_of(part: Rows, about: About, pictures: Pictures, top_k: int) -> Iterator[Answer]:
    clusters = kind_of(about.classes) == "cluster"
    probabilities = F.softmax(part.values / TEMPERATURE if clusters else part.values, dim=1)
    best = probabilities.topk(min(top_k, probabilities.shape[1]), dim=1)
    two = part.values.topk(min(2, part.values.shape[1]), dim=1).values
    reasons = dict(part.bad)
    for row, index in enumerate(part.indices.tolist()):
        path = pictures.name(index)
        if index in reasons:
            yield Answer(index, path, (), error=reasons[index])
        elif not probabilities[row].isfinite().all():
            yield Answer(index, path, (), error="the model's answer is not finite")
        else:
            top = tuple(
                Guess(number, about.classes[number] if about.classes else None, probability)
                for probability, number in zip(best.values[row].tolist(), best.indices[row].tolist(), strict=True)
            )
            margin = float(two[row, 0] - two[row, 1]) if clusters and two.shape[1] == 2 else None
            yield Answer(index, path, top, margin)
