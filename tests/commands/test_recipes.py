"""`swav recipes` and `swav recipes show`, as a user runs them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from swav_cli.recipe.file import shipped_recipes
from tests.conftest import Run
from tests.processes import environment, swav_command


def test_the_list_fits_a_terminal_of_80_columns(swav: Run) -> None:
    done = swav("recipes")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0].split() == ["name", "data", "epochs", "batch", "result"]
    assert [line.split()[0] for line in lines[1:]] == sorted(shipped_recipes())
    assert max(map(len, lines)) <= 80
    assert "swav recipes show NAME" in done.stderr


def test_a_row_holds_data_epochs_batch_and_result(swav: Run) -> None:
    row = next(line for line in swav("recipes").stdout.splitlines() if line.startswith("in1k-800e-bs4096"))
    assert row.split() == ["in1k-800e-bs4096", "imagenet/train", "800", "4096", "linear", "top-1", "75.3"]


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("columns", [60, 80])
def test_on_a_terminal_the_list_is_as_wide_as_the_terminal(columns: int, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in environment().items() if key != "COLUMNS"}
    with subprocess.Popen(
        swav_command("recipes"), stdout=theirs, stderr=subprocess.DEVNULL, env=env, cwd=tmp_path
    ) as child:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # how Linux tells that the other side is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert child.returncode == 0
    lines = shown.decode().splitlines()
    assert max(map(len, lines)) <= columns
    assert sum(line.startswith(("in1k-", "quick", "small", "cifar", "stl", "imagenette")) for line in lines) == 15


def test_in_a_pipe_each_recipe_is_one_line(tmp_path: Path) -> None:
    env = {key: value for key, value in environment().items() if key != "COLUMNS"}
    done = subprocess.run(swav_command("recipes"), capture_output=True, text=True, env=env, cwd=tmp_path, timeout=60)
    assert len(done.stdout.splitlines()) == 1 + len(shipped_recipes())


def test_the_list_for_machines(swav: Run) -> None:
    done = swav("recipes", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.stderr == ""
    assert sorted(rows) == sorted(shipped_recipes())
    assert rows["in1k-200e"] == {
        "name": "in1k-200e", "command": "pretrain", "data": "imagenet/train", "epochs": 200, "batch": 256,
        "result": "linear top-1 70.5",
    }  # fmt: skip
    assert rows["small-folder"]["epochs"] == "auto"
    assert (rows["linear-in1k"]["command"], rows["finetune-in1k-1pct"]["command"]) == ("linear-eval", "finetune")
    assert rows["linear-in1k"]["data"] is None
    assert rows["small-folder"]["result"] is None


def test_show_prints_the_file_with_its_comments(swav: Run) -> None:
    done = swav("recipes", "show", "in1k-200e")
    assert done.stdout == shipped_recipes()["in1k-200e"].read_text(encoding="utf-8")
    assert done.stderr == ""


def test_what_show_prints_is_a_recipe_to_start_from(swav: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(swav("recipes", "show", "cifar10").stdout)
    assert swav("recipes", "show", "mine.yaml").stdout == (tmp_path / "mine.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recipes", "show", "in1k-2ooe"], "swav: no recipe 'in1k-2ooe'. Did you mean 'in1k-200e'? See them with:"),
        (["recipes", "show", "zzz"], "swav: no recipe 'zzz'. See them with: swav recipes"),
        (["recipes", "shw"], "No such command 'shw'. Did you mean 'show'?"),
        (["recipes", "--jsn"], "--json"),
        (["recipes", "show"], "Missing argument 'NAME'"),
    ],
)  # fmt: skip
def test_what_is_misspelt_gets_the_nearest(arguments: list[str], said: str, swav: Run) -> None:
    done = swav(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_picture_is_not_shown_as_a_recipe(swav: Run, photos: Path) -> None:
    done = swav("recipes", "show", next(photos.rglob("*.png")))
    assert done.returncode == 2
    assert "not a text file in UTF-8, so not a recipe" in done.stderr


def test_the_list_does_not_wait_for_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['swav', 'recipes']\n"
        "from swav_cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "False"
