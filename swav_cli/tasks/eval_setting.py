"""A model that is judged, how it is run, and the pictures it is judged by: what all ways of `swav eval` share."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from swav_cli.core.weights import Model, weights_digest
from swav_cli.data.labelled import labels_of, match_classes, train_and_val_in
from swav_cli.data.pictures import Limited, Pictures
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.neighbours import Labelled
from swav_cli.evaluate.representation import Representation, check_features, represent
from swav_cli.evaluate.unread import Unread
from swav_cli.parallel.agreement import refuse_disagreement
from swav_cli.report.console import Screen
from swav_cli.run.newest import newest_run
from swav_cli.run.pictures import named_by, of_the_run, pretraining_of, training_pictures
from swav_cli.run.seen import pictures_seen
from swav_cli.zoo.load import load_model

LOOKED_AT = 25_600  # pictures without labels among which features are looked at: RankMe's number


class Setting(NamedTuple):
    """A model and how it is run."""

    model: Model
    how: Inference
    screen: Screen
    names_unread: bool = True  # say which pictures can't be read


def open_setting(model: str | Path | None, how: Inference, screen: Screen, linear: str | Path | None = None) -> Setting:
    """A model on its device."""
    source = str(model) if model is not None else newest_run(screen.notice)
    return Setting(load_model(source, linear=linear, notice=screen.notice).to(how.device), how, screen)


def refuse_disagreeing_inputs(setting: Setting, queries: Pictures, bank: Pictures | None = None) -> None:
    """
    Raises:
        UserError: processes would judge different models, or by different pictures.
    """
    refuse_disagreement(
        lambda: {
            "model": f"weights {weights_digest(setting.model)[:8]}",
            **pictures_seen("to judge by", queries),
            **pictures_seen("to learn from", bank),
        }
    )


def pictures_for_features(setting: Setting, data: str | None, bank: str | None) -> Labelled:
    """Pictures to judge by and to learn from: those that are named, else those of the model's run."""
    channels = setting.model.about.channels
    if data is None:
        if bank is not None:
            raise UserError(f"--bank {bank}: goes with --data, the pictures to judge by")
        return _pictures_of_run(setting)
    parts = train_and_val_in(data) if bank is None else None
    if parts:
        bank, data = parts
    elif bank is None and data.startswith(("torchvision:", "shapes")):
        bank = data
    told = setting.screen.indexing
    queries = open_pictures(data, "val", channels=channels, progress=told)
    labels_of(queries)
    return _labelled(queries, open_pictures(bank, "train", channels=channels, progress=told) if bank else None)


def _pictures_of_run(setting: Setting) -> Labelled:
    recipe = pretraining_of(setting.model.name)
    if recipe is None:
        raise UserError(f"{setting.model.name}: belongs to no run whose pictures could judge it; name some with --data")
    if recipe.data.val is not None:
        told = setting.screen.indexing
        return _labelled(*(named_by(recipe, setting.model.name, part, told) for part in ("val", "train")))
    setting.screen.notice("its run names no labelled pictures, so nothing is said of classes; name some with --data")
    with of_the_run(setting.model.name):
        return Labelled(Limited(training_pictures(recipe, setting.screen.indexing), LOOKED_AT, 0), None, None, None)


def _labelled(queries: Pictures, bank: Pictures | None) -> Labelled:
    labels, classes = labels_of(bank or queries)
    matched, _ = match_classes(queries, classes, (bank or queries).source)
    return Labelled(queries, torch.from_numpy(matched), bank, torch.from_numpy(labels))


def represent_pictures(setting: Setting, pictures: Pictures, what: str) -> Representation:
    """This process's share of the pictures, as the network sees them.

    Raises:
        UserError: none of the pictures has features.
    """
    unread = Unread(pictures)
    with setting.screen.working(what) as progress:
        found = represent(setting.model, pictures, setting.how, progress=progress, unread=unread)
    if setting.names_unread:
        unread.tell(setting.screen.notice)
    check_features(found, pictures, setting.model.name, setting.screen.notice)
    return found
