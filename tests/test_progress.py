"""How far a piece of work is, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re
import sys
from contextlib import closing

import pytest

from swav_cli import progress
from swav_cli.progress import Progress, say
from swav_cli.report.console import Screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: moment[0])
    return moment


def test_a_plain_line_now_and_then(capsys: pytest.CaptureFixture[str], now: list[float]) -> None:
    with closing(Progress("pictures")) as told:
        for done in range(1000, 1050):  # a thousand were done before
            told(done, 2000)
            now[0] += 1.0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(re.fullmatch(r"1,0\d\d of 2,000 pictures, 1 a second", line) for line in lines)


def test_the_next_piece_of_work_has_a_rate_of_its_own(capsys: pytest.CaptureFixture[str], now: list[float]) -> None:
    with closing(Progress("pictures")) as told:
        told(0, 100)
        now[0] += 100
        told(100, 100)
        told(0, 50)
        now[0] += 20
        told(40, 50)
    assert capsys.readouterr().err == "100 of 100 pictures, 1 a second\n40 of 50 pictures, 2 a second\n"


def test_bytes_are_a_share_and_what_is_quick_is_not_told_of(
    capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    with closing(Progress("B", "indexing shards", after=1.0)) as told:
        for done in range(0, 100, 10):
            told(done, 200)
            now[0] += 0.25
    assert capsys.readouterr().err == "indexing shards: 25%\n"


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    with closing(Progress("pictures", "reading")) as told:
        for done in range(5, 11):
            told(done, 10)
        say("a line above it")
    shown = screen.getvalue()
    assert "reading:  50%" in shown
    assert "a line above it\n" in shown
    assert not shown.rpartition("\r")[2].strip()  # nothing is left of it


def test_work_that_is_told_of_before_its_end_bears_its_name(
    capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    with Screen(speaks=True).working("judging the features") as told:
        told(0, 5000)
        now[0] += 20
        told(2048, 5000)
    assert capsys.readouterr().err == (
        "judging the features: 2,048 of 5,000 img, 102 a second\njudging the features: 20 s\n"
    )


def test_where_nobody_knows_how_much_there_is_a_bar_tells_what_has_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    with closing(Progress("B", "downloading")) as told:
        told(1000, 0)
        now[0] += 100
        told(2000, 0)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    with closing(Progress("B", "downloading")) as told:
        told(3_000_000, 0)
    assert "downloading: 3.00MB" in screen.getvalue()


def test_one_process_speaks_for_all(capsys: pytest.CaptureFixture[str], now: list[float]) -> None:
    screen = Screen(speaks=False)
    screen.notice("nothing")
    with screen.working("the work") as told:
        told(0, 2)
        now[0] += 100
        told(1, 2)
    assert capsys.readouterr().err == ""
