"""What a run came to: k-NN on labelled pictures, and pictures that belong together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from swav_cli.core.checkpoint import RunFolder
from swav_cli.core.engine import Trainer
from swav_cli.core.health import Health
from swav_cli.core.metrics import read_metrics
from swav_cli.core.model import SwAV
from swav_cli.core.plan import make_model
from swav_cli.core.recipe import Recipe, settled
from swav_cli.data.cache import cached
from swav_cli.data.images import BadPicture
from swav_cli.data.loader import pick_workers
from swav_cli.data.pictures import Limited, Pictures
from swav_cli.data.sources import open_pictures
from swav_cli.evaluate.features import SMALL, extract_features, extract_together
from swav_cli.evaluate.knn import knn_accuracy, shared_labels
from swav_cli.report.sheet import save_rows

SHOWN = 10  # prototypes on a sheet, and pictures of each
LOOKED_THROUGH = 5000  # pictures among which those are chosen
HELD = 1000  # of a stream, which are kept in memory meanwhile


class Judge:
    """k-NN on labelled pictures: how well features tell the classes apart."""

    def __init__(self, recipe: Recipe, training: Pictures, device: torch.device) -> None:
        data = recipe.data
        assert data.val is not None
        self.recipe, self.device = recipe, device
        self.queries = open_pictures(data.val, "val", channels=data.channels)
        self.bank = open_pictures(data.bank, channels=data.channels) if data.bank else training
        self.bank_labels, self.query_labels = shared_labels(
            self.bank.labels, self.bank.classes, self.queries.labels, self.queries.classes,
            self.bank.source, self.queries.source,
        )  # fmt: skip
        self.size = max(crop.size for crop in recipe.crops)

    def keep_in_memory(self, training: Pictures, threads: int) -> None:
        """Queries, and a bank of its own, decoded once; `training` stands in for the bank where that is the same."""
        cache = self.recipe.data.cache
        self.bank = cached(self.bank, cache, threads) if self.recipe.data.bank else training
        self.queries = cached(self.queries, cache, threads)

    def accuracy(self, model: SwAV | None) -> float:
        """Per cent; of raw pixels where no model is given."""
        if model is not None:
            model.eval()
        function = model.features if model is not None else torch.nn.Flatten()
        bank, queries = (
            extract_together(
                function, pictures, size=self.size, mean=settled(self.recipe.data.mean),
                std=settled(self.recipe.data.std), device=self.device,
                precision=self.recipe.training.precision,
                workers=pick_workers(self.recipe.training.workers, pictures, self.device),
            )
            for pictures in (self.bank, self.queries)
        )  # fmt: skip
        settings = self.recipe.evaluation
        known, asked = (rows.isfinite().all(dim=1) for rows in (bank, queries))  # without pictures that can't be read
        return knn_accuracy(
            bank[known],
            self.bank_labels[known],
            queries[asked],
            self.query_labels[asked],
            settings.knn_k,
            settings.knn_temperature,
        )


def show_prototypes(trainer: Trainer, path: Path) -> None:
    """A sheet with a line for each of the most used prototypes: the pictures nearest to it."""
    recipe = trainer.recipe
    sample = Limited(trainer.pictures.some(HELD), LOOKED_THROUGH, recipe.training.seed)
    scores = extract_features(
        trainer.model.eval().scores, sample, size=max(crop.size for crop in recipe.crops),
        mean=settled(recipe.data.mean), std=settled(recipe.data.std), device=trainer.device,
        precision=recipe.training.precision,
        workers=pick_workers(recipe.training.workers, trainer.pictures, trainer.device),
    )  # fmt: skip
    nearest = scores.argmax(dim=1).bincount(minlength=scores.shape[1]).argsort(descending=True, stable=True)
    best = scores.topk(min(SHOWN, len(sample)), dim=0).indices
    save_rows(path, [[_shown(sample, int(i)) for i in best[:, k]] for k in nearest[:SHOWN]])


def _shown(pictures: Pictures, index: int) -> Tensor:
    try:
        return pictures.read(index)
    except BadPicture:
        return torch.zeros(pictures.channels, 8, 8, dtype=torch.uint8)


def results_of(trainer: Trainer, judge: Judge | None, folder: RunFolder) -> dict[str, Any]:
    """What `results.json` holds: the last epoch's loss and health, and k-NN where there are labels."""
    lines = read_metrics(folder.metrics)
    last_epoch: dict[str, Any] = next((line for line in reversed(lines) if line["kind"] == "epoch"), {})
    ln_k = math.log(trainer.model.prototypes.out_features)
    share = last_epoch.get("loss_over_ln_k", math.nan)
    results: dict[str, Any] = {
        "recipe": trainer.recipe.name,
        "epochs": trainer.recipe.training.epochs,
        "pictures": len(trainer.pictures),
        "loss": share * ln_k,
        "loss_over_ln_k": share,
        "health": {key: last_epoch.get(key) for key in Health._fields},
        "bad_pictures": len(trainer.course.bad),
    }
    if judge is not None:
        results["knn"] = judge.accuracy(trainer.model)
        untrained = make_model(trainer.recipe).to(next(trainer.model.parameters()))  # its device and its precision
        results["knn_untrained"] = judge.accuracy(untrained)
        if judge.size <= SMALL:
            results["knn_raw_pixels"] = judge.accuracy(None)
    return results
