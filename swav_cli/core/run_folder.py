"""A run's folder as a whole: where a new run goes, what is there already, what is removed, what is known of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from swav_cli.core.checkpoint import RunFolder, newest_checkpoint
from swav_cli.core.processes import was_restarted
from swav_cli.core.recipe import Recipe
from swav_cli.core.recipe_file import COMMANDS, AnyRecipe, differences, read_recipe, renamed
from swav_cli.data.paths import expanded
from swav_cli.errors import UserError
from swav_cli.files import check_place, held, write_json


def choose_folder(out: Path, resume: bool, overwrite: bool) -> Path:
    """The run's folder.

    Raises:
        UserError: it holds something else.
    """
    out = expanded(out)
    if not resume and not overwrite:
        out = _newest(out) if was_restarted() else _next_free(out)
    check_place(out, "--out", is_folder=True)
    if out.is_dir() and any(out.iterdir()) and not RunFolder(out).recipe.exists():
        raise UserError(f"{out}: holds other files and no run; give another folder with --out")
    return out


def _next_free(out: Path) -> Path:
    number, free = 2, out
    while os.path.exists(free):
        free = out.with_name(f"{out.name}-{number}")
        number += 1
    return free


def _newest(out: Path) -> Path:
    """The folder that `_next_free` gave before processes died and torchrun started them again."""
    number = 2
    while os.path.exists(out.with_name(f"{out.name}-{number}")):
        number += 1
    return out if number == 2 else out.with_name(f"{out.name}-{number - 1}")


class Origin(NamedTuple):
    """What a run is trained on, told by itself and not by where it lies."""

    fingerprint: str  # of all that its weights follow from: names of pictures, another model's weights
    contents: list[str]  # digests of the contents of a few pictures, none where there are no files of them
    called: str  # where it lies now
    formerly: str  # the fingerprint of a run that was begun before contents were looked at
    labels: str = ""  # digest of the pictures' classes, where those are learnt

    def is_that_of(self, state: dict[str, Any]) -> bool:
        """Whether a checkpoint's run is trained on the same. Some files may have been mended meanwhile."""
        before = state.get("contents", [])
        kept = sum(map(str.__eq__, before, self.contents))
        if state.get("labels", self.labels) != self.labels:
            return False
        expected = self.fingerprint if "contents" in state else self.formerly
        return bool(state["fingerprint"] == expected) and 2 * kept >= min(len(before), len(self.contents))


def refuse_other_origin(folder: RunFolder, state: dict[str, Any], origin: Origin) -> None:
    """
    Raises:
        UserError: the run in the folder, whose checkpoint that is, was trained on something else.
    """
    if not origin.is_that_of(state):
        raise UserError(
            f"{folder.path}: {origin.called} are not what the run was trained on, or have changed since the run began; "
            "begin again with --overwrite, or elsewhere with --out"
        )


def refuse_other_recipe(folder: RunFolder, recipe: AnyRecipe, origin: Origin) -> list[str]:
    """What is written otherwise in the run's recipe and means the same files, in words.

    Raises:
        UserError: the run in the folder has another recipe, with the keys that differ, or was trained on other files.
    """
    before = read_recipe(folder.recipe)
    if type(before) is not type(recipe):
        raise UserError(
            f"{folder.path} holds a run of `swav {COMMANDS[type(before)]}`; give another folder with --out, or replace "
            "it with --overwrite"
        )
    names = renamed(before, recipe)
    changed = differences(before, recipe)
    state = newest_checkpoint(folder, lambda text: None) if names else None
    if state is not None and not origin.is_that_of(state):
        changed = names + changed
    elif finished_results(folder) is not None:
        # Nothing goes on, so that pictures which judge count too, and where nothing is left to compare, the names.
        judge_alone = ("data.val", "data.bank") if isinstance(recipe, Recipe) else ()
        changed += [name for name in names if state is None or name.startswith(judge_alone)]
    if changed:
        raise UserError(
            f"{folder.path} holds a run with another recipe:\n  " + "\n  ".join(changed) + "\n"
            "Train elsewhere with --out DIR, in a new folder beside it with --no-resume, or replace it with --overwrite"
        )
    return names


def finished_results(folder: RunFolder) -> dict[str, Any] | None:
    """The results of a run that has come to its end, else None: `swav eval` writes there before that too."""
    results = read_results(folder)
    return results if "recipe" in results else None


def read_results(folder: RunFolder) -> dict[str, Any]:
    """What is known of a run so far."""
    try:
        return dict(json.loads(folder.results.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def add_results(folder: RunFolder, key: str, found: dict[str, Any], notice: Callable[[str], None]) -> None:
    """Join what another command found to a run's results; of two that end at once, both are kept.

    Where they can't be written, as in a run of somebody else's, a notice says so: the numbers are shown all the same.
    """
    try:
        change_results(folder, lambda known: {**known, key: found})
    except UserError as error:
        notice(f"{error}; these numbers are only shown")


def change_results(folder: RunFolder, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Read a run's results, change and write them, with nobody else between."""
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        with held(folder.path):
            write_json(folder.results, change(read_results(folder)))
    except OSError as error:
        raise UserError(f"{folder.results}: can't be written ({error.strerror})") from None


def clear(folder: RunFolder) -> None:
    """Remove what a run writes, and nothing else."""
    for path in (
        folder.metrics,
        folder.results,
        folder.model,
        folder.prototypes,
        folder.bad_pictures,
        folder.labelled,
        folder.confusion,
        *folder.checkpoints.glob("*.pt"),
    ):
        path.unlink(missing_ok=True)
