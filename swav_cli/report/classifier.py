"""What training a classifier says: its beginning, its epochs, its result, and the protocol beside every number."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from swav_cli.core.weights import About
from swav_cli.data.pictures import Pictures
from swav_cli.errors import UserError, counted
from swav_cli.planning.derive import Derived
from swav_cli.recipe.classifier_schema import ClassifierRecipe, FinetuneRecipe
from swav_cli.recipe.schema import settled
from swav_cli.report.console import describe_bad
from swav_cli.report.words import duration

WORST = 3  # classes told of by name


def describe_job(recipe: ClassifierRecipe, source: str, train: Pictures, val: Pictures) -> str:
    """What is about to be trained, on what."""
    classes = len(train.classes or [])
    what = "the whole network of" if isinstance(recipe, FinetuneRecipe) else "a linear layer on the frozen features of"
    used = "" if recipe.data.labels == "all" else f" ({recipe.data.labels} of the labels)"
    return (
        f"{recipe.name}: {what} {source}; {counted(len(train), 'picture')}{used} of {train.source} in "
        f"{counted(classes, 'class', 'classes')}, "
        f"judged by {len(val):,} of {val.source}"
    )


def describe_training(recipe: ClassifierRecipe, derived: list[Derived], device: str) -> list[str]:
    """Derived values with their reasons, and how long and how fast it trains."""
    return [
        *(f"  {value.key} = {value.value}  ({value.reason})" for value in derived),
        f"  {counted(recipe.training.epochs, 'epoch')} on {device} in {recipe.training.precision}; "
        f"{rate_words(recipe)}",
    ]


def rate_words(recipe: ClassifierRecipe) -> str:
    """Learning rates with their arithmetic, and how they fall."""
    batch, settings = settled(recipe.training.batch_size), recipe.optimizer
    words = f"learning rate {settings.lr:g} x {batch} / 256 = {settings.lr * batch / 256:g}"
    if isinstance(recipe, FinetuneRecipe):
        rate = recipe.optimizer.backbone_lr
        words += f", of the backbone {rate:g} x {batch} / 256 = {rate * batch / 256:g}"
    drops = recipe.schedule.drop_epochs
    if drops:
        return f"{words}, x {recipe.schedule.drop_factor:g} at epochs {', '.join(map(str, drops))}"
    return f"{words}, then half a cosine to 0, an epoch at a time"


def protocol(recipe: ClassifierRecipe, about: About) -> str:
    """All that a reader needs to compare a number with another."""
    settings, size = recipe.optimizer, settled(recipe.crop.size)
    least, most = recipe.crop.scale
    what = "fine-tuning of the whole network" if isinstance(recipe, FinetuneRecipe) else "linear layer, backbone frozen"
    name = {"sgd": f"SGD {settings.momentum:g}", "lars": f"LARS {settings.momentum:g}", "adamw": "AdamW"}[settings.name]
    return (
        f"{what}; {name}, {rate_words(recipe)}, batch {recipe.training.batch_size}, weight decay "
        f"{settings.weight_decay:g}, {counted(recipe.training.epochs, 'epoch')}; labels: {recipe.data.labels}; "
        f"RandomResizedCrop {size} of scale ({least:g}, {most:g}), flip {recipe.crop.flip:g}; {judged_at(about)}"
    )


def judged_at(about: About) -> str:
    """What is done to a picture that a model is judged on."""
    return f"judged at shorter side {about.shorter_side}, centre crop {about.size} (pictures of that size as they are)"


def describe_epoch(epoch: int, epochs: int, loss: float, top1: float | None) -> str:
    judged = f", top-1 {top1:.2f} %" if top1 is not None else ""
    return f"epoch {epoch + 1}/{epochs}: loss {loss:.4f}{judged}"


def describe_outcome(results: dict[str, Any], path: Path) -> str:
    """The numbers, what they were measured by, and what to type next."""
    lines = [
        f"done in {duration(results['seconds'])}",
        f"  top-1   {results['top1']:.2f} %, top-5 {results['top5']:.2f} %, mean of the classes "
        f"{results['mean_class_accuracy']:.2f} % on {counted(results['count'], 'picture')}; always the "
        f"commonest class: {results['majority_class']:.2f} %",
    ]
    best = results["best"]
    if best:
        lines.append(
            f"  best    {best['top1']:.2f} % after epoch {best['epoch']}: chosen by the pictures that judge it, so "
            "quote the last"
        )
    lines += [
        f"  {layer:7} top-1 {found['top1']:.2f} %, top-5 {found['top5']:.2f} %"
        for layer, found in results["layers"].items()
    ]
    lines += _of_the_grid(results)
    worst = worst_classes(results["per_class"])
    if worst and len(results["per_class"]) > 2:
        lines.append(f"  weakest {', '.join(f'{name} {accuracy:.1f} %' for name, accuracy in worst)}")
    if results["unread"]:
        lines.append(f"  {left_out(results['unread'])}")
    if results.get("bad_pictures"):
        lines += describe_bad(results["bad_pictures"], path / "bad-pictures.txt")
    typed = shlex.quote(str(path))
    lines += [
        f"  by      {results['protocol']}",
        f"  run     {path}",
        "next",
        f"  swav predict photos/ --model {typed}    which class each picture shows",
        f"  swav eval {typed} --plot confusion.png    which classes are taken for which",
    ]
    return "\n".join(lines)


def _of_the_grid(results: dict[str, Any]) -> list[str]:
    chosen = results.get("chosen")
    if not chosen:
        return []
    words = f"learning rate {chosen['lr']:g}, weight decay {chosen['weight_decay']:g}"
    if len(results["grid"]) == 1:
        return [f"  with    {words}"]
    if not results["chosen_by"]:
        count = len(results["grid"])
        return [f"  with    {words}: the middle of {count} pairs, as no class has two pictures to choose by"]
    edge = "; the rate is at the grid's edge, and a wider grid may find better" if _at_the_edge(results) else ""
    return [
        f"  chosen  {words} of {len(results['grid'])} pairs, by {counted(results['chosen_by'], 'training picture')} "
        f"left out ({chosen['top1']:.2f} %){edge}"
    ]


def _at_the_edge(results: dict[str, Any]) -> bool:
    rates = {tried["lr"] for tried in results["grid"]}
    return len(rates) > 1 and results["chosen"]["lr"] in (min(rates), max(rates))


def left_out(unread: int) -> str:
    are = "is" if unread == 1 else "are"
    return f"{counted(unread, 'picture')} could not be read and {are} left out"


def worst_classes(per_class: dict[str, float | None]) -> list[tuple[str, float]]:
    known = [(name, accuracy) for name, accuracy in per_class.items() if accuracy is not None]
    return sorted(known, key=lambda pair: pair[1])[:WORST]


def confusion_text(matrix: Tensor, classes: Sequence[str]) -> str:
    """A table with a line for each true class and a column for each that was said."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["true class", *classes])
    for name, row in zip(classes, matrix.tolist(), strict=True):
        writer.writerow([name, *row])
    return stream.getvalue()


def read_confusion(path: Path) -> tuple[Tensor, list[str]]:
    """
    Raises:
        UserError: no such table.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            heading, *rows = csv.reader(file)
        return torch.tensor([[int(cell) for cell in row[1:]] for row in rows]), heading[1:]
    except (OSError, ValueError):
        raise UserError(f"{path}: no table of a finished run's answers; train one with: swav linear-eval") from None
