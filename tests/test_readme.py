"""The README's commands, as they are written there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from swav_cli.recipe.schema import Recipe
from tests.conftest import Run, tiny_recipe

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


def make_run(folder: Path, recipe: Recipe) -> None:
    """A run's folder with a network that has learnt nothing."""
    from swav_cli.core.plan import make_model
    from swav_cli.core.weights import Model, about, save_model
    from swav_cli.recipe.file import dump_recipe

    save_model(folder / "model.safetensors", Model(make_model(recipe), about(recipe)))
    (folder / "recipe.yaml").write_text(dump_recipe(recipe))


@pytest.fixture
def workplace(photos: Path, tmp_path: Path) -> Path:
    """A folder that has what the README speaks of."""
    for name in ("imagenet/train", "imagenet/val", "cifar10/train", "cifar10/test"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(photos)
    (tmp_path / "demo").symlink_to(README.parent / "demo")
    for name in ("quickstart", "longer"):
        make_run(tmp_path / "runs" / name, tiny_recipe("data.train=shapes:480"))
    return tmp_path


TRAIN = ("pretrain", "linear-eval", "finetune")

# What fits ImageNet does not fit the 40 pictures that stand for it here.
SMALLER = {
    "pretrain": [
        "training.batch_size=8", "training.accumulate=1", "loss.queue.length=0", "loss.freeze_prototypes_steps=0",
    ],
    "doctor": [
        "training.batch_size=8", "loss.queue.length=0", "loss.freeze_prototypes_steps=0", "model.prototypes=12",
    ],
    "linear-eval": ["training.batch_size=8"],
    "finetune": ["training.batch_size=2"],
}  # fmt: skip


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_of_the_readme_is_understood(swav: Run, workplace: Path, command: str) -> None:
    """Each is run as it stands, but for training, which is planned and not done, and for weights that are published."""
    words = shlex.split(command)
    arguments = words[1:] if words[0] == "swav" else words[3:]
    arguments = arguments[: arguments.index(">")] if ">" in arguments else arguments
    if arguments[0] in TRAIN and "--preview" not in arguments and "--dry-run" not in arguments:
        arguments += ["--dry-run"]
    if {"imagenet/train", "cifar10/train"} & set(arguments):
        for setting in SMALLER.get(arguments[0], []):
            arguments += ["--set", setting]
    if arguments[0] == "pretrain" and "--minutes" in arguments:
        arguments += ["--set", "model.width=16", "--set", "crops.0.size=32"]  # which are then not looked for
    if arguments[0] in ("linear-eval", "finetune"):
        arguments = ["runs/quickstart" if word == "swav-800e" else word for word in arguments]
    if arguments[0] == "clusters":
        arguments += ["--no-page"]
    if arguments[0] == "doctor":
        arguments += ["--quick"]  # it would measure for a minute or more
    if arguments[0] == "bench":
        arguments += ["--minutes", "0.02", "--only", "limits"]  # and two more
    done = swav(*arguments)
    assert done.returncode == 0, done.stderr


def test_the_python_of_the_readme_runs(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    assert blocks("python")
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})


def test_every_recipe_stands_in_the_readme() -> None:
    from swav_cli.recipe.file import shipped_recipes

    text = README.read_text(encoding="utf-8")
    assert [name for name in shipped_recipes() if f"`{name}`" not in text] == []
