"""Completion of the command line in bash, zsh, fish and PowerShell.

`python -m swav_cli.completions FOLDER` writes a script for each; they ask `swav` itself for what can follow, so they
stay right when commands and options change. Nothing here imports torch: a shell waits for the answer.
"""

from __future__ import annotations

import sys
from pathlib import Path

FILES = {"bash": "swav.bash", "zsh": "swav.zsh", "fish": "swav.fish", "powershell": "swav.ps1"}


def recipe_names(incomplete: str) -> list[str]:
    """Names of shipped recipes that begin so; what a shell offers where a recipe is wanted."""
    from swav_cli.recipe.file import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(incomplete)]


def model_names(incomplete: str) -> list[str]:
    """Names of published models that begin so; what a shell offers where a model is wanted."""
    from swav_cli.zoo.catalogue import all_names

    return [name for name in all_names() if name.startswith(incomplete)]


def tracker_names(incomplete: str) -> list[str]:
    """Names of trackers that can stand next, behind those that are there; what a shell offers for `--track a,b`."""
    from swav_cli.report.trackers.names import PACKAGES

    before, comma, begun = incomplete.rpartition(",")
    there = before.split(",")
    return [f"{before}{comma}{name}" for name in PACKAGES if name.startswith(begun) and name not in there]


def scripts() -> dict[str, str]:
    """Name to text of the file for each shell."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    return {
        file: get_completion_script(prog_name="swav", complete_var="_SWAV_COMPLETE", shell=shell) + "\n"
        for shell, file in FILES.items()
    }


def write(folder: Path) -> None:
    for name, text in scripts().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "completions"))
