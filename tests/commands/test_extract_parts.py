"""`swav extract SHARDS --out DIR/` as a user runs it: parts, jobs, processes, bad input; where asked, a Ray cluster."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from swav_cli.core.weights import Model, save_model
from swav_cli.recipe.file import dump_recipe
from tests.commands.test_extract import ABOUT, FLOAT32
from tests.conftest import Command, tiny_recipe
from tests.data.tars import sample_tar
from tests.processes import environment, run, start, start_together, wait_until

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a trained model, and five shards."""
    home = tmp_path / "home"
    torch.manual_seed(0)
    save_model(home / "runs/tiny/model.safetensors", Model(ABOUT.build(), ABOUT))
    (home / "runs/tiny/recipe.yaml").write_text(dump_recipe(tiny_recipe()))
    for number in range(5):
        sample_tar(home / f"shards/{number}.tar", 6, first=20 * number)
    return home


@pytest.fixture
def extract(swav_here: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(home)
    return lambda *arguments: swav_here("extract", *arguments)


def read(folder: Path) -> Any:
    return parquet.read_table(folder).to_pydict()


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.parquet"))


def check_alike(extract: Command, home: Path, folder: str) -> None:
    """The rows are those of one file that one process writes."""
    assert extract("shards/*.tar", "--out", "all.npy", *FLOAT32).code == 0
    table = read(home / folder)
    assert table["path"] == (home / "all.paths.txt").read_text().splitlines()
    np.testing.assert_allclose(np.array(table["features"]), np.load(home / "all.npy"), rtol=1e-5, atol=1e-6)


def test_a_part_for_each_shard_and_nothing_twice(extract: Command, home: Path) -> None:
    done = extract("shards/*.tar", "--out", "feats/", "--json", *FLOAT32)
    assert done.code == 0, done.err
    assert json.loads(done.out) == {
        "folder": "feats", "parts": 5, "new": 5, "rows": 30, "shape": [30, 32], "layer": "pooled", "model": "runs/tiny",
        "unread": 0, "description": "feats/_parts.json",
    }  # fmt: skip
    assert done.err.splitlines() == ["model: runs/tiny", "wrote feats: 5 parts, 30 x 32, pooled of runs/tiny"]
    check_alike(extract, home, "feats")
    before = {path: path.stat().st_mtime_ns for path in (home / "feats").iterdir()}
    (home / "feats" / "part-000003.parquet").unlink()
    again = extract("shards/", "--out", "feats/", *FLOAT32)
    assert again.err.splitlines()[1:] == [
        "going on: 4 of 5 parts are there", "wrote feats: 5 parts (4 were there), 30 x 32, pooled of runs/tiny",
    ]  # fmt: skip
    now = {path: path.stat().st_mtime_ns for path in (home / "feats").iterdir()}
    assert {path.name for path in now if now[path] != before[path]} == {"part-000003.parquet"}
    assert "feats: 5 parts (all were there)" in extract("shards/", "--out", "feats/", *FLOAT32).err


def test_options_reach_the_rows_of_a_job(extract: Command, home: Path) -> None:
    done = extract(
        "shards/", "--out", "feats", "--part", "1/2", "--layer", "embedding", "--normalize", "--batch-size", 4, *FLOAT32
    )
    assert done.code == 0, done.err
    assert parts(home / "feats") == ["part-000001.parquet", "part-000003.parquet"]
    np.testing.assert_allclose(np.linalg.norm(read(home / "feats")["features"], axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shards/", "--out", "feats/", "--part", "2/2"], "of 2 jobs the first is 0 and the last 1"),
        (["shards/", "--out", "feats/", "--part", "6/9"], "there are no more than 5 files"),
        (["shards/", "--part", "0/2"], "name it with --out DIR/"),
        (["--out", "feats/"], "name those: swav extract 'shards/*.tar'"),
        (["runs/", "--out", "feats/"], "holds no shards (.tar), Parquet or Arrow files"),
        (["shards/", "--out", "no/where/"], "there is no folder no; make it first"),
        (["shards/", "--out", "shards/0.tar/"], "is a file; name a folder"),
        (["shards/", "--out", "runs/"], "holds other files, such as tiny; name a new folder"),
        (["shards/", "--out", "feats/", "--engine", "rya"], "no such engine. Did you mean 'ray'?"),
        (["shards/", "--out", "feats/", "--layer", "poled"], "Did you mean 'pooled'?"),
        (["shards/", "--out", "feats/", "--device", "cudda"], "no such device"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(
    extract: Command,
    home: Path,
    arguments: list[str],
    message: str,
) -> None:
    refused = extract(*arguments)
    assert refused.code == 2
    assert message in refused.err
    assert "Traceback" not in refused.err
    assert refused.out == ""
    assert sorted(os.listdir(home)) == ["runs", "shards"]


def test_what_can_not_be_read_is_told_and_the_rest_is_there(extract: Command, home: Path) -> None:
    (home / "shards/1.tar").write_bytes(b"no tar")
    refused = extract("shards/", "--out", "feats/", *FLOAT32)
    assert refused.code == 2
    assert "1 file of 5 could not be read, and 4 parts are there; first shards/1.tar: is no tar" in refused.err
    assert parts(home / "feats") == [f"part-{number:06d}.parquet" for number in (0, 2, 3, 4)]


def test_processes_share_the_shards(extract: Command, home: Path) -> None:
    processes = start_together(2, "extract", "shards/", "--out", "feats/", "--json", *FLOAT32, cwd=home)
    said = [process.communicate(timeout=300) for process in processes]
    told = "".join(err for _, err in said)
    assert [process.returncode for process in processes] == [0, 0], told
    assert json.loads("".join(out for out, _ in said))["new"] == 5
    assert told.count("wrote feats") == 1
    check_alike(extract, home, "feats")


def test_sigterm_leaves_whole_parts_and_the_command_goes_on(extract: Command, home: Path) -> None:
    sample_tar(home / "shards/5.tar", 4000, first=0)  # at which it is for a while
    words = ("extract", "shards/", "--out", "feats/", "--batch-size", 4, *FLOAT32)
    process = start(*words, cwd=home)
    wait_until(lambda: (home / "feats/.claims/part-000005").exists(), process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "stopped at 5 of 6 parts; what is there is kept. Go on with the same command" in said
    assert parts(home / "feats") == [f"part-{number:06d}.parquet" for number in range(5)]
    assert [path.name for path in (home / "feats").iterdir() if path.name.endswith(".part")] == []


# --- by a Ray cluster -----------------------------------------------------------------------------------------------


@pytest.mark.ray
def test_workers_of_ray_give_the_same(extract: Command, home: Path) -> None:
    pytest.importorskip("ray")
    words = ("extract", "shards/", "--out", "feats/", "--engine", "ray", "--devices", 2, "--json", *FLOAT32)
    done = run(*words, cwd=home, env=environment(PYTHONPATH=os.getcwd()))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["new"] == 5
    assert done.stderr.splitlines() == ["model: runs/tiny", "wrote feats: 5 parts, 30 x 32, pooled of runs/tiny"]
    check_alike(extract, home, "feats")


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own, of itself
def test_an_embedder_in_ray_data(extract: Command, home: Path) -> None:
    ray = pytest.importorskip("ray")
    import swav_cli

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        rows = [{"bytes": path.read_bytes(), "n": number} for number, path in enumerate([Path(__file__)] * 2)]
        found = ray.data.from_items(rows).map_batches(
            swav_cli.Embedder, fn_constructor_args=[str(home / "runs/tiny")], batch_size=2, concurrency=1
        )
        taken = found.take_all()
    finally:
        ray.shutdown()
    assert [row["n"] for row in taken] == [0, 1]
    assert all(len(row["features"]) == 32 and row["error"] for row in taken)
