"""`swav extract` as a user runs it: bad input, interruptions and several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from swav_cli.core.weights import About, Model, save_model
from swav_cli.recipe.file import dump_recipe
from tests.conftest import Command, Run, tiny_recipe
from tests.processes import environment, run, start, start_together, stopped

ABOUT = About(
    "resnet18", width=4, stem="small", hidden_dim=16, embedding_dim=8, prototypes=12, size=16, mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25), source="tiny",
)  # fmt: skip
FLOAT32 = ("--precision", "float32", "--device", "cpu")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a trained run in it."""
    home = tmp_path / "home"
    run = home / "runs" / "tiny"
    run.mkdir(parents=True)
    torch.manual_seed(0)
    save_model(run / "model.safetensors", Model(ABOUT.build(), ABOUT))
    (run / "recipe.yaml").write_text(dump_recipe(tiny_recipe("data.limit=10")))
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def extract(swav_here: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(home)
    return lambda *arguments: swav_here("extract", *arguments)


def names(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir())


def test_the_newest_run_and_its_own_pictures(swav: Run, home: Path) -> None:
    done = swav("extract", "--out", "feats.npy", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "model: runs/tiny" in done.stderr
    assert "wrote feats.npy: 10 x 32, pooled of runs/tiny" in done.stderr
    assert json.loads(done.stdout) == {
        "file": "feats.npy", "rows": 10, "shape": [10, 32], "layer": "pooled", "model": "runs/tiny", "failures": [],
        "description": "feats.json", "paths": "feats.paths.txt", "labels": "feats.labels.npy", "new": True,
    }  # fmt: skip
    paths = (home / "feats.paths.txt").read_text().splitlines()
    assert len(paths) == 10
    assert all(path.startswith("shapes/train/") for path in paths)


def test_the_same_twice_writes_nothing_and_says_so(extract: Command, home: Path) -> None:
    assert "wrote feats.npy: 10 x 32" in extract("--out", "feats.npy").err
    again = extract("--out", "feats.npy", "--json")
    assert again.err.splitlines() == [
        f"model: {Path('runs/tiny')}",
        "feats.npy is finished; replace it with --overwrite, or give another --out",
        f"feats.npy: 10 x 32, pooled of {Path('runs/tiny')}",
    ]
    assert json.loads(again.out)["new"] is False


def test_the_default_file_lies_beside_the_run(extract: Command, home: Path) -> None:
    assert extract().code == 0
    assert np.load(home / "runs/tiny/features.npy").shape == (10, 32)
    assert extract("--layer", "scores").code == 0
    assert np.load(home / "runs/tiny/features-scores.npy").shape == (10, 12)


def test_a_folder_with_labels_and_a_bad_file(extract: Command, photos: Path, home: Path) -> None:
    (photos / "plain" / "04.png").write_bytes(b"")
    done = extract(photos, "--model", "runs/tiny/model.safetensors", "--out", "f.csv")
    assert done.code == 0, done.err
    assert f"row 2 is NaN: {photos}/plain/04.png: the file is empty" in done.err
    assert done.out == ""
    lines = (home / "f.csv").read_text().splitlines()
    assert lines[0].startswith("path,label,f0,")
    assert lines[3] == f"{photos}/plain/04.png,plain," + ",".join(["nan"] * 32)
    assert [line.split(",")[1] for line in lines[1:]] == ["plain"] * 20 + ["stripes"] * 20


def test_many_failures_are_counted(extract: Command, photos: Path) -> None:
    for path in (photos / "plain").iterdir():
        path.write_bytes(b"")
    done = extract(photos, "--out", "f.npy", "--json")
    assert done.code == 0
    assert len(json.loads(done.out)["failures"]) == 20
    assert "and 10 more; all are in f.json" in done.err


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "pt"])
def test_options_reach_the_rows(extract: Command, home: Path, suffix: str) -> None:
    options = ("--layer", "embedding", "--multi-scale", "--normalize", "--batch-size", 3, "--workers", 1)
    assert extract("shapes:9", "--out", f"f.{suffix}", *options).code == 0
    described = json.loads((home / f"f.{suffix}.json").read_text())
    assert described["shape"] == [9, 8]
    assert described["normalize"] is described["multi_scale"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "f.np"], "is no format of features. Did you mean"),
        (["--out", "nowhere/f.npy"], "there is no folder nowhere; make it first"),
        (["--out", "runs"], "tells no format"),
        (["--out", "f.npy", "--layer", "poled"], "Did you mean 'pooled'?"),
        (["--out", "f.npy", "--layer", "logits"], "has no classifier"),
        (["--out", "f.npy", "--precision", "bf17"], "--precision bf17"),
        (["--out", "f.npy", "--device", "cudda"], "no such device"),
        (["--out", "f.npy", "--batch-size", "0"], "Invalid value for '--batch-size'"),
        (["--out", "f.npy", "--batch-size", "many"], "--batch-size"),
        (["--out", "f.npy", "--model", "runs/tinny"], "runs/tinny"),
        (["nowhere/", "--out", "f.npy"], "nowhere"),
        (["--out", "f.npy", "--overwritte"], "--overwrite"),
        (["--out", "f.csv", "--layer", "layer4"], "a feature map does not fit into a table"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(
    extract: Command, home: Path, arguments: list[str], message: str
) -> None:
    refused = extract(*arguments)
    assert refused.code == 2
    assert message in " ".join(refused.err.replace("│", " ").split())
    assert "Traceback" not in refused.err
    assert refused.out == ""
    assert names(home) == ["runs"]
    assert not (home / "runs/tiny/features.npy.part").exists()


def test_without_a_run_pictures_must_be_named(extract: Command, home: Path) -> None:
    (home / "runs/tiny").rename(home / "elsewhere")
    refused = extract("--out", "f.npy")
    assert refused.code == 2
    assert "there is no run whose pictures could be taken; name some" in refused.err
    assert extract("shapes:3", "--model", "elsewhere", "--out", "f.npy").code == 0


def test_paths_on_standard_input_come_sorted(home: Path, photos: Path) -> None:
    given = [str(photos / name) for name in ("stripes/03.png", "plain/02.png", "gone.png", "plain/02.png")]
    done = run("extract", "-", "--out", "f.npy", *FLOAT32, cwd=home, input="\n".join(given))
    assert done.returncode == 0, done.stderr
    assert (home / "f.paths.txt").read_text().splitlines() == sorted(set(given))
    assert np.isnan(np.load(home / "f.npy")).all(axis=1).tolist() == [True, False, False]


def test_help_has_examples_and_imports_no_torch(home: Path) -> None:
    code = (
        "import sys\nsys.argv = ['swav', 'extract', '--help']\nfrom swav_cli.app import main\n"
        "try:\n    main()\nfinally:\n    print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert told.stdout.splitlines()[-1] == "[]"
    assert "swav extract --out feats.npy" in told.stdout
    for option in ("--model", "--layer", "--normalize", "--multi-scale", "--resume", "--overwrite", "--json"):
        assert option in told.stdout


MANY = ("extract", "shapes:1500", "--out", "feats.npy", "--batch-size", 16, *FLOAT32)


def interrupted(home: Path, number: signal.Signals, rows: int) -> tuple[int, str]:
    """Run, and send the signal once about so many rows are on the disk: the exit code, and what was said."""
    file = home / "feats.npy.part" / "rows.npy"
    return stopped(
        start(*MANY, cwd=home), number, lambda: file.exists() and 512 * file.stat().st_blocks > rows * 4 * 32
    )


def test_sigterm_and_then_a_kill(swav: Run, extract: Command, home: Path) -> None:
    code, said = interrupted(home, signal.SIGTERM, 100)
    assert code == 143
    assert "all is saved. Go on with the same command" in said
    assert names(home) == ["feats.npy.part", "runs"]
    code, said = interrupted(home, signal.SIGKILL, 600)
    assert code == -9
    assert "going on: " in said
    went_on = extract(*MANY[1:])
    assert went_on.code == 0, went_on.err
    assert "rows are there" in went_on.err
    assert extract("shapes:1500", "--out", "whole.npy", *FLOAT32).code == 0
    np.testing.assert_allclose(np.load(home / "feats.npy"), np.load(home / "whole.npy"), atol=1e-6)


def test_processes_share_the_rows_of_one_file(swav: Run, extract: Command, home: Path, photos: Path) -> None:
    (photos / "plain" / "00.png").write_bytes(b"")
    (photos / "stripes" / "39.png").write_bytes(b"")
    assert extract(photos, "--out", "alone.npy", *FLOAT32).code == 0
    words = ("extract", photos, "--out", "feats.npy", "--batch-size", 3, "--json", *FLOAT32)
    processes = start_together(2, *words, cwd=home)
    said = [process.communicate(timeout=300) for process in processes]
    told = "".join(err for _, err in said)
    assert [process.returncode for process in processes] == [0, 0], told
    assert [failure["row"] for failure in json.loads("".join(out for out, _ in said))["failures"]] == [0, 39]
    np.testing.assert_allclose(np.load(home / "feats.npy"), np.load(home / "alone.npy"), atol=1e-6)
    assert (home / "feats.paths.txt").read_text() == (home / "alone.paths.txt").read_text()
    assert told.count("wrote feats.npy") == 1
    assert not (home / "feats.npy.part").exists()
    assert os.path.getsize(home / "feats.npy") == os.path.getsize(home / "alone.npy")
