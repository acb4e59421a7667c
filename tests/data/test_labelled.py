from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.data.labelled import hold_out, keep_labelled, labels_of, match_classes, train_and_val_in
from swav_cli.data.pictures import Chosen, Pictures
from swav_cli.data.reading.cache import CachedPictures
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError


def files(*counts: int) -> FilePictures:
    """So many pictures of class a, b, ...; none of them is on the disk."""
    names = [f"{'abcdef'[kind]}/{kind}-{i:03d}.png" for kind, count in enumerate(counts) for i in range(count)]
    return FilePictures(Path("root"), names, 3, "root")


def names(pictures: Pictures) -> list[str]:
    return [pictures.name(index) for index in range(len(pictures))]


def test_a_share_is_of_each_class_and_at_least_one() -> None:
    kept = keep_labelled(files(200, 100, 3), "10%", 0)
    assert kept.labels is not None
    assert np.bincount(kept.labels).tolist() == [20, 10, 1]
    assert names(kept) == sorted(names(kept))


def test_a_smaller_share_lies_within_a_larger_one_and_depends_on_the_seed_alone() -> None:
    pictures = files(200, 100)
    one, ten = (set(names(keep_labelled(pictures, share, 5))) for share in ("1%", "10%"))
    assert one < ten
    assert ten == set(names(keep_labelled(files(200, 100), "10%", 5)))
    assert ten != set(names(keep_labelled(pictures, "10%", 6)))


def test_a_number_a_class() -> None:
    kept = keep_labelled(files(20, 10), "7", 0)
    assert kept.labels is not None
    assert np.bincount(kept.labels).tolist() == [7, 7]
    with pytest.raises(UserError, match="class 'b' has 10 pictures; ask for 10"):
        keep_labelled(files(20, 10), "11", 0)


def test_a_list_of_files_goes_by_their_own_names(tmp_path: Path) -> None:
    listed = tmp_path / "1percent.txt"
    listed.write_text("0-003.png\nsomewhere/b/1-001.png\n# a remark\n\n")
    assert names(keep_labelled(files(20, 10), str(listed), 0)) == ["root/a/0-003.png", "root/b/1-001.png"]
    listed.write_text("0-003.png\n9-999.png\n")
    with pytest.raises(UserError, match=r"1 of its 2 pictures are not in root, first 9-999\.png"):
        keep_labelled(files(20, 10), str(listed), 0)


@pytest.mark.parametrize("wanted", ["0%", "101%", "0", "ten", "", "5 percent"])
def test_anything_else_is_refused(wanted: str) -> None:
    with pytest.raises(UserError, match="write all, a share such as 10%"):
        keep_labelled(files(20, 10), wanted, 0)


def test_all_are_all() -> None:
    pictures = files(4, 4)
    assert keep_labelled(pictures, "all", 0) is pictures


def test_holding_out_takes_a_fifth_of_each_class_and_splits() -> None:
    train, val = hold_out(files(50, 10, 2), 0)
    assert train.labels is not None
    assert val.labels is not None
    assert np.bincount(train.labels).tolist() == [40, 8, 1]
    assert np.bincount(val.labels).tolist() == [10, 2, 1]
    assert not set(names(train)) & set(names(val))
    again = hold_out(files(50, 10, 2), 0)
    assert names(again[1]) == names(val)
    with pytest.raises(UserError, match="class 'b' has one picture"):
        hold_out(files(5, 1), 0)


def test_labels_are_matched_by_name() -> None:
    train, val = files(3, 3, 3), FilePictures(Path("v"), ["c/1.png", "a/2.png"], 3, "v")
    labels, missing = match_classes(val, labels_of(train)[1], "root")
    assert labels.tolist() == [2, 0]
    assert missing == ["b"]


def test_a_class_that_training_does_not_know_is_an_error() -> None:
    val = FilePictures(Path("v"), ["a/1.png", "cats/2.png"], 3, "v")
    with pytest.raises(UserError, match=r"class 'cats' is not among the 2 of root\. Did you mean 'cat'\?"):
        match_classes(val, ["a", "cat"], "root")


def test_a_class_that_does_not_occur_is_no_unknown_one() -> None:
    """Some of the pictures of a set know all of its classes."""
    val = Chosen(FilePictures(Path("v"), ["a/1.png", "b/2.png"], 3, "v"), np.array([0]))
    assert match_classes(val, ["a"], "root")[0].tolist() == [0]


def test_without_labels_there_is_one_line() -> None:
    flat = FilePictures(Path("v"), ["1.png", "2.png"], 3, "v")
    with pytest.raises(UserError, match="v: has no labels; put its pictures into a folder a class"):
        labels_of(flat)
    with pytest.raises(UserError, match="v: has no labels to judge by"):
        match_classes(flat, ["a"], "root")
    with pytest.raises(UserError, match="all pictures are of one class, a"):
        labels_of(files(3))


def test_some_without_labels_are_named() -> None:
    pictures = FilePictures(Path("v"), ["a/1.png", "2.png", "b/3.png", "4.png"], 3, "v")
    said = r"v: 2\.png lies in no folder of a class, nor has another \(2 of 4 .*\); labels count where all have one"
    for ask in (labels_of, lambda pictures: match_classes(pictures, ["a", "b"], "root")):
        for each in (pictures, Chosen(pictures, np.arange(4)), CachedPictures(pictures, 1)):
            with pytest.raises(UserError, match=said):
                ask(each)


def test_draws_do_not_hang_on_the_order_of_classes() -> None:
    """What was held out of classes called 0 to 11 before these came in the order of their values still is."""
    letters = FilePictures(Path("v"), [f"{name}/{i}.png" for name in "abcdefghijkl" for i in range(20)], 3, "v")
    called = dict(zip("abcdefghijkl", sorted(map(str, range(12))), strict=True))
    renamed = [letters.below(index) for index in range(len(letters))]
    numbers = FilePictures(Path("v"), [f"{called[name[0]]}{name[1:]}" for name in renamed], 3, "v")
    assert numbers.classes == [*map(str, range(12))]
    for own, other in zip(hold_out(letters, 3), hold_out(numbers, 3), strict=True):
        assert own.chosen.tolist() == other.chosen.tolist()
    few, others = (keep_labelled(hold_out(pictures, 3)[0], "25%", 3) for pictures in (letters, numbers))
    ends = [[part.below(index).partition("/")[2] for index in range(len(part))] for part in (few, others)]
    assert ends[0] == ends[1]


def test_the_two_parts_of_a_folder(tmp_path: Path) -> None:
    assert train_and_val_in(str(tmp_path)) is None
    (tmp_path / "train").mkdir()
    assert train_and_val_in(str(tmp_path)) is None
    (tmp_path / "test").mkdir()
    assert train_and_val_in(str(tmp_path)) == (str(tmp_path / "train"), str(tmp_path / "test"))


def test_drawn_pictures_have_labels() -> None:
    assert labels_of(open_pictures("shapes:30"))[0].tolist() == list(range(10)) * 3
