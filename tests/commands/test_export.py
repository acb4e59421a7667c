"""`swav export`, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swav_cli.core.weights import About, Model, save_model
from tests.conftest import Run
from tests.processes import environment, start, stopped

TINY = About(
    "resnet18", width=4, stem="small", hidden_dim=8, embedding_dim=4, prototypes=6, size=16, source="tiny",
)  # fmt: skip


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "tiny"
    save_model(folder / "model.safetensors", Model(TINY.build().eval(), TINY))
    return folder


def test_nothing_named_is_the_newest_run_as_onnx(swav: Run, run_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    done = swav("export")
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert said[0].startswith("model: ")
    assert said[1].startswith("wrote runs/tiny/export/tiny.onnx, ")
    assert said[2].startswith("largest difference from ours ")
    assert said[2].endswith("and 1e-04 is allowed")
    assert said[3].startswith("compared: pooled, on batches of drawn pictures: 1 of 16x16, 7 of 16x16, 2 of ")
    assert said[-1] == "loaded by:"
    assert "arning" not in done.stderr
    assert (run_folder / "export" / "tiny.onnx").exists()
    code = done.stdout + "\nprint([out.name for out in network.get_outputs()], pooled.shape)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60, env=environment()
    )
    assert told.stdout == "['pooled'] (1, 32)\n", told.stderr


def test_the_result_for_machines(swav: Run, run_folder: Path) -> None:
    done = swav("export", run_folder, "--format", "mmpretrain", "--half", "--json", "--out", "w.pth")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert done.stderr == ""
    assert (facts["file"], facts["format"], facts["half"], facts["source"]) == ("w.pth", "mmpretrain", True, "tiny")
    assert facts["largest_difference"] <= facts["tolerance"] == 2e-2
    compared = [(part["shape"], part["layer"]) for part in facts["differences"]]
    layers = ("pooled", "embedding", "scores")
    assert compared == [(shape, layer) for shape in ([1, 16, 16], [7, 16, 16]) for layer in layers]
    assert facts["largest_relative_difference"] <= facts["largest_difference"]


def test_a_file_that_is_there_is_kept(swav: Run, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "w.pt2").write_text("mine")
    done = swav("export", run_folder, "--out", "w.pt2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "swav: w.pt2 exists; replace it with --overwrite, or name another with --out\n"
    assert (tmp_path / "w.pt2").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "tim"], "no export format 'tim'. Did you mean 'timm'? There are: onnx, torch-export"),
        (["--format", "torchvision"], "--format torchvision can't hold this model: its stem is 3x3"),
        (["--ovewrite"], "--overwrite"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(
    options: list[str], said: str, swav: Run, run_folder: Path
) -> None:
    done = swav("export", run_folder, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in run_folder.iterdir()] == ["model.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_middle(number: signal.Signals, run_folder: Path, tmp_path: Path) -> None:
    """What is half-made goes, and so does the folder that was made for it."""
    words = ("export", run_folder, "--format", "torch-export", "--out", "new/tiny.pt2")
    code, told = stopped(start(*words, cwd=tmp_path), number, (tmp_path / "new").exists)
    assert code == 128 + number
    assert "Traceback" not in told
    assert not (tmp_path / "new").exists()


def test_help_has_examples_and_every_option(swav: Run) -> None:
    text = swav("export", "--help").stdout
    assert "swav export runs/quickstart" in text
    for option in (
        "--format",
        "--out",
        "--layer",
        "--preprocess",
        "--half",
        "--static",
        "--overwrite",
        "--json",
        "mmpretrain",
    ):
        assert option in text
    assert max(map(len, text.splitlines())) <= 80


def test_help_and_wrong_formats_do_not_wait_for_torch() -> None:
    code = (
        "import sys; sys.argv = ['swav', 'export', '--format', 'onx']\n"
        "from swav_cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment())
    assert done.stdout == "[]\n"
