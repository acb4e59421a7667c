"""What a run in training tells its trackers; tools that note it stand for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swav_cli.core.keeper import Keeper
from swav_cli.errors import Interrupted
from swav_cli.parallel import distributed
from swav_cli.recipe.classifier_schema import LinearRecipe
from swav_cli.recipe.file import AnyRecipe
from swav_cli.report.console import Screen
from swav_cli.report.trackers import names
from swav_cli.report.trackers import tracking as module
from swav_cli.report.trackers.told import curves_of, results_of
from swav_cli.report.trackers.tools import Place
from swav_cli.run.metrics import Step, read_metrics
from swav_cli.tasks.classifier import train_classifier
from swav_cli.tasks.pretrain import pretrain
from tests.conftest import classifier_recipe, tiny_recipe
from tests.test_readme import make_run

TWO_EPOCHS = tiny_recipe("training.epochs=2", "loss.queue.length=0", "data.val=null")


class Noted:
    """A tool that notes what it is told, under the id by which it knows the run."""

    told: dict[str, list[Any]] = {}  # noqa: RUF012
    fails: tuple[str, ...] = ()

    def __init__(self, name: str, place: Place) -> None:
        self.id = place.id if place.resumed else f"{name} {place.id}"  # one that the tool gives
        self.look, self.lines = f"look at {name}", self.told.setdefault(self.id, [])
        print("a tool's own words")
        self.note("open", place.resumed)

    def note(self, what: str, value: object = None, step: int = 0) -> None:
        if what in self.fails:
            raise SystemExit(f"no {what}\nand more")
        self.lines.append((what, value, step))

    def settings(self, recipe: AnyRecipe) -> None:
        self.note("settings", recipe)

    def numbers(self, values: dict[str, float], step: int) -> None:
        self.note("results" if "results/loss" in values else "numbers", values, step)

    def words(self, values: dict[str, str], step: int) -> None:
        self.note("words", values, step)

    def sheet(self, name: str, pixels: np.ndarray[Any, Any], step: int) -> None:
        self.note("sheet", (name, pixels.shape[2]), step)

    def finish(self) -> None:
        self.note("finish")


class Heard(Screen):
    def __init__(self) -> None:
        super().__init__()
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> type[Noted]:
    monkeypatch.setattr(module, "open_tool", Noted)
    monkeypatch.setattr(names, "find_spec", lambda name: name)  # whatever is installed
    monkeypatch.setattr(Noted, "told", {})
    monkeypatch.setattr(Noted, "fails", ())
    return Noted


def run(folder: Path, track: list[str] | None, recipe: Any = TWO_EPOCHS) -> list[str]:
    screen = Heard()
    pretrain(recipe, folder, device="cpu", track=track, screen=screen)
    return screen.notices


def test_a_run_that_goes_on_is_told_under_one_id_and_no_step_twice(
    noted: type[Noted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, save = tmp_path / "run", Keeper.save_where_due

    def cut_off(self: Keeper, step: Step) -> None:
        save(self, step)
        if step.number == 8:  # two steps behind a checkpoint, as a kill does
            raise Interrupted("cut off", 9)

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "save_where_due", cut_off)
        with pytest.raises(Interrupted):
            run(folder, ["wandb"])
    assert "  wandb: look at wandb" in run(folder, None)  # the same command
    assert capsys.readouterr().out == ""
    [(name, lines)] = noted.told.items()
    opened, settings, *rest = lines
    assert (opened[1], settings[1]) == (False, TWO_EPOCHS)
    assert [line for line in rest if line[0] in ("open", "finish")] == [
        ("finish", None, 0), ("open", True, 0), ("finish", None, 0),
    ]  # fmt: skip
    logged = [(curves_of(line), line["step"]) for line in read_metrics(folder / "metrics.jsonl")]
    told = [(values, step) for what, values, step in rest if what == "numbers"]
    assert [step for _, step in told] == [step for values, step in logged if values]
    assert [set(values) for values, _ in told] == [set(values) for values, _ in logged if values]
    results = json.loads((folder / "results.json").read_text())
    assert ("results", results_of(results), 12) in rest
    assert ("sheet", ("prototypes", 3), 12) in rest
    assert json.loads((folder / "tracking" / "wandb.json").read_text()) == {
        "id": name, "step": 12, "finished": True,
    }  # fmt: skip


@pytest.mark.parametrize("fails", ["open", "settings", "numbers", "sheet", "finish"])
def test_a_tracker_that_fails_is_told_of_once_and_stops_nothing(
    noted: type[Noted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setattr(Noted, "fails", (fails,))
    folder = tmp_path / "run"
    notices = run(folder, ["mlflow"], tiny_recipe("training.epochs=1", "loss.queue.length=0", "data.val=null"))
    said = [notice for notice in notices if "mlflow is told no more" in notice]
    rest = f"`swav track {folder} --to mlflow` tells it the rest"
    assert said == [f"mlflow is told no more (no {fails}); the run does not need it, and {rest}"]
    assert (folder / "results.json").exists()


def test_a_classifier_tells_too_and_none_and_overwrite_forget(noted: type[Noted], tmp_path: Path) -> None:
    make_run(tmp_path / "model", tiny_recipe())
    recipe = classifier_recipe(LinearRecipe, f"model={tmp_path / 'model'}", "data.train=shapes:16", "training.epochs=1")
    folder = tmp_path / "linear"
    train_classifier(recipe, folder, device="cpu", track=["wandb"])
    [lines] = noted.told.values()
    assert {"train/loss", "eval/top1"} <= {key for what, values, _ in lines if what == "numbers" for key in values}
    assert lines[-2][0] == "words"  # the protocol
    train_classifier(recipe, folder, device="cpu", overwrite=True)
    assert len(noted.told) == 1
    assert not (folder / "tracking").exists()


def test_of_several_processes_the_first_one_tells(
    noted: type[Noted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swav_cli.run.folder import RunFolder

    monkeypatch.setattr(distributed, "is_writer", lambda: False)
    with module.tracking(RunFolder(tmp_path), TWO_EPOCHS, ["wandb"], print) as trackers:
        trackers.line({"kind": "step", "step": 1, "loss": 1.0})
    assert noted.told == {}
    assert list(tmp_path.iterdir()) == []
