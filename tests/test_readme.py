"""The README's commands, as they are written there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import Run

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Lines of the README's shell blocks that call swav, without comments; continued lines joined."""
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    parts = [part.strip() for line in lines for part in line.split("#")[0].split("&&")]
    return [part for part in parts if part.startswith(("swav ", "python -m swav_cli "))]


def test_there_are_commands() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_of_the_readme_is_understood(swav: Run, photos: Path, command: str, tmp_path: Path) -> None:
    """Each is run in a folder that has what the README speaks of; training commands are planned and not trained."""
    (tmp_path / "imagenet").mkdir()
    for name in ("train", "val"):
        (tmp_path / "imagenet" / name).symlink_to(photos)
    words = shlex.split(command)
    arguments = words[1:] if words[0] == "swav" else words[3:]
    arguments = arguments[: arguments.index(">")] if ">" in arguments else arguments
    if arguments[0] == "pretrain" and "--preview" not in arguments:
        arguments += ["--dry-run"]
    if "imagenet/train" in arguments:
        arguments += [
            "--set",
            "training.batch_size=8",
            "--set",
            "loss.queue.length=0",
            "--set",
            "training.accumulate=1",
        ]
        arguments += ["--set", "loss.freeze_prototypes_steps=0"]
    done = swav(*arguments)
    assert done.returncode == 0, done.stderr


def test_the_python_of_the_readme_runs(tmp_path: Path, photos: Path, swav: Run, tiny_file: Path) -> None:
    assert swav("pretrain", tiny_file, "--epochs", 2, "--out", "runs/quickstart").returncode == 0
    import os

    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        for block in blocks("python"):
            exec(compile(block, "README.md", "exec"), {})
    finally:
        os.chdir(before)


def test_every_recipe_stands_in_the_readme() -> None:
    from swav_cli.core.recipe_file import shipped_recipes

    text = README.read_text(encoding="utf-8")
    assert [name for name in shipped_recipes() if f"`{name}`" not in text] == []


def test_every_option_of_pretrain_stands_in_the_readme(swav: Run) -> None:
    options = set(re.findall(r"--[a-z][a-z-]+", swav("pretrain", "--help").stdout)) - {"--help", "--no-resume"}
    text = README.read_text(encoding="utf-8")
    assert [option for option in sorted(options) if option not in text] == []
