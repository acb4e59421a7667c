"""Parts: each file's rows once and in order, whoever makes them, and however often makers are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swav_cli.core.weights import Model
from swav_cli.data.shard_files import Joined, find_shard_files, open_shard_file
from swav_cli.errors import UserError, silent
from swav_cli.evaluate.extraction import part_file
from swav_cli.evaluate.extraction.extract import ExtractRequest
from swav_cli.evaluate.extraction.part_maker import Hearer, PartMaker
from swav_cli.evaluate.extraction.parts import Share, count_rows, read_share
from swav_cli.evaluate.features import extract_features
from tests.data.lists.test_record_pictures import as_datasets, write
from tests.data.tars import make_tar, png, sample_tar
from tests.evaluate.extraction import part_makers
from tests.evaluate.extraction.part_makers import ABOUT, ALL, PLAIN, begun, parts_of, tiny_model
from tests.house.tree import ROOT
from tests.processes import environment, start

parquet = pytest.importorskip("pyarrow.parquet")

TO_THE_END = Hearer(silent, lambda: False)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight files of 2 to 9 pictures, of which one is damaged."""
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        sample_tar(Path(f"shards/{number}.tar"), 2 + number, first=10 * number)
    make_tar(
        Path("shards/6.tar"), {f"{number}.png": png(number) if number != 101 else b"" for number in range(98, 106)}
    )
    write("shards/7.parquet", as_datasets(120, 9, ["owl", "cat", "ant"]))


@pytest.fixture
def model() -> Model:
    return tiny_model()


def read(folder: str = "feats") -> Any:
    """All parts as one table, as those read them who pass over hidden names."""
    return parquet.read_table(folder).to_pydict()


def check_whole(model: Model) -> None:
    """Each row once, in order, as one process gives them all."""
    pictures = Joined([open_shard_file(each.path, 3) for each in find_shard_files(["shards"], Path("feats"))])
    table = read()
    assert table["path"] == [pictures.name(index) for index in range(len(pictures))]
    expected = extract_features(model.network.features, pictures, ABOUT)
    np.testing.assert_allclose(np.array(table["features"]), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert sorted(os.listdir("feats")) == ["_parts.json", *(f"part-{number:06d}.parquet" for number in range(8))]


def test_parts_hold_each_files_rows_in_order(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_file, "PART", 32 * 5)  # so that some parts are written in several goes
    maker, told = PartMaker(model, PLAIN), []
    parts = begun(maker)
    maker.work(parts, (0, 1), Hearer(told.append, lambda: False))
    parts.finish()
    check_whole(model)
    assert told == sorted(told)
    assert told[-1] == sum(each.size for each in parts.shards)
    table = read()
    assert table["label"] == [str(n % 3) for c in range(6) for n in range(10 * c, 10 * c + 2 + c)] + [None] * 8 + [
        ["owl", "cat", "ant"][number % 3] for number in range(120, 129)
    ]
    bad = [row for row, error in enumerate(table["error"]) if error is not None]
    assert [table["path"][row] for row in bad] == ["shards/6.tar/101.png"]
    assert table["error"][bad[0]] == "the file is empty"
    assert np.isnan(table["features"][bad[0]]).all()
    assert count_rows([parts.path(number) for number in parts.numbers]) == (44, 1)
    described = json.loads(Path("feats/_parts.json").read_text())
    assert described["shape"] == [32]
    assert [each["name"] for each in described["shards"]][6:] == ["6.tar", "7.parquet"]
    assert {parquet.read_metadata(parts.path(number)).num_columns for number in parts.numbers} == {4}


def test_files_taken_together_are_cut_apart_again(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where processes read: batches go across files' ends."""
    maker = PartMaker(model, PLAIN)
    monkeypatch.setattr("swav_cli.evaluate.inference.pick_readers", lambda *_: 1)
    parts = begun(maker)
    monkeypatch.setattr("swav_cli.evaluate.extraction.part_maker.A_ROUND", 2)
    maker.work(parts, (1, 2), TO_THE_END)
    parts.finish()
    check_whole(model)


def make(*words: object) -> subprocess.Popen[str]:
    """Start a process that makes parts; see `part_makers`."""
    return start(*words, cwd=Path.cwd(), env=environment(PYTHONPATH=str(ROOT)), module=part_makers.__name__)


def test_killed_anywhere_each_row_is_there_once(model: Model) -> None:
    """Nine processes, by turns as of two, each killed a step later in its work than the one before."""
    for kill in range(9):
        process = make(kill % 2, 2, kill % 4)
        _, said = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, said
    assert 0 < len(parts_of().there()) < 8
    maker = PartMaker(model, PLAIN)
    parts = begun(maker)
    maker.work(parts, (0, 1), TO_THE_END)
    parts.finish()
    check_whole(model)


def test_two_at_once_share_the_files(model: Model) -> None:
    processes = [make(rank, 2, -1) for rank in range(2)]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    parts_of().finish()
    check_whole(model)


def test_stopped_it_leaves_whole_parts_alone(model: Model) -> None:
    maker, heard = PartMaker(model, PLAIN), [0]

    def is_stopped() -> bool:
        heard[0] += 1
        return heard[0] > 6

    maker.work(begun(maker), (0, 1), Hearer(silent, is_stopped))
    done = parts_of().there()
    assert 0 < len(done) < 8
    assert {path.name for path in Path("feats").iterdir()} == {
        "_parts.json", ".claims", *(f"part-{number:06d}.parquet" for number in done),
    }  # fmt: skip
    assert list(Path("feats/.claims").iterdir()) == []


def test_what_is_claimed_is_waited_for(model: Model) -> None:
    """And made, once its owner is gone."""
    maker = PartMaker(model, PLAIN)
    parts = begun(maker)
    claim = parts.claims.take(parts.claim_name(3))
    assert claim is not None

    def is_stopped() -> bool:
        if len(parts.there()) == 7:
            claim.release()
        return False

    maker.work(parts, (0, 1), Hearer(silent, is_stopped))
    assert len(parts.there()) == 8


def test_a_file_that_can_not_be_read_is_told_and_the_rest_made(model: Model) -> None:
    Path("shards/2.tar").write_bytes(b"no tar")
    maker = PartMaker(model, PLAIN)
    parts = begun(maker)
    maker.work(parts, (0, 1), TO_THE_END)
    assert sorted(parts.there()) == [0, 1, 3, 4, 5, 6, 7]
    assert list(maker.unreadable) == [2]
    assert "shards/2.tar: is no tar file" in maker.unreadable[2]


# --- which parts there are ------------------------------------------------------------------------------------------


def test_shares_of_jobs_are_apart_and_together_all(model: Model) -> None:
    maker = PartMaker(model, PLAIN)
    numbers = []
    for own in range(3):
        parts = begun(maker, Share(own, 3))
        before = parts.there()
        maker.work(parts, (0, 1), TO_THE_END)
        numbers.append(parts.there() - before)
    assert numbers == [{0, 3, 6}, {1, 4, 7}, {2, 5}]
    parts_of().finish()
    check_whole(model)


@pytest.mark.parametrize("given", ["3", "3/3", "-1/3", "a/b", "1/0", ""])
def test_a_share_that_is_none_is_told(given: str) -> None:
    with pytest.raises(UserError, match="--part"):
        read_share(given)


def test_new_files_come_behind_and_others_are_refused(model: Model) -> None:
    maker = PartMaker(model, PLAIN)
    begun(maker)
    sample_tar(Path("shards/0b.tar"), 2)
    assert begun(maker).shards[-1].name == "0b.tar"
    assert json.loads(Path("feats/_parts.json").read_text())["shards"][8]["name"] == "0b.tar"
    with pytest.raises(UserError, match=r"parts of other files \(1 file of 9 not given, first 7.parquet\)"):
        parts_of(ALL, "shards/*.tar").begin(maker.settings, model, resume=True, overwrite=False)
    sample_tar(Path("shards/3.tar"), 40)
    with pytest.raises(UserError, match=r"3\.tar: has changed since feats was begun"):
        begun(maker)


def test_parts_of_something_else_are_refused_until_overwritten(model: Model) -> None:
    maker = PartMaker(model, PLAIN)
    parts = begun(maker, Share(0, 4))
    maker.work(parts, (0, 1), TO_THE_END)
    with pytest.raises(UserError, match="holds 2 parts; give another --out, or replace them with --overwrite"):
        begun(maker, resume=False)
    other = PartMaker(model, ExtractRequest(device="cpu", precision="float32", normalize=True))
    with pytest.raises(UserError, match=r"something else \(normalize False there, True asked for\)"):
        begun(other)
    with pytest.raises(UserError, match="something else"):  # the other jobs' parts would stay
        begun(other, Share(0, 4), overwrite=True)
    claim = parts.claims.take(parts.claim_name(1))
    with pytest.raises(UserError, match="is making it; stop that first"):
        begun(other, overwrite=True)
    assert claim is not None
    claim.release()
    assert begun(other, overwrite=True).there() == set()
    assert begun(maker, overwrite=True).there() == set()


def test_a_folder_of_other_files_is_left_alone(model: Model) -> None:
    maker = PartMaker(model, PLAIN)
    Path("feats").mkdir()
    Path("feats/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds other files, such as notes\.txt"):
        begun(maker)
    assert os.listdir("feats") == ["notes.txt"]
    Path("feats/_parts.json").write_text("{}")
    with pytest.raises(UserError, match="can't be read, or was made by a newer swav"):
        begun(maker)
