"""Answers in their four formats: what other programs read back, and what a person reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swav_cli.errors import UserError
from swav_cli.evaluate.answer import Answer, Guess, Kind
from swav_cli.printable import printable
from swav_cli.report.answers import AnswerFormat, pick_format, write_answers

CLASSES = [
    Answer(0, "a/1.png", (Guess(2, "crane, bird", 0.75), Guess(0, "Bänk", 0.125))),
    Answer(1, "a/2.png", (), error="the file is empty"),
]
CLUSTERS = [
    Answer(0, "a/1.png", (Guess(12, None, 0.75), Guess(3, None, 0.125)), margin=0.25),
    Answer(1, "a/2.png", (), error="the file is empty"),
]


def written(
    answers: list[Answer], form: AnswerFormat, kind: Kind = "class", top_k: int = 2, about: dict[str, Any] | None = None
) -> str:
    stream = io.StringIO()
    write_answers(stream, answers, form, kind, top_k, about or {})
    return stream.getvalue()


def test_lines_of_json() -> None:
    first, second = [json.loads(line) for line in written(CLASSES, "jsonl").splitlines()]
    assert first["path"] == "a/1.png"
    assert first["top"][0] == {"class": "crane, bird", "index": 2, "probability": 0.75}
    assert second == {"path": "a/2.png", "error": "the file is empty", "top": []}
    assert first.keys() == second.keys()
    assert "Bänk" in written(CLASSES, "jsonl")


def test_lines_of_json_of_clusters() -> None:
    first, second = [json.loads(line) for line in written(CLUSTERS, "jsonl", "cluster").splitlines()]
    assert first["margin"] == 0.25
    assert first["top"][0] == {"cluster": 12, "probability": 0.75}
    assert second["margin"] is None


@pytest.mark.parametrize("answers", [CLASSES, CLASSES[:1], []])
def test_one_object_of_json(answers: list[Answer]) -> None:
    content = json.loads(written(answers, "json", about={"model": "m", "pictures": 2}))
    assert [each["path"] for each in content["answers"]] == [answer.path for answer in answers]
    assert (content["model"], content["pictures"]) == ("m", 2)


def test_csv() -> None:
    heading, first, second = list(csv.reader(io.StringIO(written(CLASSES, "csv"))))
    assert heading == ["path", "error", "class_1", "probability_1", "class_2", "probability_2"]
    assert first == ["a/1.png", "", "crane, bird", "0.750000", "Bänk", "0.125000"]
    assert second == ["a/2.png", "the file is empty", "", "", "", ""]


def test_csv_of_clusters() -> None:
    heading, first, second = list(csv.reader(io.StringIO(written(CLUSTERS, "csv", "cluster", 1))))
    assert heading == ["path", "error", "margin", "cluster_1", "probability_1"]
    assert first[:5] == ["a/1.png", "", "0.250000", "12", "0.750000"]
    assert len(second) == len(heading)


def test_csv_with_names_that_need_quotes() -> None:
    name = 'a "b",\nc.png'
    rows = list(csv.reader(io.StringIO(written([Answer(0, name, (), error="x")], "csv"))))
    assert rows[1][0] == name


def test_a_table() -> None:
    lines = written(CLASSES, "table").splitlines()
    assert lines[0].split() == ["picture", "class", "probability"]
    assert lines[1].split() == ["a/1.png", "crane,", "bird", "75.0", "%"]
    assert lines[2].split() == ["Bänk", "12.5", "%"]
    assert lines[3:] == ["", "a/2.png", "  not read: the file is empty"]


def test_a_table_of_clusters() -> None:
    lines = written(CLUSTERS, "table", "cluster").splitlines()
    assert lines[0].split() == ["picture", "cluster", "probability", "margin"]
    assert lines[1].split() == ["a/1.png", "12", "75.0", "%", "0.250"]


def test_a_long_table_keeps_its_columns() -> None:
    answers = [Answer(i, f"{i:04}.png", (Guess(i, None, 0.5),), margin=0.1) for i in range(120)]
    lines = written(answers, "table", "cluster").splitlines()
    assert len(lines) == 123  # a heading, and a gap between blocks
    assert {len(line) for line in lines if line} == {len(lines[0])}
    assert sum("picture" in line for line in lines) == 1


def test_a_table_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = Answer(0, "a folder/" * 12 + "x.png", (Guess(0, "a class of a rather long name", 0.5),))
    lines = written([long], "table").splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(line[:36].rstrip() for line in lines[1:]).replace(" ", "").endswith("x.png")
    assert "50.0 %" in lines[1]


def test_names_can_not_write_to_the_terminal() -> None:
    bad = "a\x1b[31m\n\udcff[b].png"
    assert printable(bad) == "a\\x1b[31m\\n\\udcff[b].png"
    table = written([Answer(0, bad, (Guess(0, "x\x1b", 0.5),))], "table")
    assert "\x1b" not in table
    assert "[b].png" in table
    assert json.loads(written([Answer(0, bad, ())], "jsonl"))["path"] == bad
    written([Answer(0, bad, ())], "jsonl").encode()


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_rows_are_written_as_they_come(form: AnswerFormat) -> None:
    """A reader of a pipe has the first before the second is asked for."""

    class Counted(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed = self.getvalue().count(".png")

    stream = Counted()

    def one_by_one() -> Iterator[Answer]:
        for number in range(3):
            assert stream.flushed == number
            yield Answer(number, f"{number}.png", (Guess(0, "x", 0.5),))

    write_answers(stream, one_by_one(), form, "class", 1, {})
    assert stream.flushed == 3


@pytest.mark.parametrize(
    ("asked", "as_json", "out", "found"),
    [
        (None, False, None, "table"),
        (None, True, None, "json"),
        ("json", True, None, "json"),
        ("csv", False, "x.json", "csv"),
        ("csv", False, "x", "csv"),
        (None, False, "x.JSONL", "jsonl"),
        (None, False, "x.csv", "csv"),
        (None, False, "x.txt", "table"),
        (None, True, "x.csv", "json"),
    ],
)
def test_the_format(asked: str | None, as_json: bool, out: str | None, found: str) -> None:
    assert pick_format(asked, as_json, Path(out) if out else None) == found


@pytest.mark.parametrize(
    ("asked", "as_json", "out", "message"),
    [
        ("xml", False, None, "use table, json, jsonl, csv"),
        ("csv", True, None, "leave out one of --json and --format csv"),
        (None, False, "x.parquet", "name it .json, .jsonl, .csv, .txt, or say --format"),
    ],
)
def test_no_such_format(asked: str | None, as_json: bool, out: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pick_format(asked, as_json, Path(out) if out else None)


SEPARATORS = "a\nb\rc\u2028d\u0085e\u2029f\vg\fh\x1ci.png"


@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
def test_names_with_any_line_end_stay_whole(form: AnswerFormat) -> None:
    answers = [
        Answer(0, SEPARATORS, (Guess(1, None, 0.5),), margin=0.1),
        Answer(1, "plain.png", (Guess(1, None, 0.5),)),
    ]
    stream = io.StringIO(newline="")
    write_answers(stream, iter(answers), form, "cluster", 1, {})
    text = stream.getvalue()
    if form == "csv":
        names = [row["path"] for row in csv.DictReader(io.StringIO(text, newline=""))]
        assert text.count("\r") == 1
    elif form == "jsonl":
        names = [json.loads(line)["path"] for line in text.splitlines()]
    else:
        names = [each["path"] for each in json.loads(text)["answers"]]
        assert len(text.splitlines()) == text.count("\n")
    assert names == [SEPARATORS, "plain.png"]
