"""Nobody is called and nothing is kept that was not asked for: no network, no settings, no file but those told of.

Commands of every kind run in a home of their own, and what they do is noted there: see `watched`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.conftest import TINY, tiny_recipe
from tests.data.tars import sample_tar
from tests.house.tree import ROOT
from tests.processes import CAN_FORK, environment, run, start_together
from tests.test_readme import make_run

TINY_STEPS = "--epochs 1 --set training.batch_size=8 --workers 1"
RUN = [".lock", "recipe.yaml", "metrics.jsonl", "model.safetensors", "results.json", "checkpoints/*.pt"]
TRAINED = [*RUN, "prototypes.png"]
CLASSIFIER = [*RUN, "confusion.csv"]
CACHED = [".lock", "recipe.yaml", "model.safetensors", "results.json", "confusion.csv", "features/*"]
OF_FEATURES = ["feats.npy", "feats.json", "feats.paths.txt", "feats.labels.npy"]
OF_CLUSTERS = [".lock", ".swav-clusters", "clusters.csv", "results.json", "keep.txt", "delete.txt", "kept/*"]

# What is typed, and the files that it leaves.
COMMANDS: list[tuple[str, Sequence[str]]] = [
    ("pretrain tiny.yaml --dry-run", []),
    ("pretrain tiny.yaml --preview crops.png", ["crops.png"]),
    ("pretrain tiny.yaml --workers 1", [f"runs/tiny/{name}" for name in TRAINED]),
    ("pretrain tiny.yaml --data a.tar --out tarred --set loss.queue.length=16 --set loss.queue.start_epoch=0",
     ["a.tar.index.npz", *(f"tarred/{name}" for name in TRAINED)]),
    ("eval runs/learnt --data photos", ["runs/learnt/results.json"]),
    ("eval runs/learnt --data photos --bank photos --svm", ["runs/learnt/results.json"]),
    (f"linear-eval runs/learnt --data photos {TINY_STEPS}",
     [f"runs/learnt-linear-small/{name}" for name in CLASSIFIER]),
    ("linear-eval runs/learnt --data photos --cached",
     [f"runs/learnt-linear-small-cached/{name}" for name in CACHED]),
    (f"finetune runs/learnt --data photos --labels 50% {TINY_STEPS}",
     [f"runs/learnt-50pct-finetune-small/{name}" for name in [*CLASSIFIER, "labelled.txt"]]),
    ("predict photos --model runs/learnt --sort-into sorted --out answers.csv --show sheet.png",
     ["answers.csv", "sheet.png", "sorted/*"]),
    ("extract photos --model runs/learnt --out feats.npy", OF_FEATURES),
    ("extract a.tar --model runs/learnt --out feats/",
     ["feats/_parts.json", "feats/part-000000.parquet", "a.tar.index.npz"]),
    ("clusters photos --model runs/learnt", [f"clusters/{name}" for name in (*OF_CLUSTERS, "index.html")]),
    ("export runs/learnt --format safetensors", ["runs/learnt/export/learnt.safetensors"]),
    ("export runs/learnt --format onnx", ["runs/learnt/export/learnt.onnx"]),
    ("export runs/wide --format timm --out timm", ["timm/config.json", "timm/model.safetensors"]),
    ("track runs/learnt --to tensorboard",
     ["runs/learnt/tracking/.tensorboard.lock", "runs/learnt/tracking/tensorboard*"]),
    ("watch runs/learnt", []),
    ("runs", []),
    ("report runs/learnt", ["runs/learnt/report.html"]),
    ("report runs/learnt/model.safetensors --out page.html", ["page.html"]),
    ("index a.tar", ["a.tar.index.npz"]),
    ("doctor --report", []),
    ("doctor tiny.yaml --data a.tar --set training.batch_size=4 --set loss.queue.length=0 --minutes 0.1 --json", []),
    ("bench tiny.yaml --minutes 0.02 --only run,inference", []),
    ("models", []),
    ("models show swav-800e", []),
    ("models show runs/learnt", []),
    ("recipes", []),
    ("recipes show quickstart", []),
    ("--version", []),
    ("pretrian", []),
]  # fmt: skip
NEEDS = {"onnx": "onnxruntime", "timm": "timm", "tensorboard": "tensorboard"}

# torch's own folder for what it compiles; the launcher's, for what processes say.
LEFT_BY_TORCH = ["torchinductor_*", "torchelastic_*"]


class Place(NamedTuple):
    """Where a command works, and what lies beside."""

    folder: Path
    home: Path
    temporary: Path
    notes: Path

    def files(self) -> set[str]:
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if not path.is_dir()}

    def noted(self, kind: str) -> list[str]:
        lines = self.notes.read_text(encoding="utf-8").splitlines()
        return [what for word, _, what in (line.partition(" ") for line in lines) if word == kind]

    def written_elsewhere(self) -> set[str]:
        here = (str(self.folder), str(self.temporary), "/dev/")
        return {path for path in self.noted("write") if not path.startswith(here)}


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Of a short name: sockets lie there, whose names have some hundred letters at most."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def place(tmp_path: Path, photos: Path, temporary: Path) -> Place:
    here = Place(tmp_path / "work", tmp_path / "home", temporary, tmp_path / "notes")
    for folder in here[:2]:
        folder.mkdir()
    photos.rename(here.folder / "photos")
    (here.folder / "tiny.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    sample_tar(here.folder / "a.tar", 16)
    make_run(here.folder / "runs" / "learnt", tiny_recipe())
    return here


def surroundings(place: Place) -> dict[str, str]:
    return {
        "HOME": str(place.home),
        "TMPDIR": str(place.temporary),
        "NOTES": str(place.notes),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture(autouse=True)
def nothing_is_chosen_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("XDG_", "HF_", "ORT_", "TORCH_HOME", "TORCHINDUCTOR", "MPLCONFIGDIR")):
            monkeypatch.delenv(name)


def swav(place: Place, *arguments: str, forked: bool = CAN_FORK) -> int:
    """Run the command, watched; `forked`: what is imported is so already, and not watched."""
    given = environment(PYTHONPATH=str(ROOT), **surroundings(place))
    done = run(*arguments, cwd=place.folder, env=given, module="tests.house.watched", forked=forked)
    print(done.stdout, done.stderr, place.notes.read_text(encoding="utf-8"))
    return done.returncode


def fitting(names: set[str], patterns: Sequence[str]) -> set[str]:
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}


@pytest.mark.parametrize(("typed", "left"), COMMANDS, ids=[typed[:44] for typed, _ in COMMANDS])
def test_a_command_calls_nobody_and_leaves_what_it_tells_of(place: Place, typed: str, left: Sequence[str]) -> None:
    for word in NEEDS.keys() & typed.split():
        pytest.importorskip(NEEDS[word])
    if "runs/wide" in typed:  # what timm has too
        make_run(place.folder / "runs" / "wide", tiny_recipe("model.width=64", "model.stem=imagenet"))
    before = place.files()
    assert swav(place, *typed.split()) == (2 if typed == "pretrian" else 0)
    assert place.noted("talk") == []
    assert place.noted("start") == []
    found = place.files() - before
    assert found == fitting(found, left)
    assert [name for name in left if not fitting(found, [name])] == []
    assert list(place.home.iterdir()) == []
    assert place.written_elsewhere() == set()
    remaining = {path.name for path in place.temporary.iterdir()}
    assert remaining == fitting(remaining, LEFT_BY_TORCH)


def test_imports_call_nobody_either(place: Place) -> None:
    assert swav(place, "predict", "photos", "--model", "runs/learnt", forked=False) == 0
    assert place.noted("talk") == []
    assert list(place.home.iterdir()) == []
    assert place.written_elsewhere() == set()


def test_processes_of_a_run_meet_where_they_are_told_to(place: Place) -> None:
    """On this machine here; torch looks up its name."""
    processes = start_together(
        2, "pretrain", "tiny.yaml", cwd=place.folder, module="tests.house.watched", **surroundings(place)
    )
    assert [process.communicate(timeout=300) and process.returncode for process in processes] == [0, 0]
    assert [line for line in place.noted("talk") if not re.match(r"socket\.get(host|addr)", line)] == []
    assert list(place.home.iterdir()) == []
    assert place.written_elsewhere() == set()


def test_a_call_that_is_asked_for_is_noted(place: Place) -> None:
    """So that the tests above can fail."""
    assert swav(place, "predict", "photos", "--model", "http://127.0.0.1:9/none.pth") == 2
    assert any("127.0.0.1" in line for line in place.noted("talk"))
    assert {path.relative_to(place.home).parts[:2] for path in place.home.glob("*/*")} == {(".cache", "swav")}
    assert place.written_elsewhere() != set()
