"""What a shell is told: the files in completions/ are current, and recipes complete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swav_cli.completions import recipe_names, scripts, write
from swav_cli.recipe.file import shipped_recipes

FOLDER = Path(__file__).parent.parent / "completions"
SWAV = "import sys; sys.argv[0] = 'swav'; from swav_cli.app import main; main()"


@pytest.mark.parametrize("name", ["swav.bash", "swav.zsh", "swav.fish", "swav.ps1"])
def test_the_files_are_current(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == scripts()[name], "run: python -m swav_cli.completions"


def test_they_are_all_written(tmp_path: Path) -> None:
    write(tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == scripts()


def complete(line: str, tmp_path: Path) -> list[str]:
    """What `swav` answers a shell that asks what can follow."""
    words = line.split(" ")
    env = {
        **os.environ, "_SWAV_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SWAV], env=env, capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_names_of_recipes() -> None:
    assert recipe_names("") == list(shipped_recipes())
    assert recipe_names("in1k-200") == ["in1k-200e", "in1k-200e-bs256", "in1k-200e-bs4096"]
    assert recipe_names("photos/") == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("swav recipes show cif", ["cifar10"]),
        ("swav recipes sh", ["show"]),
        ("swav rec", ["recipes"]),
        ("swav recipes --js", ["--json"]),
        ("swav recipes show zzz", []),
        ("swav track --to tensorboard,w", ["tensorboard,wandb"]),
    ],
)
def test_the_app_answers(line: str, found: list[str], tmp_path: Path) -> None:
    assert complete(line, tmp_path) == found


def test_a_recipe_is_offered_where_pretrain_wants_one(tmp_path: Path) -> None:
    assert complete("swav pretrain quick", tmp_path) == ["quickstart"]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_takes_the_script(tmp_path: Path) -> None:
    """The function that bash would call fills in the reply."""
    command = tmp_path / "swav"
    command.write_text(f'#!/bin/sh\nexec \'{sys.executable}\' -c "{SWAV}" "$@"\n')
    command.chmod(0o755)
    asked = (
        f"source '{FOLDER / 'swav.bash'}'; COMP_WORDS=(swav recipes show cif); COMP_CWORD=3; "
        "_swav_completion swav; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", asked], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["cifar10"]
