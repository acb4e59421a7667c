"""What a report says first: how a run stands, the verdict on it in words, and the numbers that one asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from swav_cli.errors import counted
from swav_cli.recipe.schema import Recipe
from swav_cli.report.pages.subjects import Subject
from swav_cli.report.words import duration

TITLES = {
    "healthy": ("good", "It is learning"),
    "warming up": ("busy", "Warming up"),
    "flat": ("bad", "In trouble: codes have gone flat"),
    "thrown about": ("bad", "In trouble: steps are too large"),
    "narrow": ("bad", "In trouble: embeddings use next to no directions"),
    "stale queue": ("bad", "Less good than it could be: the queue is too old"),
    "not normalised": ("bad", "Less good than it could be: pixels are not normalised"),
}


class Headline(NamedTuple):
    kind: str  # good, busy or bad, as the style has them; empty where nothing is known
    title: str
    words: str


class Number(NamedTuple):
    name: str
    value: str
    beside: str = ""  # what it is to be measured by


def standing_of(subject: Subject) -> str:
    """How far a run has come, in words."""
    known = subject.state
    if known.state == "finished":
        seconds = subject.results.get("seconds")
        return f"finished in {duration(seconds)}" if isinstance(seconds, (int, float)) else "finished"
    done = f"after {len(subject.epochs)} of {counted(subject.epochs_in_all, 'epoch')}"
    if known.is_alive:
        return f"{known.state} when this page was made, {done}"
    ended = {"stopped": "stopped", "diverged": "ended, as its loss was no longer finite,", "failed": "ended by itself"}
    return f"{ended.get(known.state, known.state)} {done}" + (f": {known.why}" if known.why else "")


def headline_of(subject: Subject) -> Headline | None:
    """The verdict of a pretraining run; None for one of a classifier."""
    if not isinstance(subject.recipe, Recipe):
        return None
    last = subject.last
    kind = last.get("verdict")
    if kind is None:
        words = "No epoch has ended yet." if not subject.epochs else "It was trained by an earlier version."
        return Headline("", "No verdict", words)
    colour, title = TITLES.get(kind, ("bad" if last.get("advice") else "", str(kind).capitalize()))
    words = _sentence(last.get("advice") or _in_words(kind, subject.recipe, last))
    return Headline(colour, title, words)


def earlier_trouble(subject: Subject) -> str:
    """What the run was told and has got over since; empty where there is nothing."""
    told = next((line for line in subject.epochs if line.get("advice")), None)
    if told is None or subject.last.get("advice"):
        return ""
    return f"After epoch {told['epoch'] + 1} it was told: {told['advice']}. It has got over that."


def _in_words(kind: str, recipe: Recipe, last: dict[str, Any]) -> str:
    if kind == "warming up":
        return "rate and prototypes have not been for long what they are to be, so that it is too early to tell"
    share, used, rank = (last.get(key) or 0 for key in ("loss_over_ln_k", "used_prototypes", "rank"))
    return (
        f"the loss is {share:.3f} of ln K, where a network that knows nothing has 1; {used:,} of "
        f"{recipe.model.prototypes:,} prototypes are in use, and embeddings use {rank:.1f} directions"
    )


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"


def numbers_of(subject: Subject) -> list[Number]:
    """The few that stand at the top."""
    found = _of_pretraining(subject) if isinstance(subject.recipe, Recipe) else _of_classifier(subject)
    speed = subject.series("images_per_second", "step")[1]
    if speed:
        found.append(Number("pictures a second", f"{sorted(speed)[len(speed) // 2]:,.0f}", "median"))
    waiting = subject.series("data_wait", "step")[1]
    if waiting:
        found.append(Number("waiting for pictures", f"{sum(waiting) / len(waiting):.0%}", "of the time"))
    return found


def _of_pretraining(subject: Subject) -> list[Number]:
    last, results = subject.last, subject.results
    found = []
    if is_finite(last.get("loss_over_ln_k")):
        found.append(Number("loss", f"{last['loss_over_ln_k']:.3f}", "of ln K"))
    if is_finite(results.get("knn")):
        others = {"untrained": results.get("knn_untrained"), "raw pixels": results.get("knn_raw_pixels")}
        beside = [f"{name} {value:.1f}" for name, value in others.items() if is_finite(value)]
        found.append(Number("k-NN top-1", f"{results['knn']:.1f} %", ", ".join(beside)))
    assert isinstance(subject.recipe, Recipe)
    for key, name, words in (
        ("used_prototypes", "prototypes in use", f"of {subject.recipe.model.prototypes:,}"),
        ("rank", "effective rank", "of embeddings"),
        ("twins", "twins", "among prototypes"),
    ):
        if is_finite(last.get(key)):
            found.append(Number(name, f"{last[key]:,}" if isinstance(last[key], int) else f"{last[key]:.1f}", words))
    return found


def _of_classifier(subject: Subject) -> list[Number]:
    results = subject.results
    names = {
        "top1": ("top-1", f"always the commonest: {results.get('majority_class', math.nan):.1f} %"),
        "top5": ("top-5", ""),
        "mean_class_accuracy": ("mean of the classes", ""),
    }
    return [
        Number(name, f"{results[key]:.2f} %", beside)
        for key, (name, beside) in names.items()
        if is_finite(results.get(key))
    ]


def is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def facts_of(subject: Subject) -> Iterator[str]:
    """What the run is, in a line or two."""
    recipe = subject.recipe
    pictures = subject.results.get("pictures", next((line.get("pictures") for line in subject.starts), None))
    told = counted(pictures, "picture") if isinstance(pictures, int) else "pictures"
    if isinstance(recipe, Recipe):
        epochs = counted(subject.epochs_in_all, "epoch")
        yield f"SwAV by the recipe {recipe.name}: {told} of {recipe.data.train}, {epochs}"
    else:
        what = "linear classifier on the frozen features of" if recipe.task == "linear" else "fine-tuning of"
        yield f"{what} {recipe.model}, by the recipe {recipe.name}: {told}, labels: {recipe.data.labels}"
