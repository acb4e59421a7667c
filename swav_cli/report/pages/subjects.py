"""What a page tells of: a run with all that its folder holds, or a model by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swav_cli.errors import UserError
from swav_cli.recipe.file import AnyRecipe, read_recipe
from swav_cli.recipe.schema import Recipe
from swav_cli.report.classifier import read_confusion
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import read_metrics
from swav_cli.run.results import read_results
from swav_cli.run.state import RunState, state_of


@dataclass(frozen=True)
class Subject:
    """A run, as its files tell of it."""

    name: str
    folder: RunFolder
    recipe: AnyRecipe
    lines: list[dict[str, Any]] = field(repr=False)  # of its metrics
    results: dict[str, Any] = field(repr=False)
    state: RunState

    @property
    def is_pretraining(self) -> bool:
        return isinstance(self.recipe, Recipe)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """A line each epoch that has ended."""
        return [line for line in self.lines if line.get("kind") == "epoch"]

    @property
    def epochs_in_all(self) -> int:
        wanted = self.recipe.training.epochs
        return wanted if isinstance(wanted, int) else len(self.epochs)

    @property
    def starts(self) -> list[dict[str, Any]]:
        """A line each time that the run was begun or gone on with."""
        return [line for line in self.lines if line.get("kind") == "start"]

    @property
    def derived(self) -> dict[str, dict[str, Any]]:
        """What `auto` came to, by key, as the runs of earlier versions did not note it."""
        found: dict[str, dict[str, Any]] = {}
        for line in self.starts:
            found |= line.get("derived") or {}
        return found

    @property
    def last(self) -> dict[str, Any]:
        """The last epoch's line; empty where none has ended."""
        return self.epochs[-1] if self.epochs else {}

    def series(self, key: str, kind: str) -> tuple[list[float], list[float]]:
        """Epochs passed and values, of the lines of one kind that have the key."""
        found = [(line["step"], line[key]) for line in self.lines if line.get("kind") == kind and _is_number(line, key)]
        if key == "knn" and _is_number(self.results, key) and self.epochs:  # which comes after the last epoch
            found.append((self.last["step"], self.results[key]))
        return [step / self.steps_an_epoch for step, _ in found], [float(value) for _, value in found]

    @property
    def steps_an_epoch(self) -> float:
        """As the first epoch's end tells; before that a step counts as an epoch's part by the newest line."""
        whole = [line["step"] / (line["epoch"] + 1) for line in self.epochs[:1]]
        return float(max(1.0, *whole) if whole else max((line.get("step", 0) for line in self.lines), default=0) or 1.0)

    def numeric_keys(self, kind: str) -> list[str]:
        """Of the lines of one kind, in the order in which they are written."""
        named = (key for line in self.lines if line.get("kind") == kind for key in line if _is_number(line, key))
        return [key for key in dict.fromkeys(named) if key not in ("epoch", "step")]


def _is_number(line: dict[str, Any], key: str) -> bool:
    return isinstance(line.get(key), (int, float)) and not isinstance(line.get(key), bool)


def read_subject(folder: RunFolder, name: str) -> Subject:
    """
    Raises:
        UserError: its recipe can't be read.
    """
    lines = [line for line in read_metrics(folder.metrics) if _is_whole(line)]
    return Subject(name, folder, read_recipe(folder.recipe), lines, read_results(folder), state_of(folder.path, lines))


def _is_whole(line: Any) -> bool:
    """Whether a line is one that swav writes: the file may be of another version, or by hand."""
    wanted = {"step": ("step",), "epoch": ("step", "epoch")}
    return isinstance(line, dict) and "kind" in line and all(
        isinstance(line.get(key), int) for key in wanted.get(line["kind"], ())
    )  # fmt: skip


def confusion_of(subject: Subject) -> tuple[list[list[int]], list[str]] | None:
    """Pictures of each class that were taken for each, and the classes; None where the run has no such table."""
    try:
        matrix, classes = read_confusion(subject.folder.confusion)
    except UserError:
        return None
    return matrix.tolist(), classes


def classifiers_beside(run: RunFolder) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Finished runs that trained a classifier on this one, in the folder that it lies in."""
    for path in sorted(run.path.resolve().parent.glob("*/results.json")):
        other = RunFolder(path.parent)
        if other.path == run.path.resolve() or not other.recipe.exists():
            continue
        try:
            recipe = read_recipe(other.recipe)
        except UserError:
            continue
        results = read_results(other)
        model = getattr(recipe, "model", None)
        if isinstance(model, str) and "top1" in results and _is_same(model, run):
            yield other.path, results


def _is_same(model: str, run: RunFolder) -> bool:
    """Whether a recipe's words for its model mean this run: by the path, or where runs were moved, by the name."""
    path = Path(model)
    if path.exists():
        return path.resolve() in (run.path.resolve(), run.model.resolve())
    return path.name == run.path.resolve().name
