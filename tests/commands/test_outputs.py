"""Where commands write: a home folder's ~, pipes and links that stand at the place, names that are too long."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from swav_cli.core.weights import About, Model, save_model
from swav_cli.errors import UserError
from swav_cli.recipe.file import dump_recipe
from tests.conftest import Command, tiny_recipe

ABOUT = About("resnet18", width=4, stem="small", hidden_dim=16, embedding_dim=8, prototypes=12, size=16)
LONG = "y" * 300

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and ~ of POSIX")


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained run, photos/ with forty pictures where asked for, and an empty home folder."""
    folder = tmp_path / "runs" / "tiny"
    torch.manual_seed(0)
    save_model(folder / "model.safetensors", Model(ABOUT.build(), ABOUT))
    (folder / "recipe.yaml").write_text(dump_recipe(tiny_recipe()))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return folder


# Commands without their place, and the option that takes it.
WRITES = [
    ("predict", "shapes:3", "--out", "answers.csv"),
    ("predict", "shapes:3", "--show", "sheet.png"),
    ("predict", "shapes:3", "--sort-into", "sorted"),
    ("extract", "shapes:3", "--out", "feats.npy"),
    ("extract", "shapes:3", "--out", "feats.csv"),
    ("export", "--format", "safetensors", "--out", "model.safetensors"),
    ("export", "--format", "official", "--out", "model.pth"),
    ("pretrain", "quickstart", "--data", "shapes:48", "--batch-size", "16", "--preview", "sheet.png"),
]
TRAINS = [
    ("pretrain", "quickstart", "--data", "shapes:48", "--batch-size", "16", "--out", "run"),
    ("linear-eval", "--out", "run"),
    ("linear-eval", "--cached", "--out", "run"),
    ("finetune", "--out", "run"),
    ("linear-eval", "--plot", "sheet.png"),
    ("finetune", "--plot", "sheet.png"),
    ("eval", "--plot", "sheet.png"),
]


@pytest.mark.parametrize("words", [words for words in WRITES if "official" not in words], ids=" ".join)
def test_a_tilde_is_the_home_folder(swav_here: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = swav_here(*words[:-1], f"~/{words[-1]}")
    assert done.code == 0, done.err
    assert (tmp_path / "home" / words[-1]).exists()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("words", TRAINS, ids=" ".join)
def test_a_tilde_without_a_home_folder_is_one_line(
    swav_here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    done = swav_here(*words[:-1], f"~/{words[-1]}")
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("swav: ~/")
    assert "there is no home folder" in done.err
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("words", [*WRITES, *TRAINS], ids=" ".join)
def test_a_name_that_is_too_long_is_one_line(swav_here: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    before = sorted(tmp_path.glob("[!h]*/**/*"))  # matplotlib makes folders in a new home
    done = swav_here(*words[:-1], LONG + Path(words[-1]).suffix)
    assert done.code == 2, done.err
    assert done.err.splitlines()[-1].startswith("swav: --")
    assert "File name too long" in done.err
    assert sorted(tmp_path.glob("[!h]*/**/*")) == before


@pytest.mark.parametrize("words", [words for words in WRITES if words[0] in ("predict", "extract")], ids=" ".join)
def test_a_name_as_long_as_any_can_be_is_written_or_refused(
    swav_here: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    suffix = Path(words[-1]).suffix
    name = "y" * (255 - len(suffix)) + suffix
    done = swav_here(*words[:-1], name)
    if words[0] == "predict":
        assert done.code == 0, done.err
        assert (tmp_path / name).exists()
    else:  # others lie beside it, under longer names
        assert done.code == 2
        assert "File name too long" in done.err
    assert not list(tmp_path.rglob("*.part"))


def test_features_whose_unfinished_work_would_have_too_long_a_name(swav_here: Command, tmp_path: Path) -> None:
    name = "y" * 244 + ".npy"  # with .paths.txt in place of .npy it is 254
    done = swav_here("extract", "shapes:3", "--out", name)
    assert done.code == 0, done.err
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.name.startswith("y")) == [
        ".json",
        ".npy",
        ".npy",
        ".txt",
    ]


@pytest.mark.parametrize("words", [words for words in WRITES if words[-2] != "--sort-into"], ids=" ".join)
def test_a_pipe_is_written_into_or_refused(swav_here: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    pipe = tmp_path / words[-1]
    os.mkfifo(pipe)
    handle = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # so that nothing waits for a reader
    received: list[bytes] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                received.append(os.read(handle, 1 << 16))
            except BlockingIOError:
                over.wait(0.01)

    reader = threading.Thread(target=read)
    reader.start()
    more = ("--overwrite",) if words[0] == "export" else ()
    done = swav_here(*words, *more)
    over.set()
    reader.join()
    received.append(os.read(handle, 1 << 16))
    os.close(handle)
    assert stat.S_ISFIFO(os.lstat(pipe).st_mode)
    if words[0] in ("extract", "export"):
        assert done.code == 2
        assert "is a pipe or a device, and would be replaced" in done.err
    else:
        assert done.code == 0, done.err
        assert b"".join(received).startswith((b"\x89PNG", b"path,"))


@pytest.mark.parametrize("words", [words for words in WRITES if words[-2] != "--sort-into"], ids=" ".join)
@pytest.mark.parametrize("leads_to", ["file", "nothing"])
def test_a_link_is_written_through_or_refused(
    swav_here: Command, tmp_path: Path, words: tuple[str, ...], leads_to: str
) -> None:
    link, target = tmp_path / words[-1], tmp_path / "home" / "target"
    if leads_to == "file":
        target.write_text("before")
    link.symlink_to(target)
    more = ("--overwrite",) if words[0] in ("export", "extract") else ()
    done = swav_here(*words, *more)
    assert link.is_symlink()
    if words[0] in ("extract", "export"):
        assert done.code == 2
        assert "is a link, and would be replaced" in done.err
        assert not target.exists() or target.read_text() == "before"
    else:
        assert done.code == 0, done.err
        assert target.stat().st_size > 10


def test_a_run_whose_results_cannot_be_written_is_judged_all_the_same(
    swav_here: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of somebody else's; the rights of files don't stop the superuser."""

    def refuse(path: Path, content: object) -> None:
        raise UserError(f"{path}: can't be written (Permission denied)")

    monkeypatch.setattr("swav_cli.run.results.write_json", refuse)
    for more, key in ((), "learnt"), (("--svm", "--bank", "shapes:60"), "score"):
        done = swav_here("eval", "--data", "shapes:40", "--device", "cpu", "--json", *more)
        assert done.code == 0, done.err
        assert key in json.loads(done.out)
        assert "results.json: can't be written (Permission denied); these numbers are only shown" in done.err
    assert not (run_folder / "results.json").exists()


FOLDERS = [words for words in (*WRITES, *TRAINS) if not Path(words[-1]).suffix]


@pytest.mark.parametrize("words", FOLDERS, ids=" ".join)
@pytest.mark.parametrize("stands", ["pipe", "file", "link to nothing"])
def test_a_folders_place_where_something_else_stands(
    swav_here: Command, tmp_path: Path, words: tuple[str, ...], stands: str
) -> None:
    place = tmp_path / words[-1]
    if stands == "pipe":
        os.mkfifo(place)
    elif stands == "file":
        place.write_text("mine")
    else:
        place.symlink_to(tmp_path / "file" / "below")
        (tmp_path / "file").write_text("mine")
    before = os.lstat(place)
    done = swav_here(*words, *(["--overwrite"] if words[0] != "predict" else []))
    assert done.code == 2, done.err
    assert done.err.splitlines()[-1].startswith(f"swav: {words[-2]} {words[-1]}: ")
    assert os.lstat(place).st_ino == before.st_ino


def test_a_folder_of_pictures_in_the_home_folder_is_trained_on(
    swav_here: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    done = swav_here("pretrain", f"~/{photos.name}", "--batch-size", "8", "--dry-run")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    "words",
    [
        ("extract", "arrays", "--out", "arrays/a.npy", "--overwrite"),
        ("extract", "arrays/a.npy", "--out", "link.npy", "--overwrite"),
        ("extract", "a.paths.txt", "--out", "a.npy", "--overwrite"),
        ("extract", "shapes:3", "--model", "runs/m.safetensors", "--out", "runs/m.safetensors", "--overwrite"),
        ("predict", "list.csv", "--out", "link.csv"),
        ("predict", "~/list.csv", "--out", "list.csv"),
        ("predict", "shapes:3", "--show", "a.png", "--sort-into", "a.png"),
    ],
    ids=" ".join,
)
def test_what_is_read_and_what_is_written_else_is_not_written_over(
    swav_here: Command, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "a.npy", np.zeros((8, 8, 3), dtype=np.uint8))
    for name in ("a.paths.txt", "list.csv"):
        (tmp_path / name).write_text("arrays/a.npy\n")
    (tmp_path / "link.npy").symlink_to("arrays/a.npy")
    (tmp_path / "link.csv").symlink_to("list.csv")
    (tmp_path / "runs" / "m.safetensors").write_bytes((run_folder / "model.safetensors").read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = swav_here(*words)
    assert done.code == 2
    assert "would be replaced" in done.err or "is the place of --show too" in done.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_picture_is_not_drawn_over(swav_here: Command, photos: Path, tmp_path: Path) -> None:
    picture = photos / "plain" / "00.png"
    before = picture.read_bytes()
    classifier = replace(ABOUT, classes=("plain", "stripes"))
    save_model(tmp_path / "classes.safetensors", Model(classifier.build(), classifier))
    for words in (
        ("pretrain", photos, "--batch-size", "8", "--preview", picture),
        ("eval", "classes.safetensors", "--data", photos, "--plot", picture),
    ):
        done = swav_here(*words)
        assert done.code == 2
        assert f"{picture}: is an input, and would be replaced by the result" in done.err
    assert picture.read_bytes() == before
