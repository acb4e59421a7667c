"""`swav track`, and `--track`, with the trackers themselves."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from swav_cli.files import held
from swav_cli.report.trackers.told import curves_of
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import read_metrics
from tests.conftest import Command, Run
from tests.house.tree import ROOT
from tests.processes import environment, run
from tests.run.made_up import log_until, make_up, text_of

# Of the trackers' own imports, by which nobody here can do anything.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def finished(path: Path, step: int = 18) -> RunFolder:
    folder = make_up(path, step, recipe="tiny", knn=50.0, verdict="healthy")
    Image.fromarray(np.full((8, 12, 3), 200, dtype=np.uint8)).save(folder.prototypes)
    return folder


def scalars_logged(folder: RunFolder) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for line in read_metrics(folder.metrics):
        for key, value in curves_of(line).items():
            found.setdefault(key, []).append((line["step"], value))
    return found


def events(folder: RunFolder) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder.tracking / "tensorboard"), size_guidance={"scalars": 0}).Reload()


def scalars(read: Any) -> dict[str, list[tuple[int, float]]]:
    return {key: [(each.step, each.value) for each in read.Scalars(key)] for key in read.Tags()["scalars"]}


def test_tensorboard_reads_what_a_run_holds_and_later_what_is_new(swav_here: Command, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    folder = make_up(tmp_path / "runs" / "a run", step=8)
    code, out, err = swav_here("track", "--to", "tensorboard", "--json")
    assert (code, err) == (0, "tensorboard: tensorboard --logdir 'runs/a run/tracking/tensorboard'\n")
    assert json.loads(out)["steps_told"] == {"tensorboard": 8}
    folder.metrics.write_text(text_of(log_until(18)))
    folder.results.write_text(json.dumps({"recipe": "tiny", "knn": 50.0, "verdict": "healthy"}))
    Image.fromarray(np.full((8, 12, 3), 200, dtype=np.uint8)).save(folder.prototypes)
    assert swav_here("track", "runs/a run").code == 0
    read = events(folder)
    found = scalars(read)
    assert found.pop("results/knn") == [(18, 50.0)]
    logged = scalars_logged(folder)
    assert found.keys() == logged.keys()
    for key, points in logged.items():
        assert [step for step, _ in found[key]] == [step for step, _ in points]
        assert [value for _, value in found[key]] == pytest.approx([value for _, value in points])
    assert read.Tags()["images"] == ["prototypes"]
    assert (read.Images("prototypes")[0].height, read.Images("prototypes")[0].width) == (8, 12)
    recipe, verdict = (read.Tensors(f"{name}/text_summary")[0].tensor_proto for name in ("recipe", "verdict"))
    assert b"batch_size: 8" in recipe.string_val[0]
    assert verdict.string_val[0] == b"healthy"
    assert swav_here("track", "runs/a run").err == "tensorboard knows all of runs/a run\n"


def test_trackers_of_accelerate_keep_all_below_the_run_and_call_nobody(tmp_path: Path) -> None:
    """Those that are installed, offline; the home is another's, and what is done there is noted."""
    tools = [name for name in ("trackio", "wandb") if is_installed(name)]
    if not tools:
        pytest.skip("neither trackio nor wandb is installed")
    folder, home = finished(tmp_path / "work" / "runs" / "x", 7), tmp_path / "home"
    home.mkdir()
    notes = tmp_path / "notes"
    given = environment(HOME=str(home), NOTES=str(notes), TMPDIR=str(tmp_path), PYTHONPATH=str(ROOT))
    for name in [*given]:
        if name.startswith(("WANDB_", "TRACKIO_", "HF_", "XDG_")):
            del given[name]
    work = tmp_path / "work"
    done = run("track", "--to", ",".join(tools), cwd=work, env=given, module="tests.house.watched")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    talks = [line for line in notes.read_text().splitlines() if line.startswith("talk ")]
    assert [line for line in talks if "127.0.0.1" not in line and "localhost" not in line] == []
    assert list(home.iterdir()) == []
    assert [path.name for path in work.iterdir()] == ["runs"]
    if "trackio" in tools:
        with sqlite3.connect(folder.tracking / "trackio" / "swav.db") as base:
            rows = base.execute("select step, metrics from metrics where run_name = 'x' order by id").fetchall()
        told = [(step, json.loads(metrics)) for step, metrics in rows]
        assert [step for step, values in told if "train/loss" in values] == list(range(1, 8))
        assert told[1][1]["train/loss"] == pytest.approx(1.2)
    if "wandb" in tools:
        known = json.loads((folder.tracking / "wandb.json").read_text())["id"]
        [kept] = (folder.tracking / "wandb" / "wandb").glob(f"offline-run-*-{known}/*.wandb")
        assert b"train/loss" in kept.read_bytes()


def is_installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None and find_spec("accelerate") is not None


def test_what_can_not_be_told_is_refused_before_anything_is_written(
    swav_here: Command, tmp_path: Path, tiny_file: Path
) -> None:
    for words in (["pretrain", tiny_file], ["linear-eval", "x"], ["finetune", "x"]):
        code, _, err = swav_here(*words, "--track", "tensorbord")
        assert (code, "--track tensorbord: no such tracker. Did you mean 'tensorboard'?" in err) == (2, True)
    assert not (tmp_path / "runs").exists()
    pytest.importorskip("tensorboard")
    assert swav_here("linear-eval", "x", "--cached", "--track", "tensorboard").code == 2
    assert swav_here("track", "--to", "none").err == "swav: --to none: name a tracker, such as tensorboard\n"
    folder = make_up(tmp_path / "runs" / "x", step=8)
    folder.tracking.mkdir()
    (folder.tracking / "run.json").write_text('{"trackers": ["tensorboard"]}')
    with held(folder.lock):
        err = swav_here("track").err
    assert err == "swav: runs/x: the run itself tells tensorboard; wait for its end, or name others\n"
    folder.recipe.unlink()
    assert "runs/x/recipe.yaml: is not there" in swav_here("track", "runs/x").err
    assert os.listdir(folder.tracking) == ["run.json"]


def test_a_run_in_progress_is_followed_to_its_end(
    swav_here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    from swav_cli.tasks import track as module

    folder = make_up(tmp_path / "runs" / "x", step=8)
    looks = iter([True, True, False])
    first = module.glance

    def looked(path: Path) -> Any:
        state = first(path)
        alive = next(looks, False)
        if not alive:
            folder.metrics.write_text(text_of(log_until(12)))
        return state._replace(state="running" if alive else "stopped")

    monkeypatch.setattr(module, "glance", looked)
    monkeypatch.setattr(module, "BETWEEN", 0)
    assert json.loads(swav_here("track", "--json").out)["steps_told"] == {"tensorboard": 12}
    assert [step for step, _ in scalars(events(folder))["train/loss"]] == list(range(1, 13))


def test_a_recipe_stays_free_of_trackers_and_a_run_remembers_them(swav: Run, tiny_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    more = ("--epochs", 1, "--set", "data.val=null", "--set", "loss.queue.length=0")
    done = swav("pretrain", tiny_file, *more, "--track", "tensorboard")
    assert done.returncode == 0, done.stderr
    folder = RunFolder(tmp_path / "runs" / "tiny")
    assert "track" not in folder.recipe.read_text()
    assert json.loads((folder.tracking / "run.json").read_text()) == {"trackers": ["tensorboard"]}
    assert [step for step, _ in scalars(events(folder))["train/loss"]] == [1, 2, 3, 4, 5, 6]
    again = swav("pretrain", tiny_file, *more, "--track", "tensorboard")
    assert "its trackers were told nothing now: swav track runs/tiny --to tensorboard" in again.stderr
