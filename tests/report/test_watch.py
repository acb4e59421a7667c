from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from swav_cli.report.watch import screen_of
from swav_cli.run.folder import RunFolder
from swav_cli.run.state import RunFollower
from tests.run.made_up import epoch_line, make_up, step_line, text_of


def shown(folder: RunFolder, width: int, height: int, encoding: str = "utf-8", hint: str = "") -> list[str]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=stream, width=width, height=height, force_terminal=True, color_system=None, highlight=False)
    follower = RunFollower(folder.path)
    state = follower.look()
    console.print(screen_of(state, follower.lines, console, hint))
    stream.flush()
    return raw.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("height", [24, 50])
def test_a_screen_is_no_larger_than_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = shown(make_up(Path("run"), step=12), width, height, hint="Ctrl-C leaves")
    assert max(map(len, lines)) <= width
    if width > 40:
        assert len(lines) <= height
    text = "\n".join(lines)
    for words in ("stopped at step 12 of 18", "loss / ln K 0.083", "k-NN % 60", "rank of embeddings 4"):
        assert words in text.replace("\n", " ") or width == 40


def test_a_terminal_without_braille(tmp_path: Path) -> None:
    assert any("**" in line for line in shown(make_up(tmp_path / "run", step=12), 80, 24, "ascii"))


def test_trouble_and_a_name_that_would_move_the_cursor(tmp_path: Path) -> None:
    folder = make_up(tmp_path / "a\x1b[2Jb", step=6)
    trouble = epoch_line(0, verdict="flat", advice="codes are flat; try --set loss.epsilon=0.03")
    folder.metrics.write_text(text_of([step_line(1), trouble]))
    text = " ".join(shown(folder, 300, 24))
    assert "flat: codes are flat; try --set loss.epsilon=0.03" in text
    assert "\x1b[2J" not in text
    assert "best" not in text


def test_a_reason_of_several_lines_keeps_them(tmp_path: Path) -> None:
    folder = make_up(tmp_path / "run", step=6)
    failed = {"kind": "failed", "step": 6, "diverged": False, "why": "2 of 48 pictures can't be read, first:\n  a.png"}
    folder.metrics.write_text(text_of([step_line(1), failed]))
    lines = [line.rstrip() for line in shown(folder, 80, 24)]
    at = lines.index("2 of 48 pictures can't be read, first:")
    assert lines[at + 1] == "  a.png"
