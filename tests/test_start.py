"""What a command waits for before its work begins: what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import tiny_recipe
from tests.processes import environment

# Each takes from a third of the time that torch's own import takes up to as much again. `onnx` and torch's compiler are
# for exports of those kinds and for training, scikit-learn for `--svm`.
HEAVY = ("torchvision", "torch._dynamo", "sympy", "sklearn", "scipy", "pandas", "matplotlib", "onnx", "timm", "pyarrow")

COMMANDS = """
import sys
from swav_cli.app import main
for words in {commands}:
    sys.argv = ["swav", *words]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
    print([name for name in {heavy} if name in sys.modules], words[0], file=sys.stderr)
"""


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    from swav_cli.core.plan import make_model
    from swav_cli.core.weights import Model, about, save_model
    from swav_cli.recipe.file import dump_recipe

    recipe = tiny_recipe()
    (tmp_path / "run").mkdir()
    save_model(tmp_path / "run" / "model.safetensors", Model(make_model(recipe), about(recipe)))
    (tmp_path / "run" / "recipe.yaml").write_text(dump_recipe(recipe))
    return tmp_path / "run"


def test_using_a_model_waits_for_no_heavy_import_but_torchs(run_folder: Path, photos: Path, tmp_path: Path) -> None:
    picture = str(next(iter(sorted(photos.rglob("*.png")))))
    commands = [
        ["predict", picture, "--model", "run"],
        ["extract", str(photos), "--model", "run", "--out", "feats.npy"],
        ["eval", "run"],
        ["export", "run", "--format", "safetensors", "--out", "model.safetensors"],
    ]
    code = COMMANDS.format(commands=commands, heavy=HEAVY)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert ran.returncode == 0, ran.stderr
    told = [line for line in ran.stderr.splitlines() if line.startswith("[")]
    assert told == [f"[] {words[0]}" for words in commands]
