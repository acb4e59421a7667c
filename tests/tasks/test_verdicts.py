"""Runs that are made to fail, by real training of a second: each is told once what is wrong, healthy ones nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from swav_cli.errors import Collapsed
from swav_cli.recipe.schema import Recipe
from swav_cli.report.console import Screen, describe_results
from swav_cli.run.metrics import read_metrics
from swav_cli.tasks.pretrain import pretrain
from tests.conftest import tiny_recipe

# Six epochs of eight steps; the shapes keep their colours, which tell them apart in so short a time.
LEARNS = (
    "data.train=shapes:256", "data.val=null", "model.hidden_dim=32", "model.embedding_dim=16", "model.prototypes=30",
    "crops.0.scale=[0.4,1.0]", "crops.1.size=16", "crops.1.scale=[0.4,1.0]", "augment.hue=0", "augment.jitter=0",
    "augment.blur=0", "loss.epsilon=0.03", "loss.freeze_prototypes_steps=0", "loss.queue.length=0", "optimizer.lr=0.4",
    "optimizer.weight_decay=0.0005", "training.batch_size=32", "training.epochs=6",
)  # fmt: skip


# A small batch, a high rate and sharp codes: what lies in the queue for an epoch is another network's.
STALE = (
    "loss.queue.length=256", "loss.queue.start_epoch=2", "training.epochs=4", "optimizer.lr=8", "training.batch_size=4",
    "loss.epsilon=0.01",
)  # fmt: skip
RAW = ("data.mean=[0,0,0]", "data.std=[0.004,0.004,0.004]", "training.epochs=2")  # pixels from 0 to 255

# Colours so loud, on crops so small, that scores of all pictures draw together in the first epochs.
LOUD = (
    "augment.jitter=1", "augment.hue=0.5", "augment.brightness=0.9", "augment.contrast=0.9", "augment.saturation=0.9",
    "augment.grayscale=0.5", "crops.0.scale=[0.1,1.0]", "crops.1.scale=[0.1,1.0]", "model.embedding_dim=128",
)  # fmt: skip


class Warned(Screen):
    """Notes what is warned of."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def run(*overrides: str) -> Recipe:
    return tiny_recipe(*LEARNS, *overrides)


def verdicts(folder: Path) -> list[str]:
    """Of one epoch after another."""
    return [line["verdict"] for line in read_metrics(folder / "metrics.jsonl") if line["kind"] == "epoch"]


def copies(folder: Path) -> Path:
    folder.mkdir()
    picture = Image.effect_mandelbrot((32, 32), (-2, -1.2, 1, 1.2), 60).convert("RGB")
    for number in range(256):
        picture.save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("overrides", "found", "said"),
    [
        (("loss.epsilon=1.0",), "flat", "loss.epsilon (1) is above the spread with which scores begin (0.250)"),
        (("optimizer.lr=40", "schedule.warmup_epochs=0"), "thrown about", "try --set optimizer.lr=4"),
        (("data.train=copies",), "flat", "of some pictures looked at, 6% differ and the others are copies"),
        (("crops.0.scale=[0.01,0.02]", "crops.1.scale=[0.01,0.02]"), "flat", "crops that give codes may show 1%"),
        (
            ("data.mean=[0,0,0]", "data.std=[0.004,0.004,0.004]", "training.epochs=2"),
            "not normalised",
            "a mean of 88.7 and a deviation of",
        ),
        (STALE, "stale queue", "the oldest of its 256 embeddings are 1 epochs old"),
    ],
    ids=["epsilon", "rate", "copies", "crops", "pixels", "queue"],
)
def test_what_is_wrong_is_told_once(
    overrides: tuple[str, ...], found: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copies(tmp_path / "copies")
    screen = Warned()
    results = pretrain(run(*overrides), "run", device="cpu", screen=screen)
    assert len(screen.warnings) == 1
    assert said.lower() in screen.warnings[0].lower()
    assert found in verdicts(tmp_path / "run")
    if found != "not normalised":  # which is so from the first step on
        assert verdicts(tmp_path / "run")[:2] == ["warming up"] * 2
    kept = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (kept["verdict"], kept["advice"]) == (results["verdict"], results["advice"])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_healthy_run_is_told_nothing(seed: int, tmp_path: Path) -> None:
    screen = Warned()
    results = pretrain(run(f"training.seed={seed}"), tmp_path / "run", device="cpu", screen=screen)
    assert screen.warnings == []
    assert verdicts(tmp_path / "run") == ["warming up"] * 2 + ["healthy"] * 4
    assert (results["verdict"], results["advice"]) == ("healthy", None)


@pytest.mark.parametrize(
    ("sharpness", "found"),
    [
        (["loss.epsilon=0.05"], "flat"),
        (["loss.epsilon=0.05", "loss.epsilon_of_spread=0.2"], "healthy"),
    ],
)
def test_an_epsilon_that_follows_the_spread_lives_where_a_fixed_one_dies(
    sharpness: list[str], found: str, tmp_path: Path
) -> None:
    results = pretrain(run(*LOUD, *sharpness), tmp_path / "run", device="cpu")
    assert results["verdict"] == found


def test_a_queue_that_is_young_enough_is_told_nothing(tmp_path: Path) -> None:
    screen = Warned()
    pretrain(run("loss.queue.length=128", "loss.queue.start_epoch=2"), tmp_path / "run", device="cpu", screen=screen)
    assert screen.warnings == []
    last = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if line["kind"] == "epoch"][-1]
    assert last["queue_epochs"] == 0.5
    assert last["queue_jump"] < 0
    assert 0.5 < last["queue_sharpening"] < 1


def test_a_run_that_shall_bear_no_collapse_ends_with_all_saved_and_goes_on_where_it_may(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Collapsed, match=r"Stopped after epoch 3 \(training.on_collapse=stop\); all is saved") as ended:
        pretrain(run("loss.epsilon=1.0", "training.on_collapse=stop"), folder, device="cpu")
    assert ended.value.exit_code == 3
    assert (folder / "model.safetensors").exists()
    assert verdicts(folder) == ["warming up", "warming up", "flat"]
    pretrain(run("loss.epsilon=1.0", "training.on_collapse=warn"), folder, device="cpu")
    assert verdicts(folder)[2:] == ["flat"] * 4


def test_a_run_that_ends_badly_says_so_in_its_closing_lines() -> None:
    results = {"seconds": 1.0, "loss": 3.4, "loss_over_ln_k": 1.0, "bad_pictures": 0, "verdict": "flat"}
    assert "  health codes are flat" in describe_results({**results, "advice": "codes are flat"}, Path("runs/x"), 9)
    assert "health" not in describe_results({**results, "advice": None}, Path("runs/x"), 9)
