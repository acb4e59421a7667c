"""`swav watch` and `swav runs`: of runs whose files are as another process leaves them."""

from __future__ import annotations

import json
import os
import pty
import signal
from pathlib import Path

import pytest

from swav_cli.files import held
from swav_cli.report.words import DAY
from tests.conftest import Command
from tests.processes import environment, start
from tests.run.made_up import make_up, step_line, text_of


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Of all files, with the time of their last change."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_watch_without_a_terminal_tells_once_and_touches_nothing(swav_here: Command, tmp_path: Path) -> None:
    make_up(tmp_path / "runs" / "old", step=18, changed=1000.0, recipe="tiny", knn=50.0)
    folder = make_up(tmp_path / "runs" / "new", step=8, changed=60.0)
    before = contents(tmp_path)
    with held(folder.lock):
        code, out, err = swav_here("watch")
        assert (code, err) == (0, "")
        assert "runs/new: running, 1 of 3 epochs done, tiny on shapes:48" in out
        assert "44%, step 8 of 18" in out
        found = json.loads(swav_here("watch", "runs/new/metrics.jsonl", "--json").out)
        assert (found["state"], found["step"], found["steps"], found["best"]) == ("running", 8, 18, {"knn": 40.0})
    code, out, _ = swav_here("watch", "runs/new", "--once")
    assert code == 0
    assert "go on with: swav pretrain runs/new/recipe.yaml --out runs/new" in out
    assert contents(tmp_path) == before


def test_what_is_no_run(swav_here: Command, tmp_path: Path) -> None:
    assert swav_here("watch").err == (
        "swav: there is no run in runs/; name one, or train one with: swav pretrain quickstart\n"
    )
    assert swav_here("runs")[:2] == (0, "")
    assert json.loads(swav_here("runs", "--json").out) == []
    make_up(tmp_path / "runs" / "new", step=8)
    assert "neu: no run there. Did you mean 'runs/new'?" in swav_here("watch", "runs/neu").err
    assert "new: no run there. Did you mean 'runs/new'?" in swav_here("watch", "new").err
    code, _, err = swav_here("watch", ".")
    assert (code, err) == (2, "swav: .: holds no run; see those below a folder with: swav runs FOLDER\n")
    assert swav_here("runs", "nowhere").err == "swav: nowhere: is no folder\n"


def test_watch_follows_a_run_on_a_terminal_until_it_ends(tmp_path: Path) -> None:
    folder = make_up(tmp_path / "run", step=8)
    ours, theirs = pty.openpty()
    with held(folder.lock):
        watching = start("watch", "run", cwd=tmp_path, env=environment(TERM="xterm", LINES="30"), stdout=theirs)
        os.close(theirs)
        until(ours, b"step 8 of 18")
        with open(folder.metrics, "a") as file:
            file.write(text_of([step_line(9)]))
        until(ours, b"step 9 of 18")
    until(ours, b"go on with: swav pretrain run/recipe.yaml --out run")
    assert watching.wait(60) == 0
    os.close(ours)


def test_ctrl_c_leaves_quietly(tmp_path: Path) -> None:
    folder = make_up(tmp_path / "run", step=8)
    ours, theirs = pty.openpty()
    with held(folder.lock):
        watching = start("watch", "run", cwd=tmp_path, env=environment(TERM="xterm", LINES="30"), stdout=theirs)
        os.close(theirs)
        until(ours, b"step 8 of 18")
        watching.send_signal(signal.SIGINT)
        until(ours, b"\x1b[?1049l")  # back from the screen of its own
    assert watching.wait(60) == 130
    assert watching.communicate()[1] == ""
    os.close(ours)


def until(terminal: int, words: bytes) -> None:
    """Read what a terminal shows, up to these words."""
    read = b""
    while words not in read:
        read += os.read(terminal, 4096)


def test_the_list_of_runs(swav_here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    make_up(
        tmp_path / "runs" / "done",
        18,
        3.1 * DAY,
        recipe="tiny",
        knn=50.0,
        verdict="healthy",
        **{"linear:x": {"top1": 70}},
    )
    make_up(tmp_path / "runs" / "sub" / "cut-off", 8, DAY / 4)
    broken = make_up(tmp_path / "runs" / "broken", 8, DAY / 10)
    broken.recipe.write_text("a: [")
    os.utime(broken.recipe, (0, 0))
    running = make_up(tmp_path / "runs" / "live", 9)
    before = contents(tmp_path)
    with held(running.lock):
        code, out, err = swav_here("runs")
        found = json.loads(swav_here("runs", "--json").out)
    assert contents(tmp_path) == before
    assert (code, err) == (0, "\nmore of one: swav watch RUN\n")
    heading, live, torn, cut_off, done, blank, why = out.splitlines()
    assert heading.split() == ["run", "state", "recipe", "epochs", "k-NN", "top-1", "age", "size", "verdict"]
    assert live.split()[:6] == ["live", "running", "50%", "tiny", "1/3", "40.0"]
    assert torn.split()[:4] == ["broken", "broken", "2", "h"]
    assert cut_off.split()[:5] == ["sub/cut-off", "stopped", "at", "8", "tiny"]
    assert done.split()[:8] == ["done", "finished", "tiny", "3/3", "60.0", "70.0", "3", "d"]
    assert done.split()[-1] == "healthy"
    assert blank == ""
    assert why.startswith("runs/broken: recipe.yaml, line 1: not valid YAML")
    assert [run["run"] for run in found] == ["runs/live", "runs/broken", "runs/sub/cut-off", "runs/done"]
    assert all(run["bytes"] > 0 for run in found)
    monkeypatch.setenv("COLUMNS", "80")
    table = swav_here("runs").out.partition("\n\n")[0]
    assert max(map(len, table.splitlines())) <= 80
