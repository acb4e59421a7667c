"""How good a model is: what `swav eval` does. A classifier by its answers; another by what its features tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from swav_cli.core.device import joined_on
from swav_cli.core.weights import Model
from swav_cli.data.inputs import refuse_to_replace
from swav_cli.data.labelled import match_classes, train_and_val_in
from swav_cli.data.pictures import Limited, Pictures, tell
from swav_cli.data.reading.cache import cached
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError, counted
from swav_cli.evaluate.accuracy import Tally, refuse_no_answers
from swav_cli.evaluate.classification import tally, with_mirror_images
from swav_cli.evaluate.clustering.agreement import agreement, usage
from swav_cli.evaluate.geometry import alignment, rankme, uniformity
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.neighbours import Labelled, neighbours, pixels_compare
from swav_cli.evaluate.representation import Representation, gathered, raw_pixels, two_views
from swav_cli.evaluate.unread import Unread
from swav_cli.parallel import distributed
from swav_cli.parallel.processes import first_decides
from swav_cli.recipe.classifier_schema import ClassifierRecipe
from swav_cli.recipe.schema import Recipe
from swav_cli.recipe.sections import AugmentRecipe
from swav_cli.report.classifier import judged_at
from swav_cli.report.confusion import save_confusion
from swav_cli.report.console import Screen
from swav_cli.report.judgement import describe_classifier, describe_features
from swav_cli.run.pictures import of_the_run, pretraining_of, recipe_of, run_of
from swav_cli.run.results import add_results
from swav_cli.tasks.classifier_job import held_out_by
from swav_cli.tasks.eval_setting import (
    Setting,
    open_setting,
    pictures_for_features,
    refuse_disagreeing_inputs,
    represent_pictures,
)
from swav_cli.tasks.eval_svm import judge_by_svm

KS, TEMPERATURES = (10, 20, 100, 200), (0.07, 0.1)
PAIRED = 1_000  # pictures of which two views are compared
VIEWS = (0.14, 1.0)  # of the picture's area, where no recipe says otherwise


def judge(
    model: str | Path | None = None,
    *,
    linear: str | Path | None = None,
    data: str | None = None,
    bank: str | None = None,
    flip: bool = False,
    svm: bool = False,
    plot: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Judge a model; what `swav eval --json` prints, and what joins its run's `results.json`.

    >>> sorted(judge("runs/quickstart", data="photos/"))
    ['bank', 'judged_by', 'kind', 'learnt', 'model', 'pictures', 'protocol', 'raw_pixels', 'untrained']

    A classifier: top-1 and top-5 on labelled pictures. Another model: k-NN and clusters against labels where there are
    labels, and always numbers that need none, beside those of an untrained network of the same shape. Of either, with
    `svm`, what `judge_by_svm` tells.

    Args:
        model, linear: what `load_model` takes; what is found of a model with another's classifier joins no run.
        data: labelled pictures to judge by; those of the model's run where nothing is said.
        bank: labelled pictures that k-NN learns from; the rest of `data` where nothing is said.
        flip: answers of a classifier are the mean over a picture and its mirror image.
        svm: train linear SVMs on the features, by `bank`.
        plot: where a classifier's confusion is drawn.

    Raises:
        UserError: no such model or pictures, or a class that the model does not know.
    """
    screen = screen or Screen()
    if svm:
        _refuse_with_svm(flip, plot, linear)
        return judge_by_svm(
            model, data=data, bank=bank, device=device, precision=precision, batch_size=batch_size, workers=workers,
            screen=screen,
        )  # fmt: skip
    with joined_on(device):
        setting = open_setting(model, Inference.wanted(device, precision, batch_size, workers), screen, linear)
        if setting.model.about.classes:
            found = _judge_classifier(setting, data, flip, plot)
        else:
            _refuse_for_features(flip, plot)
            found = _judge_features(setting, data, bank)
        run = run_of(setting.model.name) if linear is None else None
        if run is not None and distributed.is_writer():
            add_results(run, "eval", found, screen.notice)
        return found


def _refuse_with_svm(flip: bool, plot: Path | None, linear: str | Path | None) -> None:
    for option, given in (("--tta", flip), ("--plot", plot is not None), ("--linear", linear is not None)):
        if given:
            raise UserError(f"{option} and --svm exclude each other; leave one out")


def _refuse_for_features(flip: bool, plot: Path | None) -> None:
    for option, wanted in (("--tta", flip), ("--plot", plot is not None)):
        if wanted:
            raise UserError(
                f"{option}: is of classifiers, and this model has none; train one on it with: swav linear-eval"
            )


# --- classifiers ------------------------------------------------------------------------------------------------------


def _judge_classifier(setting: Setting, data: str | None, flip: bool, plot: Path | None) -> dict[str, Any]:
    about = setting.model.about
    pictures = _pictures_for_classifier(setting, data)
    if plot is not None:
        refuse_to_replace((), pictures, [plot])
    tell(pictures, setting.screen.notice)
    labels, missing = match_classes(pictures, list(about.classes), setting.model.name)
    if missing:
        setting.screen.notice(
            f"{pictures.source}: {len(missing):,} of {len(about.classes):,} classes do not occur there, "
            f"first {missing[0]}"
        )
    refuse_disagreeing_inputs(setting, pictures)
    unread = Unread(pictures)

    def classifier(x: Tensor) -> dict[str, Tensor]:
        return {"": setting.model.network.logits(x)}

    with setting.screen.working(counted(len(pictures), "picture")):
        found = tally(
            with_mirror_images(classifier) if flip else classifier, {"": Tally(len(about.classes))}, pictures,
            torch.from_numpy(labels), about, setting.how, unread,
        )[""]  # fmt: skip
    unread.tell(setting.screen.notice)
    refuse_no_answers(found, pictures, setting.model.name)
    results = {
        "model": setting.model.name,
        "kind": "classifier",
        "judged_by": pictures.source,
        "classes": len(about.classes),
        "missing_classes": missing,
        **found.summary(),
        "majority_class": 100 * float(found.confusion.sum(dim=1).max()) / max(1, found.count),
        "per_class": dict(zip(about.classes, found.per_class(), strict=True)),
        "protocol": f"{judged_at(about)}, {setting.how.precision}" + (", mean with the mirror image" if flip else ""),
    }
    if plot is not None and distributed.is_writer():
        save_confusion(plot, found.confusion, list(about.classes), setting.model.name)
        setting.screen.notice(f"wrote {plot}")
    setting.screen.notice(describe_classifier(results))
    return results


def _pictures_for_classifier(setting: Setting, data: str | None) -> Pictures:
    channels = setting.model.about.channels
    if data is not None:
        parts = train_and_val_in(data)
        named = parts[1] if parts else data
        return open_pictures(named, "val", channels=channels, progress=setting.screen.indexing)
    recipe = recipe_of(setting.model.name)
    if not isinstance(recipe, ClassifierRecipe):
        raise UserError(f"{setting.model.name}: belongs to no run whose pictures could judge it; name some with --data")
    with of_the_run(setting.model.name):
        return held_out_by(recipe, channels, setting.screen)


# --- features ---------------------------------------------------------------------------------------------------------


def _judge_features(setting: Setting, data: str | None, bank: str | None) -> dict[str, Any]:
    labelled = pictures_for_features(setting, data, bank)
    refuse_disagreeing_inputs(setting, labelled.queries, labelled.bank)
    for side in (labelled.bank, labelled.queries):
        if side is not None:
            tell(side, setting.screen.notice)
    with setting.screen.working("reading pictures"):
        labelled = _in_memory(labelled)  # each is looked at several times
    queries = labelled.queries
    untrained = setting._replace(model=_untrained(setting), names_unread=False)
    learnt = _numbers(setting, labelled, "learnt")
    before = _numbers(untrained, labelled, "untrained")
    results: dict[str, Any] = {
        "model": setting.model.name,
        "kind": "features",
        "judged_by": queries.source,
        "pictures": len(queries),
        "bank": labelled.bank.source if labelled.bank is not None else None,
        "learnt": learnt,
        "untrained": before,
        "protocol": f"cosine k-NN on pooled features, votes weigh exp(cosine / T); {judged_at(setting.model.about)}, "
        f"{setting.how.precision}",
    }
    if labelled.query_labels is not None and pixels_compare(labelled, setting.model.about):
        results["raw_pixels"] = {"knn": _knn_of_pixels(setting, labelled)}
    setting.screen.notice(describe_features(results))
    return results


def _in_memory(labelled: Labelled) -> Labelled:
    """Pictures decoded once where they fit."""
    bank = labelled.bank
    return replace(
        labelled,
        queries=cached(labelled.queries, "auto"),
        bank=cached(bank, "auto") if bank is not None else None,
    )


def _untrained(setting: Setting) -> Model:
    """The same network, with weights that are always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = setting.model.about.build()
    return Model(network, setting.model.about, setting.model.name).to(setting.how.device)


def _numbers(setting: Setting, labelled: Labelled, whose: str) -> dict[str, Any]:
    """All that is read from one network's features."""
    what = f"{whose}: features of {counted(len(labelled.queries), 'picture')}"
    asked = represent_pictures(setting, labelled.queries, what)
    found: dict[str, Any] = {"unread": asked.unread}
    if labelled.query_labels is not None:
        found["knn"] = _knn(setting, labelled, asked, whose)
    whole = gathered(asked)
    with setting.screen.working(f"{whose}: clusters and rank"):
        found |= first_decides(lambda: _shape_of(setting, labelled, whole))
    with setting.screen.working(f"{whose}: two views of {counted(min(PAIRED, len(labelled.queries)), 'picture')}"):
        found["alignment"] = first_decides(lambda: _alignment(setting, labelled.queries))
    return found


def _shape_of(setting: Setting, labelled: Labelled, asked: Representation) -> dict[str, Any]:
    """Numbers that all rows together give: clusters, rank and uniformity."""
    found: dict[str, Any] = {}
    if setting.model.about.prototypes:
        found["prototypes"] = usage(asked.nearest, setting.model.about.prototypes)._asdict()
        if labelled.query_labels is not None:
            found["clusters"] = agreement(asked.nearest, labelled.query_labels[asked.rows])._asdict()
    found["rank"] = rankme(asked.pooled, setting.how.device)
    embedded = setting.model.about.embedding_dim > 0
    if embedded:
        found["rank_of_embeddings"] = rankme(asked.embedding, setting.how.device)
    found["uniformity"] = uniformity(asked.embedding if embedded else asked.pooled)
    return found


def _knn(setting: Setting, labelled: Labelled, asked: Representation, whose: str) -> list[dict[str, Any]]:
    bank = asked
    if labelled.bank is not None:
        bank = represent_pictures(
            setting, labelled.bank, f"{whose}: features of {counted(len(labelled.bank), 'picture')} to learn from"
        )
    what = f"{whose}: neighbours of {len(labelled.queries):,} among {len(labelled.taught_by):,}"
    with setting.screen.working(what) as progress:
        found = neighbours(labelled, bank, asked, KS, TEMPERATURES, setting.how.device, progress)
    return [each._asdict() for each in found]


def _knn_of_pixels(setting: Setting, labelled: Labelled) -> list[dict[str, Any]]:
    with setting.screen.working("raw pixels"):
        bank, asked = (
            raw_pixels(pictures, setting.model.about, setting.how)
            for pictures in (labelled.taught_by, labelled.queries)
        )
        found = neighbours(labelled, bank, asked, KS, TEMPERATURES, setting.how.device)
    return [each._asdict() for each in found]


def _alignment(setting: Setting, queries: Pictures) -> float:
    recipe = pretraining_of(setting.model.name)
    scale, augment = _augmentation(recipe)
    drawn = Limited(queries, PAIRED, 0) if len(queries) > PAIRED else queries
    views = two_views(setting.model, drawn, scale, augment, setting.how)
    return alignment(*views)


def _augmentation(recipe: Recipe | None) -> tuple[tuple[float, float], AugmentRecipe]:
    """Of the run's assigned crops, else the published one's."""
    if recipe is None:
        return VIEWS, AugmentRecipe()
    return next(crop.scale for crop in recipe.crops if crop.assign), recipe.augment
