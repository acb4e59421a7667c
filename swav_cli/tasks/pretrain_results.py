"""What a run came to: k-NN on labelled pictures, and pictures that belong together."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from swav_cli.core.health import Health
from swav_cli.core.model import SwAV
from swav_cli.core.plan import make_model
from swav_cli.core.swav import Trainer
from swav_cli.core.weights import Model, about
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.labelled import match_classes, why_unlabelled
from swav_cli.data.pictures import Limited, Pictures
from swav_cli.data.reading.cache import cached
from swav_cli.data.reading.loader import pick_readers
from swav_cli.data.shards.streams import StreamPictures
from swav_cli.data.sources import open_pictures
from swav_cli.errors import Told, UserError, silent
from swav_cli.evaluate.found_again import draw_views, found_by
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.neighbours import Labelled, neighbours, pixels_compare
from swav_cli.evaluate.representation import (
    Representation,
    check_features,
    prototype_scores,
    raw_pixels,
    represent,
)
from swav_cli.parallel import distributed
from swav_cli.parallel.processes import first_decides
from swav_cli.planning.budget import PAIRED
from swav_cli.recipe.schema import Recipe
from swav_cli.report.sheet import save_rows
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import read_metrics
from swav_cli.zoo.load import start_from

SHOWN = 10  # prototypes on a sheet, and pictures of each
LOOKED_THROUGH = 5000  # pictures among which those are chosen
FEWEST_PAIRS = 20  # pictures among which one is to be found again
HELD = 1000  # of a stream, which are kept in memory meanwhile


def open_labelled(recipe: Recipe, training: Pictures, progress: Told = silent) -> Labelled:
    """The pictures that a recipe names to judge by, `data.val`, and those that k-NN learns from.

    Raises:
        UserError: pictures without labels, or of a class that the others don't know.
    """
    data = recipe.data
    queries = open_pictures(str(data.val), "val", channels=data.channels, progress=progress)
    bank = open_pictures(data.bank, channels=data.channels, progress=progress) if data.bank else training
    if bank.labels is None or bank.classes is None:
        none = "has no labels for k-NN to learn from; name labelled pictures as data.bank, or leave data.val out"
        raise UserError(f"{bank.source}: {why_unlabelled(bank, none)}")
    query_labels, _ = match_classes(queries, bank.classes, bank.source)
    return Labelled(queries, torch.from_numpy(query_labels), bank, torch.from_numpy(bank.labels))


class Judge:
    """k-NN on labelled pictures, as `swav eval` judges: how well features tell the classes apart.

    Args:
        labelled: pictures that are open already.

    Raises:
        UserError: pictures without labels, or of a class that the others don't know.
    """

    def __init__(
        self,
        recipe: Recipe,
        training: Pictures,
        device: torch.device,
        progress: Told = silent,
        labelled: Labelled | None = None,
    ) -> None:
        self.recipe, self.about = recipe, about(recipe)
        self.how = Inference(device, recipe.training.precision, workers=recipe.training.workers)
        self.labelled = labelled or open_labelled(recipe, training, progress)

    def keep_in_memory(self, training: Pictures) -> None:
        """Queries, and a bank of its own, decoded once; `training` stands in for the bank where that is the same."""
        cache, bank = self.recipe.data.cache, self.labelled.taught_by
        cache = "auto" if cache == "device" else cache  # there for training alone
        self.labelled = replace(
            self.labelled,
            bank=cached(bank, cache) if self.recipe.data.bank else training,
            queries=cached(self.labelled.queries, cache),
        )

    def accuracy(self, model: SwAV, progress: Told = silent) -> float:
        """Per cent.

        Raises:
            UserError: there is nothing to judge by: no picture can be read, or the features are not finite.
        """

        def seen(pictures: Pictures) -> Representation:
            found = represent(Model(model, self.about), pictures, self.how, pooled_only=True, progress=progress)
            check_features(found, pictures, self.recipe.name)
            return found

        return self._knn(seen(self.labelled.taught_by), seen(self.labelled.queries), progress)

    def of_raw_pixels(self) -> float:
        bank, asked = (
            raw_pixels(pictures, self.about, self.how) for pictures in (self.labelled.taught_by, self.labelled.queries)
        )
        return self._knn(bank, asked, silent)

    def _knn(self, bank: Representation, asked: Representation, progress: Told) -> float:
        ks, temperatures = [self.recipe.evaluation.knn_k], [self.recipe.evaluation.knn_temperature]
        return neighbours(self.labelled, bank, asked, ks, temperatures, self.how.device, progress)[0].top1


def show_prototypes(trainer: Trainer, path: Path) -> None:
    """A sheet with a line for each of the most used prototypes: the pictures nearest to it. Processes share the work.

    Raises:
        UserError: it can't be written, or a stream gives no pictures any more.
    """
    if isinstance(trainer.pictures, StreamPictures):  # which the first process alone opens once more
        first_decides(lambda: _alone(trainer, path))
    else:
        _draw_prototypes(trainer, path)


def _alone(trainer: Trainer, path: Path) -> None:
    with distributed.alone():
        _draw_prototypes(trainer, path)


def _draw_prototypes(trainer: Trainer, path: Path) -> None:
    recipe = trainer.recipe
    sample = Limited(trainer.pictures.some(HELD), LOOKED_THROUGH, recipe.training.seed)
    workers = pick_readers(recipe.training.workers, trainer.pictures, trainer.device)
    how = Inference(trainer.device, recipe.training.precision, workers=workers)
    rows, scores = prototype_scores(trainer.trained(), sample, how)
    first_decides(lambda: _save_nearest(path, sample, rows, scores))


def _save_nearest(path: Path, sample: Pictures, rows: Tensor, scores: Tensor) -> None:  # rows: (N,), scores: (N, K)
    if not len(rows):
        raise UserError(f"{sample.source}: none of the pictures looked at can be read")
    nearest = scores.argmax(dim=1).bincount(minlength=scores.shape[1]).argsort(descending=True, stable=True)
    best = rows[scores.topk(min(SHOWN, len(rows)), dim=0).indices]
    save_rows(path, [[_shown(sample, int(index)) for index in best[:, k]] for k in nearest[:SHOWN]])


def _shown(pictures: Pictures, index: int) -> Tensor:
    try:
        return pictures.read(index)
    except BadPicture:  # it could be read a moment ago
        return torch.zeros(pictures.channels, 8, 8, dtype=torch.uint8)


def training_results(trainer: Trainer, folder: RunFolder) -> dict[str, Any]:
    """What is known without judging: the last epoch's loss and health."""
    lines = read_metrics(folder.metrics)
    last_epoch: dict[str, Any] = next((line for line in reversed(lines) if line["kind"] == "epoch"), {})
    share = last_epoch.get("loss_over_ln_k", math.nan)
    return {
        "recipe": trainer.recipe.name,
        "epochs": trainer.recipe.training.epochs,
        "pictures": len(trainer.pictures),
        "loss": share * trainer.plan.ln_k,
        "loss_over_ln_k": share,
        "health": {key: last_epoch.get(key) for key in Health._fields},
        "verdict": last_epoch.get("verdict"),
        "advice": last_epoch.get("advice") or None,
        "bad_pictures": len(trainer.course.bad),
    }


def judged_without_labels(trainer: Trainer) -> dict[str, float]:
    """How often some pictures are found again by another crop: by the trained network, untrained, by raw pixels."""
    recipe = trainer.recipe
    described = about(recipe)
    how = Inference(trainer.device, recipe.training.precision)
    pictures = Limited(trainer.pictures.some(PAIRED), PAIRED, recipe.training.seed)
    networks = {"": trainer.model, **_others(trainer), "_raw_pixels": None}

    def find() -> dict[str, float]:
        views = draw_views(pictures, recipe, described)
        if views.crops.shape[1] < FEWEST_PAIRS:
            return {}
        return {f"found_again{name}": found_by(each, views, described, how) for name, each in networks.items()}

    return first_decides(find)


def _others(trainer: Trainer) -> dict[str, SwAV]:
    """The same network untrained and, where it began with weights that are still there, with those."""
    like = next(trainer.model.parameters())  # its device and its precision
    found = {"_untrained": make_model(trainer.recipe).to(like)}
    if (source := trainer.recipe.model.init_from) is not None:
        with suppress(UserError):
            start = make_model(trainer.recipe)
            start_from(start, source)
            found["_start"] = start.to(like)
    return found


def judged(trainer: Trainer, judge: Judge, progress: Told) -> dict[str, float]:
    """k-NN of the trained network, of what it is compared with, and where pictures are small of their raw pixels."""
    found = {"knn": judge.accuracy(trainer.model, progress)}
    found |= {f"knn{name}": judge.accuracy(other, progress) for name, other in _others(trainer).items()}
    if pixels_compare(judge.labelled, judge.about):
        found["knn_raw_pixels"] = judge.of_raw_pixels()
    return found
