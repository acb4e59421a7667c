"""What comes before training: the run's folder, in which all processes find what the first one finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from swav_cli.errors import Notice
from swav_cli.parallel.processes import first_decides
from swav_cli.recipe.file import AnyRecipe
from swav_cli.run.folder import RunFolder, choose_folder
from swav_cli.run.origin import Origin, refuse_other_recipe
from swav_cli.run.results import finished_results


def run_folder(
    place: Path, recipe: AnyRecipe, origin: Callable[[], Origin], resume: bool, overwrite: bool, notice: Notice
) -> tuple[RunFolder, dict[str, Any] | None]:
    """Where a run begins or goes on, and its results if it is finished; nothing is written.

    Args:
        origin: gives what would be trained on; asked where a run is there.
        resume, overwrite: see `pretrain`.

    Raises:
        UserError: another run is there, or no place for one.
    """

    def find() -> tuple[RunFolder, list[str], dict[str, Any] | None]:
        folder = RunFolder(choose_folder(place, resume, overwrite))
        if overwrite:
            return folder, [], None
        moved = refuse_other_recipe(folder, recipe, origin()) if folder.recipe.exists() else []
        return folder, moved, finished_results(folder)

    folder, moved, finished = first_decides(find)
    if finished is not None:
        notice(f"{folder.path} is finished; run it again with --overwrite, or elsewhere with --out")
    else:
        for line in moved:
            notice(f"{line}, from here on")
    return folder, finished
