"""What several tests share: reference numbers, tiny recipes, folders of pictures, and the command as a process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pytest
import torch
from PIL import Image

from swav_cli.app import main
from swav_cli.files import held
from swav_cli.recipe.classifier_schema import FinetuneRecipe, LinearRecipe
from swav_cli.recipe.file import apply_override, parse_as, parse_recipe
from swav_cli.recipe.schema import Recipe
from tests.processes import run

# What is tested is the same on every machine: where there is a GPU, `auto` would take it and compute in bf16.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

# Tests are many and small: threads of one would only wait for those of another.
torch.set_num_threads(1)

# A suite that a script starts in the background finds Ctrl-C ignored, and so would every command that it runs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: a test that waits for a process's end leaves one idle."""
    return (os.cpu_count() or 1) + 1


REFERENCE = Path(__file__).parent / "reference"


def reference(name: str) -> Any:
    """Arrays that the published code computed in float64."""
    return np.load(REFERENCE / f"{name}.npz", allow_pickle=False)


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The random numbers that belong to a name in the reference."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape)


def formula_weights(model: torch.nn.Module) -> None:
    """Put the reference's weights, which follow from the tensors' names, into a network."""
    weights = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            weights[name] = tensor
            continue
        if name.endswith("running_mean"):
            values = 0.1 * drawn(name, shape)
        elif name.endswith("running_var"):
            uniform = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).random(shape)
            values = 1 + 0.2 * uniform
        elif len(shape) == 1:
            values = 0.1 * drawn(name, shape) + (1 if name.endswith("weight") else 0)
        else:
            values = drawn(name, shape) * np.sqrt(2 / np.prod(shape[1:]))
        weights[name] = torch.tensor(values.astype(np.float32))
    model.load_state_dict(weights)


TINY = {
    "name": "tiny",
    "model": {
        "backbone": "resnet18", "width": 4, "stem": "small", "hidden_dim": 16, "embedding_dim": 8, "prototypes": 12,
    },
    "data": {"train": "shapes:48", "val": "shapes:40", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    "crops": [
        {"count": 2, "size": 16, "scale": [0.4, 1.0], "assign": True},
        {"count": 1, "size": 8, "scale": [0.3, 0.6]},
    ],
    "loss": {"epsilon": 0.05, "freeze_prototypes_steps": 2, "queue": {"length": 32, "start_epoch": 1}},
    "optimizer": {"name": "sgd", "lr": 0.8},
    "schedule": {"warmup_epochs": 1},
    "training": {"epochs": 3, "batch_size": 8, "precision": "float32", "log_every": 1, "workers": 0},
}  # fmt: skip


def tiny_recipe(*overrides: str) -> Recipe:
    """A run of 18 steps that takes about a second, with a queue, small crops and labels to judge by."""
    import copy

    content = copy.deepcopy(TINY)
    for assignment in overrides:
        apply_override(content, assignment)
    return parse_recipe(content, "tiny")


CLASSIFIER = {
    "name": "tiny",
    "model": "runs/tiny",
    "crop": {"size": 16, "scale": [0.5, 1.0]},
    "optimizer": {"lr": 0.5},
    "training": {"epochs": 2, "batch_size": 8, "precision": "float32", "log_every": 1, "workers": 0},
}  # fmt: skip
OF_TASK: dict[type[Any], dict[str, Any]] = {
    LinearRecipe: {
        "task": "linear",
        "cached": {"lrs": [0.1, 1.0], "weight_decays": [0.0, 1e-3], "epochs": 5, "batch_size": 8, "holdout": 0.2},
    },
    FinetuneRecipe: {"task": "finetune", "optimizer": {"lr": 0.5, "backbone_lr": 0.1}},
}
Classifier = TypeVar("Classifier", LinearRecipe, FinetuneRecipe)


def classifier_recipe(schema: type[Classifier], *overrides: str) -> Classifier:
    """A run of 10 steps on 40 pictures."""
    import copy

    content = copy.deepcopy({**CLASSIFIER, **OF_TASK[schema]})
    for assignment in overrides:
        apply_override(content, assignment, schema)
    return parse_as(schema, content, "tiny")


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    import yaml

    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY, sort_keys=False))
    return path


@pytest.fixture
def unread() -> Iterator[int]:
    """The open file of a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 40 small pictures in two classes."""
    folder = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for number in range(40):
        kind = folder / ("stripes" if number % 2 else "plain")
        kind.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        if number % 2:
            pixels[::4] = 255
        Image.fromarray(pixels).save(kind / f"{number:02d}.png")
    return folder


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first process of the suite to need it makes, and that the others read."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with held(folder.with_suffix(".lock")):
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / "whole").touch()
    return folder


Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def swav_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command inside this process, which is quicker than one of its own."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["swav", *map(str, arguments)])
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:  # a command hears them in its own way until its process ends
            for number, handler in handlers.items():
                signal.signal(number, handler)
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return command


@pytest.fixture
def swav(tmp_path: Path) -> Run:
    """Run the command in an empty folder, as a user would, and give what it said."""

    def begin(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return run(*arguments, cwd=cwd or tmp_path)

    return begin
