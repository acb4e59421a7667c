"""`swav predict` as a user types it: real files, real processes where standard input and pipes matter."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from swav_cli.app import app
from swav_cli.core.weights import About, Model, save_model
from swav_cli.errors import UserError
from swav_cli.zoo import catalogue
from swav_cli.zoo.foreign.said import imagenet_classes
from tests.processes import environment, run, start, stopped, swav_command

DEMO = Path(__file__).parent.parent.parent / "demo"
NETWORK = {"backbone": "resnet18", "width": 4, "stem": "small", "size": 32}


def write_model(path: Path, **parts: object) -> None:
    torch.manual_seed(0)
    about = About(**NETWORK, **parts)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, Model(about.build(), about))


@pytest.fixture(autouse=True)
def here(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: 40 pictures in photos/, one of them damaged, a run of clusters, and two other models."""
    write_model(tmp_path / "runs/mine/model.safetensors", hidden_dim=16, embedding_dim=8, prototypes=12, source="mine")
    write_model(tmp_path / "classes.safetensors", classes=("cat", "dog", "eel"), source="three animals")
    write_model(tmp_path / "bare.safetensors")
    (photos / "plain" / "00.png").write_text("<html>")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def refusal(*arguments: object) -> str:
    """What it says where it does not begin; nothing may be left of it."""
    before = sorted(Path().rglob("*"))
    result = predict(*arguments)
    assert sorted(Path().rglob("*")) == before
    assert isinstance(result.exception, UserError), result.output
    assert result.exception.exit_code == 2
    assert result.stdout == ""
    return str(result.exception)


def test_the_demo_picture(tmp_path: Path) -> None:
    """As in the README, with the newest run."""
    shutil.copytree(DEMO, tmp_path / "demo")
    done = predict("demo/bird.JPEG")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.startswith(f"model: {Path('runs/mine')}")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["picture", "cluster", "probability", "margin"]
    assert lines[1].startswith("demo/bird.JPEG")
    assert len(lines) == 6
    assert "accuracy" not in done.stdout + done.stderr


def test_classes_of_a_classifier() -> None:
    done = predict("photos", "--model", "classes.safetensors", "--top-k", 2, "--format", "csv")
    assert done.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["path"] for row in rows] == sorted(path.as_posix() for path in Path("photos").rglob("*.png"))
    assert rows[0]["error"] == "a web page, not a picture"
    assert {row["class_1"] for row in rows[1:]} <= {"cat", "dog", "eel"}
    assert "1 of 40 pictures could not be read; first photos/plain/00.png: a web page" in done.stderr
    for number in (4, 8, 12):
        Path(f"photos/plain/{number:02d}.png").write_bytes(b"")
    done = predict("photos", "--model", "classes.safetensors", "--format", "csv")
    told = "; ".join(f"photos/plain/{number:02d}.png: the file is empty" for number in (4, 8))
    assert (
        f"4 of 40 pictures could not be read; first photos/plain/00.png: a web page, not a picture; {told}\n"
        in done.stderr
    )


def published_classifier(mirror: Path) -> str:
    """A file laid out as mmpretrain's published classifier is, of a narrow ResNet-50; the beginning of its hash."""
    torch.manual_seed(0)
    network = About(
        "resnet50", width=4, embedding_dim=0, prototypes=0, hidden_dim=0, classes=tuple(map(str, range(1000)))
    )
    model = network.build()
    torch.nn.init.normal_(model.fc.weight)  # as torch draws it at first it would count as untrained
    weights = model.state_dict().items()
    named = {f"head.{name}" if name.startswith("fc.") else f"backbone.{name}": tensor for name, tensor in weights}
    meta = {"dataset_meta": {"classes": ["tench, Tinca tinca", *(f"class {number}" for number in range(1, 1000))]}}
    file = mirror / catalogue.find(catalogue.DEFAULT).file
    mirror.mkdir()
    torch.save({"meta": meta, "state_dict": named}, file)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8]


def test_the_demo_picture_where_nothing_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published classifier from a mirror: refused where its hash is another, else top-5 in torchvision's words."""
    shutil.rmtree("runs")
    shutil.copytree(DEMO, tmp_path / "demo")
    monkeypatch.setenv("SWAV_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    begins = published_classifier(tmp_path / "mirror")
    assert f"its sha256 begins with {begins} and should with 80341e08; remove or replace it" in refusal(
        "demo/bird.JPEG"
    )
    entry = replace(catalogue.find(catalogue.DEFAULT), sha256=begins)
    monkeypatch.setattr(catalogue, "entries", lambda: (entry,))
    done = predict("demo/bird.JPEG")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines() == [
        "model: swav-200e-mmpretrain-linear",
        "swav-200e-mmpretrain-linear: mmpretrain classifier: 318 of 318 backbone tensors, classifier of 1000 classes",
    ]
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["picture", "class", "probability"]
    assert len(lines) == 6
    named = [line.removeprefix("demo/bird.JPEG").rsplit(None, 2)[0].strip() for line in lines[1:]]
    assert set(named) <= set(imagenet_classes())


def test_one_object_of_json() -> None:
    done = predict("photos", "--json", "--top-k", 99, "--sort-into", "sorted")
    content = json.loads(done.stdout)
    assert (content["kind"], content["pictures"], content["unread"]) == ("cluster", 40, 1)
    assert len(content["answers"][1]["top"]) == 12
    assert content["sorted"]["new"] == 39
    assert sum(content["sorted"]["folders"].values()) == 39
    assert "model: runs" in done.stderr


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.txt"])
def test_a_file(name: str) -> None:
    done = predict("photos", "--out", f"new/{name}", "--top-k", 1)
    assert done.exit_code == 0, done.exception
    assert done.stdout == ""
    assert f"wrote {Path('new') / name}" in done.stderr
    text = Path("new", name).read_text(encoding="utf-8")
    assert text.count("photos/") == 40
    assert [path.name for path in Path("new").iterdir()] == [name]
    printed = {"a.json": "json", "a.jsonl": "jsonl", "a.csv": "csv", "a.txt": "table"}[name]
    if name != "a.txt":  # laid out for the width of what it is written to
        assert predict("photos", "--format", printed, "--top-k", 1).stdout == text


def test_sorted_twice() -> None:
    first = predict("photos", "--sort-into", "sorted")
    assert "39 pictures in" in first.stderr
    assert "of 12 clusters; " in first.stderr
    assert "stay empty" in first.stderr
    assert "largest: cluster-00" in first.stderr
    before = sorted(Path("sorted").rglob("*"))
    assert sum(path.suffix == ".png" for path in before) == 39
    assert "(39 were there already)" in predict("photos", "--sort-into", "sorted").stderr
    assert sorted(Path("sorted").rglob("*")) == before


def test_sorted_into_a_folder_below() -> None:
    """Its pictures are results and not inputs."""
    for _ in range(2):
        done = predict("photos", "--sort-into", "photos/sorted", "--copy", "--json")
        assert json.loads(done.stdout)["pictures"] == 40
    assert not any(path.is_symlink() for path in Path("photos/sorted").rglob("*"))


def test_classes_as_folders() -> None:
    predict("photos", "--model", "classes.safetensors", "--sort-into", "sorted")
    assert {path.name for path in Path("sorted").iterdir() if path.is_dir()} <= {"cat", "dog", "eel"}


def test_a_sheet() -> None:
    done = predict("photos", "--show", "sheet.png")
    assert "wrote sheet.png" in done.stderr
    assert "first 64" not in done.stderr
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 1000
    assert "with the first 64 of 70 pictures" in predict("shapes:70", "--show", "sheet.png").stderr


def test_pictures_of_a_run_that_draws_them() -> None:
    done = predict("shapes:5", "--sort-into", "sorted", "--top-k", 1)
    assert len(done.stdout.splitlines()) == 6
    assert len(list(Path("sorted").rglob("*.png"))) == 5


def test_none_could_be_read() -> None:
    """Their rows are written all the same."""
    Path("bad").mkdir()
    for name in "ab":
        Path("bad", f"{name}.png").touch()
    done = predict("bad", "--format", "jsonl")
    assert done.stdout.count("the file is empty") == 2
    assert isinstance(done.exception, UserError)
    assert (
        str(done.exception)
        == "none of 2 pictures could be read; first bad/a.png: the file is empty; bad/b.png: the file is empty"
    )
    alone = predict("bad/a.png").exception
    assert str(alone) == "bad/a.png: the file is empty"


def test_a_model_without_answers() -> None:
    told = refusal("photos", "--model", "bare.safetensors", "--out", "x.csv", "--sort-into", "s")
    assert told.startswith("bare.safetensors: has a backbone (resnet18), but neither a classifier nor prototypes")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photo"], "no such picture or folder. Did you mean 'photos'?"),
        (["photos/*.gif"], "no file has a name like that"),
        (["photos", "--format", "xml"], "use table, json, jsonl, csv"),
        (["photos", "--json", "--format", "csv"], "leave out one of"),
        (["photos", "--out", "x.pdf"], "name it .json"),
        (["photos", "--out", "photos", "--format", "csv"], "is a folder; name a file"),
        (["photos", "--out", "bare.safetensors/x.csv"], "can't be written below"),
        (["photos", "--show", "x.jpg"], "name it x.png"),
        (["photos", "--show", "photos/plain/02.png"], "is an input, and would be replaced"),
        (["photos/plain/02.png", "--format", "csv", "--out", "photos/plain/02.png"], "is an input, and would be repl"),
        (["photos", "--sort-into", "bare.safetensors"], "is a file; name a folder"),
        (["photos", "--sort-into", "photos"], "is read, and can't take the results as well"),
        (["photos", "--device", "gpu"], "no such device"),
        (["photos", "--precision", "f16"], "use auto, float32, bf16"),
    ],
)
def test_all_is_checked_first(arguments: list[str], message: str) -> None:
    assert message in refusal(*arguments)


@pytest.mark.parametrize("option", ["--top-k", "--batch-size"])
def test_numbers_out_of_range(option: str) -> None:
    assert predict("photos", option, 0).exit_code == 2


def piped(shell: str) -> subprocess.CompletedProcess[bytes]:
    command = shell.replace("swav", " ".join(swav_command()))
    return subprocess.run(command, shell=True, capture_output=True, env=environment(), timeout=60)


@pytest.mark.skipif(os.name == "nt", reason="no such pipes there")
def test_paths_on_standard_input_and_a_reader_that_leaves(here: Path) -> None:
    names = [f"photos/plain/{number:02d}.png" for number in range(0, 40, 2)]
    (here / "list").write_text("\n".join([*names, *(f"z/{number}.png" for number in range(4000))]))
    done = piped("swav predict - --format jsonl --workers 2 --batch-size 16 < list | head -n 2")
    assert (done.returncode, done.stderr.decode()) == (0, f"model: {Path('runs/mine')}\n")
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == names[:2]


def test_the_other_work_goes_on_when_the_reader_leaves() -> None:
    done = piped("swav predict photos --batch-size 8 --sort-into sorted --format jsonl | head -n 1")
    assert b"39 pictures in" in done.stderr
    assert len(list(Path("sorted").rglob("*.png"))) == 39


@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
@pytest.mark.parametrize(
    ("number", "workers", "says"),
    [
        (signal.SIGINT, 0, ""),
        (signal.SIGTERM, 0, "swav: stopped by SIGTERM\n"),
        (signal.SIGTERM, 2, "swav: stopped by"),
    ],
)
def test_stopped_in_the_middle(here: Path, number: signal.Signals, workers: int, says: str) -> None:
    """Ctrl-C, and a scheduler's end, leave no file and show no traceback."""
    (here / "list.txt").write_text("photos/plain/02.png\n" + "".join(f"photos/{n}.png\n" for n in range(400_000)))
    process = start("predict", "list.txt", "--out", "new/a.csv", "--workers", workers, cwd=here)
    code, told = stopped(process, number, (here / "new").exists)
    assert code == 128 + number
    assert "Traceback" not in told
    assert says in told
    assert list((here / "new").iterdir()) == []


def test_help() -> None:
    text = predict("--help").stdout
    assert "swav predict demo/bird.JPEG" in text
    assert "argmax" in text
    assert "not equipartitioned" in text
    for option in (
        "--model", "--top-k", "--format", "--json", "--out", "--sort-into", "--copy", "--link", "--show",
        "--batch-size", "--device", "--precision", "--workers",
    ):  # fmt: skip
        assert option in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_demo_picture_is_what_its_script_draws(tmp_path: Path) -> None:
    """But for what versions of Pillow and its JPEG library round in another way."""
    spec = importlib.util.spec_from_file_location("draw_bird", DEMO / "draw_bird.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    drawn = np.asarray(script.draw_bird()).astype(float)
    with Image.open(DEMO / "bird.JPEG") as kept:
        assert (kept.size, kept.format) == ((500, 375), "JPEG")
        assert np.abs(np.asarray(kept) - drawn).mean() < 4


def test_a_reader_that_goes_away_ends_the_list_and_what_has_no_other_work(here: Path, unread: int) -> None:
    done = run("predict", "photos/", "--format", "csv", stdout=unread, cwd=here)
    assert done.returncode == 141
    assert done.stderr.splitlines()[-1].startswith("model: "), done.stderr
    done = run("predict", "photos/", "--show", "sheet.png", stdout=unread, cwd=here)
    assert done.returncode == 0
    assert "wrote sheet.png" in done.stderr
    assert (here / "sheet.png").exists()
