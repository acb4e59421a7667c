"""What a run is trained on and by which recipe: whether the run in a folder is the one that was asked for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from swav_cli.errors import UserError, silent
from swav_cli.recipe.file import COMMANDS, AnyRecipe, differences, read_recipe, renamed
from swav_cli.recipe.schema import Recipe
from swav_cli.run.checkpoint import newest_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.results import finished_results


class Origin(NamedTuple):
    """What a run is trained on, told by itself and not by where it lies."""

    fingerprint: str  # of all that its weights follow from: names of pictures, another model's weights
    contents: list[str]  # digests of the contents of a few pictures, none where there are no files of them
    called: str  # where it lies now
    formerly: Collection[str]  # fingerprints that runs of earlier versions may have noted of the same
    labels: str = ""  # digest of the pictures' classes, where those are learnt

    def is_that_of(self, state: dict[str, Any]) -> bool:
        """Whether a checkpoint's run is trained on the same. Some files may have been mended meanwhile."""
        before = state.get("contents", [])
        kept = sum(map(str.__eq__, before, self.contents))
        if state.get("labels", self.labels) != self.labels:
            return False
        known = state["fingerprint"] in {self.fingerprint, *self.formerly}
        return known and 2 * kept >= min(len(before), len(self.contents))


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
    state = newest_checkpoint(folder, silent) if names else None
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
