"""Pictures that a file lists, by whatever program it was written."""

from __future__ import annotations

import codecs
import csv
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError

ANY_NAME = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are stricter there")


def draw(root: Path, *names: str) -> None:
    """Small pictures, the n-th of gray level n."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with open(root / name, "wb") as file:
            Image.new("RGB", (5, 4), (number, number, number)).save(file, "PNG")


def level(pictures: Any, index: int) -> int:
    return int(pictures.read(index)[0, 0, 0])


def levels(folder: Path, name: str, text: str) -> list[int]:
    """Which of the pictures a list names, in its order."""
    (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    pictures = open_pictures(str(folder / name))
    return [level(pictures, index) for index in range(len(pictures))]


LISTS = {
    "plain.txt": "a.png\nsub/b.png\n\n# a remark\n  ./a.png  \n",
    "windows.txt": "\ufeffa.png\r\nsub/b.png\r\na.png\r\n",
    "UPPER.TXT": "a.png\nsub/b.png\na.png",
    "headed.csv": "path,label\na.png,3\nsub/b.png,4\na.png,5\n",
    "bare.csv": "a.png\nsub/b.png\na.png\n",
    "quoted.csv": '"a.png",1\n"sub/b.png","x, y"\n"a.png",2\n',
    "second.csv": "id,file,label\n1,a.png,x\n2,sub/b.png,y\n3, a.png,z\n",
    "tabs.tsv": "file\tlabel\na.png\t1\nsub/b.png\t2\na.png\t3\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_paths(name: str, tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "sub/b.png")
    (tmp_path / name).write_text(LISTS[name], encoding="utf-8", newline="")
    pictures = open_pictures(str(tmp_path / name))
    assert [level(pictures, i) for i in range(len(pictures))] == [0, 1, 0]
    labelled = "label" in LISTS[name]
    assert (pictures.labels is not None) == labelled
    if labelled:
        assert pictures.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["l.txt", "l.csv"])
def test_zeros_in_a_list_are_a_name_that_no_file_has(name: str, tmp_path: Path) -> None:
    """As a disk leaves them at the end of a file that was written when the power went."""
    draw(tmp_path, "a.png")
    (tmp_path / name).write_bytes(b"a.png\n" + bytes(8) + b"\n")
    pictures = open_pictures(str(tmp_path / name))
    assert len(pictures) == len(pictures.contents()) == 2
    assert pictures.read(0).shape[0] == 3
    with pytest.raises(BadPicture, match="no file can have this name"):
        pictures.read(1)


def test_a_table_with_labels(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "l.csv").write_text("Path,Label\na.png,dog\nb.png,cat\nc.png,dog\n")
    pictures = open_pictures(str(tmp_path / "l.csv"))
    assert pictures.classes == ["cat", "dog"]
    assert pictures.labels is not None
    assert pictures.labels.tolist() == [1, 0, 1]
    (tmp_path / "l.csv").write_text("path,label\na.png,dog\nb.png,\nc.png,dog\n")
    assert open_pictures(str(tmp_path / "l.csv")).labels is None


def test_a_list_of_absolute_and_other_paths(tmp_path: Path) -> None:
    draw(tmp_path, "store/a.png", "store/b.png", "lists/cat/c.png")
    path = tmp_path / "lists" / "l.txt"
    path.write_text(f"{tmp_path}/store/a.png\n../store/b.png\ncat/c.png\n")
    pictures = open_pictures(str(path))
    assert [level(pictures, i) for i in range(3)] == [0, 1, 2]
    assert pictures.labels is None
    path.write_text("cat/c.png\n./cat/c.png\n")
    assert open_pictures(str(path)).classes == ["cat"]


def test_a_file_missing_from_a_list_is_a_bad_picture(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    (tmp_path / "l.txt").write_text("gone.png\na.png\n")
    pictures = open_pictures(str(tmp_path / "l.txt"))
    with pytest.raises(BadPicture, match="No such file"):
        pictures.read(0)
    assert level(pictures, 1) == 0


# --- lines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["l.txt", "l.csv", "l.tsv"])
def test_lines_end_in_three_ways(end: str, name: str, tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    assert levels(tmp_path, name, end.join(["a.png", "b.png", "", "a.png"])) == [0, 1, 0]


@ANY_NAME
@pytest.mark.parametrize("letter", ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\x1d", "\x1e"])
@pytest.mark.parametrize("name", ["l.txt", "l.csv", "l.tsv"])
def test_and_in_no_other(letter: str, name: str, tmp_path: Path) -> None:
    draw(tmp_path, f"a{letter}1.png", "b.png")
    assert levels(tmp_path, name, f"a{letter}1.png\nb.png\n") == [0, 1]


@ANY_NAME
def test_names_that_begin_or_end_oddly(tmp_path: Path) -> None:
    names = ["#1.png", "~a.png", " b.png ", "c\\n.png", "d\r.png", "e\n.png"]
    draw(tmp_path, *names, "#not.listed.png")
    assert levels(tmp_path, "l.csv", "path\n" + "".join(f'"{name}"\n' for name in names)) == [0, 1, 2, 3, 4, 5]
    assert levels(tmp_path, "l.txt", "#1.png\n~a.png\n b.png \nc\\n.png\nd\r.png\n# no picture\n") == [0, 1, 2, 3, 4]


@ANY_NAME
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("name", "between"), [("l.csv", ","), ("l.csv", ";"), ("l.tsv", "\t")])
def test_a_name_with_a_cr_that_nobody_has_quoted(end: str, name: str, between: str, tmp_path: Path) -> None:
    draw(tmp_path, "a\r1.png", "b.png", "\ue000.png")
    rows = [("path", "label"), ("a\r1.png", "x"), ("b.png", "y"), ("\ue000.png", "x")]
    assert levels(tmp_path, name, end.join(between.join(row) for row in rows) + end) == [0, 1, 2]
    assert open_pictures(str(tmp_path / name)).classes == ["x", "y"]


@ANY_NAME
def test_escapes_of_our_own_lists_are_understood(tmp_path: Path) -> None:
    draw(tmp_path, "a\nb.png", "a\r\\.png", "a\u2028.png", "a\x85.png")
    assert levels(tmp_path, "l.txt", "a\\nb.png\na\\r\\\\.png\na\\u2028.png\na\\x85.png\n") == [0, 1, 2, 3]


def test_names_as_windows_writes_them(tmp_path: Path) -> None:
    draw(tmp_path, "new/a.png", "b.png")
    for name, start in (("l.txt", ""), ("l.csv", "path\n"), ("l.tsv", "label\tpath\nx\t")):
        assert levels(tmp_path, name, f"{start}new\\a.png\n") == [0]
    assert levels(tmp_path, "l.txt", ".\\new\\a.png\nb.png\n") == [0, 1]


def test_the_home_folder_in_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    draw(tmp_path, "home/a.png")
    (tmp_path / "lists").mkdir()
    for name in ("l.txt", "l.csv"):
        assert levels(tmp_path / "lists", name, "~/a.png\n") == [0]


# --- tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heading", ["path", "Path", "file_name", "Image Path", "image-file", "filename", "image"])
def test_the_heading_tells_the_column(heading: str, tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png", "thumb.png")
    text = f"preview,{heading},label\nthumb.png,a.png,x\nthumb.png,b.png,y\n"
    assert levels(tmp_path, "l.csv", text) == [0, 1]


def test_path_counts_before_other_headings(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    assert levels(tmp_path, "l.csv", "image,path\nb.png,a.png\n") == [0]
    assert levels(tmp_path, "l.csv", "image,name,file\nb.png,Bob,a.png\n") == [1]


def test_a_heading_over_something_else_is_none(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    assert levels(tmp_path, "l.csv", "name,photo number,where\nBob,3,a.png\n") == [0]


def test_the_first_row_may_have_any_suffix(tmp_path: Path) -> None:
    draw(tmp_path, "a.strange", "b.png", "class")
    assert levels(tmp_path, "l.csv", "a.strange,x\nb.png,y\n") == [0, 1]
    assert levels(tmp_path, "l.csv", "class,label\nb.png,y\n") == [2, 1]
    assert len(open_pictures(str(tmp_path / "l.csv"))) == 2
    (tmp_path / "l.csv").write_text("gone.jfif,x\nb.png,y\n")
    assert len(open_pictures(str(tmp_path / "l.csv"))) == 2


def test_names_without_any_suffix(tmp_path: Path) -> None:
    draw(tmp_path, "000017", "000018")
    assert levels(tmp_path, "l.csv", "path,label\n000018,x\n000017,y\n") == [1, 0]
    assert levels(tmp_path, "l.csv", "x,000018\ny,000017\n") == [1, 0]


@pytest.mark.parametrize("heading", ["image", "path", "class", "label"])
def test_a_folder_that_is_called_like_a_heading_is_no_row(heading: str, tmp_path: Path) -> None:
    draw(tmp_path, f"{heading}/a.png", f"{heading}/b.png")
    text = f"image,label,{heading}\n{heading}/a.png,x,1\n{heading}/b.png,y,2\n"
    assert levels(tmp_path, "l.csv", text) == [0, 1]
    assert open_pictures(str(tmp_path / "l.csv")).classes == ["x", "y"]


def test_backslashes_of_windows(tmp_path: Path) -> None:
    draw(tmp_path, "new/a.png", "new/b.png")
    for name in ("l.txt", "l.csv"):
        assert levels(tmp_path, name, "new\\b.png\r\nnew\\a.png\r\n") == [1, 0]


def test_remarks_above_the_heading_are_passed_over(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    assert levels(tmp_path, "l.csv", "# made by a program, today\npath,label\na.png,x\nb.png,y\n") == [0, 1]
    assert open_pictures(str(tmp_path / "l.csv")).classes == ["x", "y"]


@ANY_NAME
def test_cells_of_several_lines_and_of_any_length(tmp_path: Path) -> None:
    draw(tmp_path, "a\nb.png", "c.png")
    before = csv.field_size_limit()
    text = f'path,caption,label\n"a\nb.png","two\n\nlines",x\nc.png,{"x" * 200_000},y\n'
    assert levels(tmp_path, "l.csv", text) == [0, 1]
    assert open_pictures(str(tmp_path / "l.csv")).classes == ["x", "y"]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("first", ["", "sep=;\r\n"])
def test_semicolons(first: str, tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    assert levels(tmp_path, "l.csv", f"{first}path;label\r\na.png;1,5\r\nb.png;2\r\n") == [0, 1]
    assert open_pictures(str(tmp_path / "l.csv")).classes == ["1,5", "2"]


def test_a_semicolon_in_a_name(tmp_path: Path) -> None:
    draw(tmp_path, "a;b.png", "b.png")
    assert levels(tmp_path, "l.csv", "a;b.png\nb.png\n") == [0, 1]


def test_unicode_text_of_a_spreadsheet(tmp_path: Path) -> None:
    draw(tmp_path, "ü.png")
    (tmp_path / "l.tsv").write_bytes(codecs.BOM_UTF16_LE + "path\tlabel\r\nü.png\tcat\r\n".encode("utf-16-le"))
    pictures = open_pictures(str(tmp_path / "l.tsv"))
    assert (level(pictures, 0), pictures.classes) == (0, ["cat"])


def test_quotation_marks_in_a_table_with_tabs(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    assert levels(tmp_path, "l.tsv", 'path\tcaption\na.png\t"so it\nb.png\tgoes\n') == [0, 1]


def test_a_quotation_mark_that_is_never_closed_is_told(tmp_path: Path) -> None:
    """It would swallow all rows that follow."""
    draw(tmp_path, "a.png", "b.png")
    with pytest.raises(UserError, match=r"l\.csv: line 3 can't be read"):
        levels(tmp_path, "l.csv", 'path,caption\na.png,"so it\nb.png,goes\n')


def test_a_row_without_a_name_is_told(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"l\.csv: line 3 names no picture, as 1 of its 2 rows do"):
        levels(tmp_path, "l.csv", "path,label\na.png,x\n,y\n\n")


# --- records ------------------------------------------------------------------------------------------------------


def test_records_of_json(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "sub/b.png", "c\n.png")
    text = (
        '{"caption": "x.png", "file_name": "a.png", "label": 10}\r\n\n'
        '{"file_name": "sub/b.png", "label": 9.0, "box": [1, 2]}\n{"label": 10, "file_name": "c\\n.png"}'
    )
    for name in ("l.jsonl", "l.ndjson"):
        assert levels(tmp_path, name, text) == [0, 1, 2]
    pictures = open_pictures(str(tmp_path / "l.jsonl"))
    assert pictures.classes == ["9", "10"]
    levels(tmp_path, "l.jsonl", '{"path": "a.png", "label": "x"}\n{"path": "sub/b.png", "label": null}\n')
    said = str(open_pictures(str(tmp_path / "l.jsonl")).unlabelled)
    assert said.startswith(f"{Path('sub/b.png').as_posix()} (line 2) has no label (1 of 2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"path": "a.png"}\n{"path": \n', "line 2 is no object of JSON"),
        ('["a.png"]\n', "line 1 is no object of JSON"),
        ("[" * 100_000, "line 1 is no object of JSON"),
        ('{"a": 1}\n', "no column of it holds names of pictures"),
        ('{"path": "a.png"}\n{"label": 3}\n', "line 2 names no picture"),
    ],
)
def test_records_that_are_none(text: str, said: str, tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    with pytest.raises(UserError, match=said):
        levels(tmp_path, "l.jsonl", text)


# --- labels -------------------------------------------------------------------------------------------------------


def test_a_missing_label_is_named(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png", "c.png")
    assert levels(tmp_path, "l.csv", "path,label\na.png,dog\nb.png,\nc.png\n") == [0, 1, 2]
    pictures = open_pictures(str(tmp_path / "l.csv"))
    assert pictures.unlabelled == "b.png (line 3) has no label, nor has another (2 of 3 pictures are without a label)"


def test_numbers_are_in_the_order_of_their_values(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{number}.png" for number in range(12)))
    rows = "".join(f"{number}.png,{number - 1}\n" for number in range(12))
    assert levels(tmp_path, "l.csv", f"path,label\n{rows}") == list(range(12))
    pictures = open_pictures(str(tmp_path / "l.csv"))
    assert pictures.labels is not None
    assert pictures.labels.tolist() == list(range(12))
    assert pictures.classes == [str(number) for number in range(-1, 11)]
    rows += "0.png,other\n"
    levels(tmp_path, "l.csv", f"path,label\n{rows}")
    assert open_pictures(str(tmp_path / "l.csv")).classes == sorted([*map(str, range(-1, 11)), "other"])
