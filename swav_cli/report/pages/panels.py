"""Which curves a report draws, of one run or of several over each other, and what each is to be read as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from swav_cli.recipe.normal import Courses
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.report.pages.curves import COLOURS, DASHES, Curve, Panel
from swav_cli.report.pages.headline import is_finite
from swav_cli.report.pages.subjects import Subject


class Wanted(NamedTuple):
    """A panel before it is known which of its numbers there are."""

    title: str
    hint: str
    by_epoch: Mapping[str, str] = {}  # keys of an epoch's line, with what the curve is called
    by_step: Mapping[str, str] = {}  # keys of a step's line
    unit: float = 1.0  # of what is drawn, in that of the file
    logarithmic: bool = False
    from_zero: bool = True


PRETRAINING = (
    Wanted("Loss, as a share of ln K", "1 is a network that knows nothing; it falls as crops predict each other.",
           {"loss_over_ln_k": "mean of the epoch"}, {"loss_over_ln_k": "steps"}, from_zero=False),
    Wanted("k-NN top-1, %", "How often a picture's nearest neighbours are of its own class.", {"knn": "learnt"}),
    Wanted("Prototypes in use", "Nearest to some picture of the epoch; perplexity: how many are used evenly.",
           {"used_prototypes": "in use", "perplexity": "perplexity"}),
    Wanted("Effective rank", "How many directions are used; near 1 or 2 all pictures look alike.",
           {"rank": "embeddings", "feature_rank": "features"}),
    Wanted("Spread of scores", "How far the scores of different pictures lie apart; near 0 they are all the same.",
           {"spread": "spread"}),
    Wanted("Entropy, as a share of ln K", "1 is flat and tells nothing; codes are to be sharper than predictions.",
           {"code_entropy": "codes", "prediction_entropy": "predictions"}),
    Wanted("Agreement and stability",
           "Share of pictures whose two crops get one code, and that keep their prototype from epoch to epoch.",
           {"agreement": "crops agree", "stability": "kept since the last epoch"}),
    Wanted("Deviation", "1 where vectors lie evenly on the sphere, 0 where all are one.",
           {"deviation": "embeddings", "feature_deviation": "features"}),
    Wanted("Pixels as they reach the network", "About 0 and 1, where data.mean and data.std are the pictures' own.",
           {"pixel_mean": "mean", "pixel_deviation": "deviation"}, from_zero=False),
    Wanted("Age of the queue, epochs", "Of its oldest embeddings; the network has changed since.",
           {"queue_epochs": "age"}),
    Wanted("Twins among the prototypes", "Prototypes that lie on another one.", {"twins": "twins"}),
    Wanted("Norm of the gradient", "Of all weights, and of each part; a jump is a step too large.", {},
           {"gradient_norm": "all", "gradient_norm_backbone": "backbone", "gradient_norm_head": "head",
            "gradient_norm_prototypes": "prototypes"}, logarithmic=True),
)  # fmt: skip
CLASSIFIERS = (
    Wanted("Accuracy on the held-out pictures, %", "The last counts: the best is chosen by what judges it.",
           {"top1": "top-1", "top5": "top-5"}),
    Wanted("Loss", "Cross entropy, in nats.", {"loss": "mean of the epoch"}, {"loss": "steps"}, from_zero=False),
    Wanted("Norm of the gradient", "A jump is a step too large.", {}, {"gradient_norm": "all"}, logarithmic=True),
)  # fmt: skip
OF_BOTH = (
    Wanted("Memory at most, GB", "Of the device, or of this process where a processor computes.",
           {"memory": "memory"}, unit=1e9),
    Wanted("Learning rate", "After scaling by the batch.", {}, {"lr": "rate"}),
    Wanted("Pictures a second", "Through the whole step.", {}, {"images_per_second": "pictures"}),
    Wanted("Share of the time spent waiting for pictures", "Above a tenth, more workers would help.", {},
           {"data_wait": "waiting"}),
)  # fmt: skip
TOLD_ELSEWHERE = {  # no panel of their own
    "seconds", "steps", "distinct", "loss", "loss_over_ln_k", "queue_jump", "queue_sharpening",
}  # fmt: skip


def panels_of(subjects: Sequence[Subject], courses: Courses) -> list[Panel]:
    """The panels for which some of the runs have numbers; those that this version has no words for come last."""
    wanted = [
        *(PRETRAINING if any(subject.is_pretraining for subject in subjects) else ()),
        *(CLASSIFIERS if not all(subject.is_pretraining for subject in subjects) else ()),
        *OF_BOTH,
    ]
    known = {key for each in wanted for key in (*each.by_epoch, *each.by_step)} | TOLD_ELSEWHERE
    for kind in ("epoch", "step"):
        for key in dict.fromkeys(key for subject in subjects for key in subject.numeric_keys(kind)):
            if key not in known:
                words = {key: key.replace("_", " ")}
                by_epoch, by_step = (words, {}) if kind == "epoch" else ({}, words)
                wanted.append(Wanted(key.replace("_", " ").capitalize(), "", by_epoch, by_step))
                known.add(key)
    found = (_panel(each, subjects, courses) for each in wanted)
    return [panel for panel in found if panel.curves]


def _panel(wanted: Wanted, subjects: Sequence[Subject], courses: Courses) -> Panel:
    curves = [curve for number, subject in enumerate(subjects) for curve in _curves(wanted, subject, number, subjects)]
    course = next((courses[key] for key in (*wanted.by_epoch, *wanted.by_step) if key in courses), ())
    return Panel(
        wanted.title,
        wanted.hint,
        curves,
        _levels(wanted, subjects),
        course,
        max(subject.epochs_in_all for subject in subjects),
        wanted.logarithmic and all(_is_positive(curve) for curve in curves),
        wanted.from_zero,
    )


def _is_positive(curve: Curve) -> bool:
    return all(value > 0 for value in curve.values)


def _curves(wanted: Wanted, subject: Subject, number: int, subjects: Sequence[Subject]) -> Iterator[Curve]:
    """Of one run: colours tell its curves apart, and beside other runs colours tell the runs apart."""
    alone = len(subjects) == 1
    clear = len(wanted.by_epoch) or len(wanted.by_step)
    for kind, keys in (("step", wanted.by_step), ("epoch", wanted.by_epoch)):
        for place, (key, words) in enumerate(keys.items()):
            epochs, values = subject.series(key, kind)
            if not values:
                continue
            faint = kind == "step" and bool(wanted.by_epoch)
            label = words if alone else subject.name if clear == 1 or faint else f"{subject.name}, {words}"
            colour = COLOURS[(place if alone else number) % len(COLOURS)]
            values = [value / wanted.unit for value in values]
            yield Curve(label, epochs, values, colour, "solid" if alone else DASHES[place % len(DASHES)], faint)


def _levels(wanted: Wanted, subjects: Sequence[Subject]) -> dict[str, float]:
    """Lines across: what a curve is to be measured by, where all runs have the same."""
    if "loss_over_ln_k" in wanted.by_epoch:
        return {"ln K": 1.0}
    if "used_prototypes" in wanted.by_epoch:
        counts = {s.recipe.model.prototypes for s in subjects if isinstance(s.recipe, Recipe)}
        return {"all of them": float(settled(counts.pop()))} if len(counts) == 1 and "auto" not in counts else {}
    if "knn" in wanted.by_epoch and len(subjects) == 1:
        told = {"raw pixels": "knn_raw_pixels", "untrained": "knn_untrained"}
        results: dict[str, Any] = subjects[0].results
        return {words: results[key] for words, key in told.items() if is_finite(results.get(key))}
    return {}
