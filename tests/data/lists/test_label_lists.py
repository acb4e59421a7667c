"""Files that list pictures whose labels are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.data.labelled import hold_out, keep_labelled
from swav_cli.data.lists.label_lists import listed_among
from swav_cli.data.lists.tables import one_line
from swav_cli.data.pictures import Pictures
from swav_cli.errors import UserError

SAME_NAMES = [f"{kind}/{number:04d}.png" for kind in ("ant", "bee") for number in range(3)]
YEARS = [f"{year}/{name}" for year in (2021, 2022) for name in SAME_NAMES]


def files(names: list[str], root: str = "root") -> FilePictures:
    """Pictures of these names; none of them is on the disk."""
    return FilePictures(Path(root), sorted(names), 3, root, classes=[name.split("/")[-2] for name in sorted(names)])


def kept(pictures: Pictures, listed: Path) -> list[str]:
    chosen = keep_labelled(pictures, str(listed), 0)
    return [chosen.below(index) for index in range(len(chosen))]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    return tmp_path / "some.txt"


@pytest.mark.parametrize("before", ["", "./", "root/", "../root/", "/elsewhere/root/", "/elsewhere/", "C:\\x\\"])
def test_each_class_may_have_the_same_names(before: str, listed: Path) -> None:
    listed.write_text(f"# a remark\n{before}ant/0001.png\n\n{before}bee/0001.png\n{before}bee/0002.png\n")
    assert kept(files(SAME_NAMES), listed) == ["ant/0001.png", "bee/0001.png", "bee/0002.png"]


def test_a_name_is_held_against_few_where_each_class_has_all_of_them(listed: Path) -> None:
    """Else a tenth of ImageNet, with names that begin anew in each of a thousand classes, would take an hour."""

    class Counting(FilePictures):
        asked = 0

        def below(self, index: int) -> str:
            self.asked += 1
            return super().below(index)

    names = [f"{kind:02d}/{number:02d}.png" for kind in range(40) for number in range(10)]
    pictures = Counting(Path("root"), names, 3, "root")
    listed.write_text("".join(f"{name}\n" for name in names))
    assert len(listed_among(pictures, listed)) == len(names)
    assert pictures.asked < 20 * len(names)


def test_what_is_not_unique_is_refused_with_both(listed: Path) -> None:
    listed.write_text("bee/0000.png\n0001.png\n")
    with pytest.raises(UserError, match=r"line 2, 0001\.png, is ambiguous.*root/ant/0001\.png and root/bee/0001\.png"):
        kept(files(SAME_NAMES), listed)
    listed.write_text("ant/0001.png\n")
    with pytest.raises(UserError, match=r"ambiguous.*2021/ant/0001\.png and root/2022/ant/0001\.png"):
        kept(files(YEARS), listed)
    listed.write_text("2022/ant/0001.png\n")
    assert kept(files(YEARS), listed) == ["2022/ant/0001.png"]


def test_a_whole_name_counts_before_the_end_of_another(listed: Path) -> None:
    names = ["ant/0001.png", "2021/ant/0001.png", "2021/bee/0001.png"]
    for before in ("", "root/"):
        listed.write_text(f"{before}ant/0001.png\n")
        assert kept(files(names), listed) == ["ant/0001.png"]


def test_a_folder_that_is_another_one_is_no_match(listed: Path) -> None:
    listed.write_text("cat/0001.png\nant/0001.png\n")
    with pytest.raises(UserError, match=r"1 of its 2 pictures are not in root, first cat/0001\.png"):
        kept(files(SAME_NAMES), listed)
    flat = FilePictures(Path("root"), ["0001.png", "0002.png"], 3, "root", ["a", "b"])
    listed.write_text("ant/0001.png\n")
    with pytest.raises(UserError, match="are not in root"):
        kept(flat, listed)
    listed.write_text("/elsewhere/root/0002.png\n0001.png\n")
    assert kept(flat, listed) == ["0001.png", "0002.png"]


@pytest.mark.parametrize("root", ["root", ".", "/data/root"])
def test_a_runs_own_list_is_the_same_subset(root: str, listed: Path) -> None:
    odd = ["ant/\n.png", "ant/a\u2028.png", "#/1.png", "bee/ x.png "]
    pictures = files([*YEARS, *SAME_NAMES, *odd], root)
    some = keep_labelled(pictures, "50%", 3)
    listed.write_text("".join(one_line(some.name(index)) + "\n" for index in range(len(some))))
    again = keep_labelled(pictures, str(listed), 0)
    assert again.fingerprint() == some.fingerprint()
    other = files([*YEARS, *SAME_NAMES, *odd], "/moved/to/root")
    if root == "/data/root":
        assert keep_labelled(other, str(listed), 0).fingerprint() == some.fingerprint()


def test_of_pictures_that_are_left_after_others_are_held_out(listed: Path) -> None:
    train, _ = hold_out(files([f"{kind}/{number}.png" for kind in "ab" for number in range(10)]), 0)
    listed.write_text(train.below(2) + "\n")
    assert kept(train, listed) == [train.below(2)]


def test_lines_with_a_hash_are_remarks_but_where_a_picture_is_called_so(listed: Path) -> None:
    listed.write_text("#1.png\n# ant/0001.png\n#0.png\n")
    assert kept(files(["a/#1.png", "ant/0001.png"]), listed) == ["a/#1.png"]


def test_a_list_of_windows(listed: Path) -> None:
    listed.write_text("ant\\0001.png\r\nC:\\photos\\root\\bee\\0002.png\r\n")
    assert kept(files(SAME_NAMES), listed) == ["ant/0001.png", "bee/0002.png"]


def test_a_table_and_repeated_lines(tmp_path: Path) -> None:
    listed = tmp_path / "some.csv"
    listed.write_text("label,path\nx,bee/0001.png\ny,ant/0002.png\nx,bee/0001.png\n")
    assert kept(files(SAME_NAMES), listed) == ["ant/0002.png", "bee/0001.png"]


def test_two_names_from_elsewhere_for_one_picture_are_refused(listed: Path) -> None:
    listed.write_text("/a/ant/0001.png\n/b/ant/0001.png\n")
    with pytest.raises(UserError, match=r"line 2, /b/ant/0001\.png, is ambiguous: /a/ant/0001\.png above it"):
        kept(files(SAME_NAMES), listed)


@pytest.mark.parametrize("text", ["", " \n\n", "# nothing yet\n"])
def test_a_list_of_nothing_is_told(text: str, listed: Path) -> None:
    listed.write_text(text)
    with pytest.raises(UserError, match=r"some\.txt: lists no pictures; write their names, one a line"):
        kept(files(SAME_NAMES), listed)
