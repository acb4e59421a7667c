"""How far a command is, where there is no terminal."""

from __future__ import annotations

import re

import pytest

from swav_cli.report import progress
from swav_cli.report.progress import Progress


def test_a_plain_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    screen = Progress()
    for done in range(1000, 1050):  # a thousand were done before
        screen(done, 2000)
        now[0] += 1.0
    screen.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(re.fullmatch(r"1,0\d\d of 2,000 pictures, 1 a second", line) for line in lines)


def test_one_process_speaks_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    silent = Progress(speaks=False)
    silent.notice("nothing")
    silent(1, 2)
    silent.close()
    assert capsys.readouterr().err == ""
