"""The newest run below `runs/`: what commands take where no model is named."""

from __future__ import annotations

from pathlib import Path

from swav_cli.errors import Notice, silent
from swav_cli.recipe.schema import Recipe
from swav_cli.run.folder import RunFolder
from swav_cli.run.pictures import recipe_of


def newest_run(notice: Notice = silent, *, pretrained: bool = False, runs: Path = Path("runs")) -> str | None:
    """The run that was trained last; None where there is none.

    Args:
        notice: told which one it is.
        pretrained: leave out those of classifiers, on which none can be trained.
    """
    found = [path.parent for path in runs.glob("*/model.safetensors")]
    if pretrained:
        found = [path for path in found if isinstance(recipe_of(path), Recipe)]
    if not found:
        return None
    newest = max(found, key=lambda path: RunFolder(path).model.stat().st_mtime)
    notice(f"model: {newest}")
    return str(newest)
