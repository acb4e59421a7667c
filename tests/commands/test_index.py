"""`swav index`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Command, Run
from tests.data.tars import make_tar, png, sample_tar
from tests.processes import environment


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number in range(2):
        sample_tar(tmp_path / f"s/{number}.tar", 5, first=5 * number)
    return tmp_path / "s"


def test_the_installed_command(swav: Run, swav_here: Command, shards: Path) -> None:
    done = swav("index", "s/{0..1}.tar")
    assert done.returncode == 0, done.stderr
    size = sum((shards / f"{number}.tar").stat().st_size for number in range(2))
    assert done.stdout.splitlines() == [
        f"s/0.tar: 5 pictures; index {shards}/0.tar.index.npz",
        f"s/1.tar: 5 pictures; index {shards}/1.tar.index.npz",
        f"10 pictures of 3 classes in 2 shards of {-(-size // 1000)} kB",
    ]
    assert sorted(os.listdir(shards)) == ["0.tar", "0.tar.index.npz", "1.tar", "1.tar.index.npz"]
    again = swav_here("index", "s/0.tar").out.splitlines()
    assert again[0].endswith("0.tar.index.npz (was there)")
    assert again[1].startswith("5 pictures of 3 classes in 1 shard of ")


def test_json_and_force(swav_here: Command, shards: Path) -> None:
    found = json.loads(swav_here("index", "s/*.tar", "--json").out)
    assert (found["pictures"], found["classes"], found["passed_over"]) == (10, 3, 0)
    assert found["bytes"] == sum(path.stat().st_size for path in shards.glob("*.tar"))
    assert found["shards"][1] == {
        "shard": "s/1.tar", "pictures": 5, "bytes": (shards / "1.tar").stat().st_size, "passed_over": 0,
        "index": f"{shards}/1.tar.index.npz", "new": True,
    }  # fmt: skip
    for options, new in (((), [False, False]), (("--force",), [True, True])):
        rows = json.loads(swav_here("index", "s/*.tar", "--json", *options).out)["shards"]
        assert [row["new"] for row in rows] == new


def test_what_is_left_out_is_said(swav_here: Command, tmp_path: Path, shards: Path) -> None:
    make_tar(tmp_path / "x.tar", {"a.png": png(1), "a.mask.png": png(2), "a.txt": b"x"})
    assert "1 picture without labels in 1 shard of 11 kB; 1 more lie beside them" in swav_here("index", "x.tar").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["s/{0..3}.tar"], "swav: s/{0..3}.tar: 2 of 4 shards are not there, first s/2.tar"),
        (["s"], "swav: s: is no file; name shards by their files, such as 's/*.tar'"),
        (["bad.tar"], "swav: bad.tar: is no tar file"),
        (["texts.tar"], "swav: texts.tar: no pictures in 1 shard"),
        (["a.tar.gz"], "swav: a.tar.gz: is compressed"),
    ],
)
def test_mistakes(swav_here: Command, tmp_path: Path, shards: Path, words: list[str], said: str) -> None:
    (tmp_path / "bad.tar").write_bytes(b"x" * 3000)
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    make_tar(tmp_path / "texts.tar", {"a.txt": b"x"})
    told = swav_here("index", *words)
    assert told.code == 2
    assert told.out == ""
    assert told.err.startswith(said)
    assert told.err.count("\n") == 1


def test_help_has_an_example_and_loads_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['swav', 'index', '--help']\n"
        "from swav_cli.app import main\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert told.stdout.endswith("[]\n"), told.stderr
    assert "swav index 'shards/train-{000..146}.tar'" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80


def test_a_run_on_shards_is_that_on_their_folder(swav_here: Command, tiny_file: Path, shards: Path) -> None:
    """To the last digit, with other processes reading; and its model reads shards too."""
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            tar.extractall("folder", members=[each for each in tar.getmembers() if each.name.endswith(".png")])
    small = ["--set", "training.batch_size=4", "--set", "loss.queue.length=0", "--epochs", "2", "--json"]
    runs = []
    for source, workers in (("folder", 0), ("s/*.tar", 2)):
        told = swav_here("pretrain", tiny_file, "--data", source, "--workers", workers, "--out", f"r/{workers}", *small)
        assert told.code == 0, told.err
        runs.append(json.loads(told.out))
    assert runs[0]["loss"] == runs[1]["loss"]
    assert not runs[1]["bad_pictures"]
    features = []
    for source in (["folder"], ["s/0.tar", "s/1.tar"]):
        told = swav_here("extract", *source, "--model", "r/2", "--out", f"{len(features)}.npy")
        assert told.code == 0, told.err
        features.append(np.load(f"{len(features)}.npy"))
    assert (features[0] == features[1]).all()
    assert Path("1.paths.txt").read_text().splitlines()[0] == "s/0.tar/0000.png"
    told = swav_here("predict", "s/*.tar", "--model", "r/2", "--json")
    assert told.code == 0, told.err
    assert json.loads(told.out)["pictures"] == 10
