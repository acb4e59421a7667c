"""Where `training.compile: auto` compiles, and what a machine has to have for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from swav_cli.core.compiling import pick_compile, what_compiling_lacks
from swav_cli.errors import UserError
from swav_cli.recipe.file import load_recipe
from swav_cli.tasks.pretrain import pretrain
from tests.conftest import tiny_recipe

CUDA = torch.device("cuda")
SETTLED = "training.precision=float32"


@pytest.mark.parametrize(
    ("name", "pictures", "pays", "why"),
    [
        ("in1k-200e", 1_281_167, True, "386 minutes less in 1,000,800 steps, for 1.5 of compiling"),
        ("in1k-200e", 5_000, False, "3,800 steps of this size would hardly earn back"),  # 88 seconds for 90
        ("cifar10", 50_000, False, "78,000 steps of this size"),  # 32 seconds
    ],
)
def test_auto_compiles_on_a_gpu_where_it_is_earned_back(
    name: str, pictures: int, pays: bool, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swav_cli.core.compiling.what_compiling_lacks", lambda device: None)
    found, reason = pick_compile(load_recipe(name, [SETTLED]), pictures, CUDA)
    assert (found, why in reason) == (pays, True), reason


def test_auto_compiles_nowhere_else_and_without_a_compiler_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("in1k-200e", [SETTLED])
    assert pick_compile(recipe, 1_281_167, torch.device("cpu")) == (
        False, "on a processor results stay what they are without it, bit for bit",
    )  # fmt: skip
    for capability, is_there, path, lacks in (
        ((6, 1), True, "/usr/bin", "older"), ((9, 0), False, "/usr/bin", "triton"), ((9, 0), True, "", "a C compiler"),
    ):  # fmt: skip
        monkeypatch.setattr("torch.cuda.get_device_capability", lambda device, told=capability: told)
        monkeypatch.setattr("importlib.util.find_spec", lambda name, told=is_there: told or None)
        monkeypatch.setenv("PATH", path)
        monkeypatch.delenv("CC", raising=False)
        found, reason = pick_compile(recipe, 1_281_167, CUDA)
        assert (found, lacks in reason) == (False, True), reason


def test_a_network_that_cannot_be_compiled_here_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"training.compile \(true\): .* needs a C\+\+ compiler.*; set it to auto"):
        pretrain(tiny_recipe("training.compile=true"), tmp_path / "run", device="cpu")
    assert list(tmp_path.iterdir()) == []
    compiler = tmp_path / "mine"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert what_compiling_lacks(torch.device("cpu")) is None
