from __future__ import annotations

from pathlib import Path

import pytest

from swav_cli.data.multilabel import read_multilabel
from swav_cli.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg", "in/c.PNG"):
        (tmp_path / name).touch()
    return tmp_path


def written(folder: Path, text: str, name: str = "list.csv") -> Path:
    (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return folder / name


def test_names_between_semicolons(folder: Path) -> None:
    found = read_multilabel(written(folder, "path,labels\na.jpg,dog; person\nb.jpg,\nin/c.PNG,cat;dog;dog;\n"))
    assert found.names == ["a.jpg", "b.jpg", "in/c.PNG"]
    assert found.classes == ["cat", "dog", "person"]
    assert found.targets.tolist() == [[0, 1, 1], [0, 0, 0], [1, 1, 0]]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\ufeffLabels,size,Path\r\ndog,3,a.jpg\r\n\r\n\r\n;,1,b.jpg\r\n", "list.csv"),
        ("path\tlabels\na.jpg\tdog\nb.jpg\n", "list.TSV"),  # the second line ends before its labels
        ('path,labels\n"a.jpg","dog"\n"b.jpg"," ; "\n', "list.csv"),
    ],
)
def test_ways_to_write_it(folder: Path, text: str, name: str) -> None:
    found = read_multilabel(written(folder, text, name))
    assert (found.names, found.classes, found.targets.tolist()) == (["a.jpg", "b.jpg"], ["dog"], [[1], [0]])


def test_names_that_are_not_unicode_and_whole_paths(folder: Path) -> None:
    odd = b"\xe9.jpg".decode("utf-8", "surrogateescape")
    found = read_multilabel(written(folder, f"path,labels\n{folder}/a.jpg,Käse, brie\n{odd},Käse\n"))
    assert found.names == [f"{folder}/a.jpg", odd]
    assert found.classes == ["Käse"]


def test_classes_of_another_list_give_the_numbering(folder: Path) -> None:
    path = written(folder, "path,labels\na.jpg,dog\nb.jpg,\n")
    found = read_multilabel(path, ["zebra", "dog", "cat"])
    assert found.classes == ["zebra", "dog", "cat"]
    assert found.targets.tolist() == [[0, 1, 0], [0, 0, 0]]
    with pytest.raises(UserError, match=r"line 2 has the label 'dog', which is not among the 2 .* mean 'dogs'"):
        read_multilabel(path, ["dogs", "cats"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column 'labels' in its first line, which reads: nothing"),
        ("path,label\na.jpg,dog\n", r"reads: path, label\. Did you mean 'label'"),
        ("labels,other\ndog,3\n", "no column of it holds names of pictures"),
        ("path,labels\na.jpg,dog\n,cat\n", "line 3 names no picture"),
        ("path,labels\na.jpg,dog\nb.jpg,\na.jpg,cat\n", "a.jpg stands in lines 2 and 4"),
        ("path,labels\na.jpg,\nb.jpg, ; \n", "is empty in all of its 2 lines"),
        ("path,labels\nx.jpg,dog\n", "none of 1 file is there, first x.jpg"),
        ('path,labels\na.jpg,"dog\n', "line 2 can't be read"),
    ],
)
def test_mistakes_are_told_with_their_line(folder: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_multilabel(written(folder, text))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_tables(folder: Path) -> None:
    with pytest.raises(UserError, match=r"is a table \(\.csv, \.tsv\)"):
        read_multilabel(written(folder, "a.jpg\n", "list.txt"))
    with pytest.raises(UserError, match="can't be read"):
        read_multilabel(folder / "missing.csv")
