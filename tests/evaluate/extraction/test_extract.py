"""Features in a file: each picture in its row, whatever is in the way, and however often the work is stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from swav_cli.core.model import SwAV
from swav_cli.core.weights import About, Model
from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.data.pictures import Pictures, digest
from swav_cli.data.sources import open_pictures
from swav_cli.errors import Interrupted, UserError
from swav_cli.evaluate.extraction import extract as extraction
from swav_cli.evaluate.extraction import unfinished
from swav_cli.evaluate.extraction.extract import ExtractRequest, extract
from swav_cli.evaluate.extraction.writers import FEATURE_FORMATS
from swav_cli.evaluate.features import extract_features
from tests.data.tars import make_tar, png

ABOUT = About("resnet18", width=4, stem="small", hidden_dim=16, embedding_dim=8, prototypes=12, size=32, source="tiny")


@pytest.fixture
def model() -> SwAV:
    torch.manual_seed(0)
    return ABOUT.build().eval()


@pytest.fixture
def feats(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "feats.npy"


def shapes(count: int = 20) -> Pictures:
    return open_pictures(f"shapes:{count}", "val")


def run(model: SwAV, pictures: Pictures, out: Path, **options: Any) -> dict[str, Any]:
    told = {name: options.pop(name) for name in ("notice", "progress") if name in options}
    request = ExtractRequest(**{"device": "cpu", "precision": "float32", "workers": 0, **options})
    return extract(Model(model, ABOUT), pictures, out, request, **told)


def stop_after(rows: int, number: signal.Signals = signal.SIGINT) -> Callable[[int, int], None]:
    """A signal that comes once so many rows are done."""

    def progress(done: int, count: int) -> None:
        if done >= rows:
            os.kill(os.getpid(), number)

    return progress


def files(out: Path) -> set[str]:
    return {path.name for path in out.parent.iterdir()}


# --- what is written ------------------------------------------------------------------------------------------------


def test_rows_are_features_of_pictures(model: SwAV, feats: Path) -> None:
    pictures = shapes()
    result = run(model, pictures, feats)
    assert result == {
        "file": str(feats), "rows": 20, "shape": [20, 32], "layer": "pooled", "model": "tiny", "failures": [],
        "description": str(feats.with_suffix(".json")), "paths": str(feats.with_name("feats.paths.txt")),
        "labels": str(feats.with_name("feats.labels.npy")), "new": True,
    }  # fmt: skip
    assert files(feats) == {"feats.npy", "feats.json", "feats.paths.txt", "feats.labels.npy"}
    expected = extract_features(model.features, pictures, ABOUT)
    found = np.load(feats, mmap_mode="r")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert feats.with_name("feats.paths.txt").read_text().splitlines() == [pictures.name(i) for i in range(20)]
    described = json.loads(feats.with_suffix(".json").read_text())
    labels = np.load(feats.with_name("feats.labels.npy"))
    assert [described["classes"][label] for label in labels[:3]] == ["board", "cross", "disc"]
    assert described["shape"] == [20, 32]
    assert described["preprocessing"]["mean"] == list(ABOUT.mean)
    assert described["preprocessing"]["centre_crop"] == 32


@pytest.mark.parametrize("layer", ["pooled", "embedding", "layer4"])
@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (7, 0), (7, 2)])
def test_rows_depend_neither_on_batches_nor_on_workers(
    model: SwAV, feats: Path, layer: str, batch_size: int, workers: int
) -> None:
    whole = feats.with_name("whole.npy")
    run(model, shapes(), whole, layer=layer, batch_size=20)
    run(model, shapes(), feats, layer=layer, batch_size=batch_size, workers=workers)
    expected = np.load(whole)
    # Float32 sums in another order, as small batches have them, differ in the last bits of the largest value.
    np.testing.assert_allclose(np.load(feats), expected, atol=4e-6 * max(1.0, np.abs(expected).max()), rtol=0)


def test_options_change_the_rows(model: SwAV, feats: Path) -> None:
    found = {}
    for name, options in {
        "plain": {}, "unit": {"normalize": True}, "scales": {"multi_scale": True}, "bf16": {"precision": "bf16"},
    }.items():  # fmt: skip
        run(model, shapes(), feats.with_name(f"{name}.npy"), **options)
        found[name] = np.load(feats.with_name(f"{name}.npy"))
    np.testing.assert_allclose(np.linalg.norm(found["unit"], axis=1), 1, atol=1e-5)
    assert np.abs(found["scales"] - found["plain"]).max() > 1e-3
    assert 1e-4 < np.abs(found["bf16"] - found["plain"]).max() < 0.3


def test_maps(model: SwAV, feats: Path) -> None:
    assert run(model, shapes(3), feats, layer="layer2")["shape"] == [3, 8, 16, 16]
    assert np.load(feats).shape == (3, 8, 16, 16)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet", ".csv", ".pt"])
def test_other_formats_hold_the_same_rows(model: SwAV, feats: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    run(model, shapes(), feats)
    result = run(model, shapes(), feats.with_suffix(suffix))
    assert not feats.with_name(f"feats{suffix}.part").exists()
    assert Path(result["file"]).stat().st_mode == Path(result["description"]).stat().st_mode
    np.testing.assert_array_equal(read(feats.with_suffix(suffix)), np.load(feats))
    paths = feats.with_name("feats.safetensors.paths.txt")
    assert paths.exists() == (suffix == ".safetensors")


def read(path: Path) -> NDArray[np.float32]:
    """The features in a file of any format but `.npy`."""
    if path.suffix == ".npz":
        return np.load(path)["features"]  # type: ignore[no-any-return]
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(path)["features"]
    if path.suffix == ".pt":
        return torch.load(path, weights_only=True)["features"].numpy()  # type: ignore[no-any-return]
    if path.suffix == ".csv":
        lines = [line.split(",")[2:] for line in path.read_text().splitlines()[1:]]
        return np.array(lines, dtype=np.float32)
    from pyarrow import parquet

    return np.array(parquet.read_table(path)["features"].to_pylist(), dtype=np.float32)


def test_a_bad_picture_is_a_row_of_nan_and_a_failure(model: SwAV, feats: Path, photos: Path) -> None:
    (photos / "plain" / "00.png").write_bytes(b"")
    (photos / "stripes" / "11.png").write_text("<html>")
    (photos / "stripes" / "13.png").unlink()
    (photos / "stripes" / "13.png").symlink_to("nowhere")
    pictures = open_pictures(str(photos))
    result = run(model, pictures, feats)
    rows = [pictures.name(row) for row in (0, 25, 26)]
    assert [failure["row"] for failure in result["failures"]] == [0, 25, 26]
    assert [failure["path"] for failure in result["failures"]] == rows
    assert result["failures"][0]["reason"] == "the file is empty"
    assert result["failures"] == json.loads(feats.with_suffix(".json").read_text())["failures"]
    found = np.load(feats)
    assert np.flatnonzero(np.isnan(found).all(axis=1)).tolist() == [0, 25, 26]
    assert np.isfinite(np.delete(found, [0, 25, 26], axis=0)).all()
    lines = feats.with_name("feats.paths.txt").read_text().splitlines()
    assert lines == sorted(lines)
    assert len(lines) == 40


def test_without_labels_there_are_none(model: SwAV, feats: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "one.png")
    result = run(model, FilePictures(tmp_path, ["one.png"], 3, "one"), feats)
    assert "labels" not in result
    assert files(feats) == {"feats.npy", "feats.json", "feats.paths.txt"}


# --- stopped and gone on with ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_stopped_work_goes_on(model: SwAV, feats: Path, number: signal.Signals, code: int, suffix: str) -> None:
    out = feats.with_suffix(suffix)
    run(model, shapes(), feats.with_name(f"whole{suffix}"), batch_size=3)
    with pytest.raises(Interrupted, match="stopped at 9 of 20 rows; all is saved") as stopped:
        run(model, shapes(), out, batch_size=3, progress=stop_after(9, number))
    assert stopped.value.exit_code == code
    assert not out.exists()
    with pytest.raises(Interrupted, match="stopped at 16 of 20 rows"):
        run(model, shapes(), out, batch_size=7, progress=stop_after(10))
    told: list[str] = []
    counts: list[int] = []
    run(model, shapes(), out, batch_size=3, notice=told.append, progress=lambda done, count: counts.append(done))
    assert told == ["going on: 16 of 20 rows are there"]
    assert counts == [19, 20]
    whole, found = (path.read_bytes() for path in (feats.with_name(f"whole{suffix}"), out))
    if suffix == ".npy":
        np.testing.assert_allclose(np.load(out), np.load(feats.with_name("whole.npy")), atol=1e-6)
    else:
        assert len(whole.splitlines()) == len(found.splitlines()) == 21
    assert not out.with_name(f"{out.name}.part").exists()


def test_failures_outlive_a_stop(model: SwAV, feats: Path, photos: Path) -> None:
    (photos / "plain" / "00.png").write_bytes(b"")
    (photos / "stripes" / "39.png").write_bytes(b"")
    with pytest.raises(Interrupted):
        run(model, open_pictures(str(photos)), feats, batch_size=4, progress=stop_after(8))
    with open(feats.with_name("feats.npy.part") / "failures-0.jsonl", "a") as file:
        file.write("[39, ")  # as a kill may leave it
    result = run(model, open_pictures(str(photos)), feats)
    assert [failure["row"] for failure in result["failures"]] == [0, 39]


def test_a_kill_loses_only_what_was_not_marked(model: SwAV, feats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are written before they are marked, so a kill in between only repeats some."""

    class Killed(BaseException):
        pass

    def progress(done: int, count: int) -> None:
        if done == 15:
            raise Killed

    run(model, shapes(), feats.with_name("whole.npy"), batch_size=5)
    monkeypatch.setattr(unfinished, "SAVE_SECONDS", 1e9)
    with pytest.raises(Killed):
        run(model, shapes(), feats, batch_size=5, progress=progress)
    counts: list[int] = []
    run(model, shapes(), feats, batch_size=5, progress=lambda done, count: counts.append(done))
    assert counts == [5, 10, 15, 20]
    np.testing.assert_array_equal(np.load(feats), np.load(feats.with_name("whole.npy")))


@pytest.mark.parametrize("moved", range(5))
@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_a_kill_while_files_are_moved(
    model: SwAV, feats: Path, monkeypatch: pytest.MonkeyPatch, moved: int, suffix: str
) -> None:
    out = feats.with_suffix(suffix)
    run(model, shapes(), feats.with_name(f"whole{suffix}"))
    real, left = os.replace, [moved]

    def replace(source: Path, target: Path) -> None:
        if Path(target).parent == out.parent or Path(target).name == "final":
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    try:
        run(model, shapes(), out)
    except KeyboardInterrupt:
        assert not out.with_name("feats.json" if suffix == ".npy" else f"feats{suffix}.json").exists()
    monkeypatch.undo()
    result = run(model, shapes(), out)
    assert result["rows"] == 20
    names = {name.replace("whole", "feats") for name in files(out)}
    assert names == files(out) - {name for name in files(out) if name.startswith("whole")}
    assert out.read_bytes()[-1000:] == feats.with_name(f"whole{suffix}").read_bytes()[-1000:]


def test_other_settings_do_not_mix_into_unfinished_work(model: SwAV, feats: Path) -> None:
    with pytest.raises(Interrupted):
        run(model, shapes(), feats, batch_size=4, progress=stop_after(8))
    for options, message in (
        ({"layer": "embedding"}, r"layer pooled there, embedding asked for\)"),
        ({"normalize": True}, "normalize False there, True asked for"),
    ):
        with pytest.raises(UserError, match=message):
            run(model, shapes(), feats, **options)
    with pytest.raises(UserError, match="other pictures"):
        run(model, shapes(30), feats)
    with torch.no_grad():
        model.conv1.weight[0, 0, 0, 0] += 1
    with pytest.raises(UserError, match=r"\(other weights\).*begin anew with --no-resume"):
        run(model, shapes(), feats)
    run(model, shapes(), feats, resume=False)
    assert np.load(feats).shape == (20, 32)


def test_no_resume_begins_anew(model: SwAV, feats: Path) -> None:
    with pytest.raises(Interrupted):
        run(model, shapes(), feats, batch_size=4, progress=stop_after(8))
    counts: list[int] = []
    run(model, shapes(), feats, batch_size=10, resume=False, progress=lambda done, count: counts.append(done))
    assert counts == [10, 20]


def test_stopped_while_the_file_is_written(model: SwAV, feats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swav_cli.evaluate.extraction.writers.PART", 32)  # a row at a time
    out = feats.with_suffix(".csv")
    real = extraction.describe

    def describe(*arguments: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(extraction, "describe", describe)
    with pytest.raises(Interrupted, match="was written; all rows are saved") as stopped:
        run(model, shapes(), out)
    assert stopped.value.exit_code == 143
    monkeypatch.undo()
    counts: list[int] = []
    run(model, shapes(), out, progress=lambda done, count: counts.append(done))
    assert counts == []
    assert len(out.read_text().splitlines()) == 21


# --- what is there already ------------------------------------------------------------------------------------------


def test_other_pictures_of_the_same_names_are_others(model: SwAV, tmp_path: Path) -> None:
    """As the frames of two videos are, each in a folder of its own."""
    for folder, level in (("a", 10), ("b", 200)):
        (tmp_path / folder).mkdir()
        for number in range(3):
            Image.new("RGB", (40, 40), (level, 20 * number, 0)).save(tmp_path / folder / f"{number:04d}.png")
    (tmp_path / "a").rename(tmp_path / "moved")
    for out in (tmp_path / "f.npy", tmp_path / "f.csv"):
        run(model, open_pictures(str(tmp_path / "moved")), out)
        with pytest.raises(UserError, match=r"holds something else \(other pictures of the same names\); give another"):
            run(model, open_pictures(str(tmp_path / "b")), out)
    (tmp_path / "moved").rename(tmp_path / "elsewhere")
    assert not run(model, open_pictures(str(tmp_path / "elsewhere")), tmp_path / "f.npy")["new"]
    with pytest.raises(Interrupted):
        run(model, open_pictures(str(tmp_path / "b")), tmp_path / "g.npy", batch_size=1, progress=stop_after(1))
    with pytest.raises(UserError, match=r"unfinished rows of something else \(other pictures of the same names\)"):
        run(model, open_pictures(str(tmp_path / "elsewhere")), tmp_path / "g.npy")


def test_other_labels_are_written_anew(model: SwAV, feats: Path) -> None:
    before, after = (shapes() for _ in range(2))
    assert after.labels is not None
    run(model, before, feats)
    after.labels = after.labels[::-1].copy()
    with pytest.raises(UserError, match=r"holds something else \(other labels\)"):
        run(model, after, feats)


def test_a_file_of_the_version_before_counts_as_finished(model: SwAV, feats: Path) -> None:
    run(model, shapes(), feats)
    description = feats.with_suffix(".json")
    content = json.loads(description.read_text())
    for key in ("contents", "labels"):
        del content["settings"][key]
    description.write_text(json.dumps(content))
    assert not run(model, shapes(), feats)["new"]


@pytest.mark.parametrize("unfinished", [False, True])
def test_what_an_earlier_version_has_noted_of_the_same_pictures(
    unfinished: bool, model: SwAV, feats: Path, tmp_path: Path
) -> None:
    """Of shards, whose names it noted, and of no contents."""
    shards = open_pictures(str(make_tar(tmp_path / "a.tar", {f"{level}.png": png(level) for level in range(4)})))
    if unfinished:
        with pytest.raises(Interrupted):
            run(model, shards, feats, batch_size=1, progress=stop_after(2))
        noted = feats.with_name("feats.npy.part") / "settings.json"
        settings = content = json.loads(noted.read_text())
    else:
        run(model, shards, feats)
        noted = feats.with_suffix(".json")
        content = json.loads(noted.read_text())
        settings = content["settings"]
    settings["contents"], (settings["pictures"],) = digest([]), shards.former_fingerprints()
    noted.write_text(json.dumps(content))
    told: list[str] = []
    assert run(model, shards, feats, notice=told.append)["new"] is unfinished
    assert told[0].startswith("going on: 2 of 4 rows" if unfinished else f"{feats} is finished")


def test_a_finished_file_is_left_as_it_is(model: SwAV, feats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(model, shapes(), feats)
    before = feats.stat().st_mtime_ns
    told: list[str] = []
    assert run(model, shapes(), feats, batch_size=3, notice=told.append) == {**first, "new": False}
    assert "is finished" in told[0]
    assert feats.stat().st_mtime_ns == before
    with monkeypatch.context() as read_only:  # the superuser may write anywhere
        read_only.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
        assert run(model, shapes(), feats)["new"] is False
        with pytest.raises(UserError, match="is protected against writing"):
            run(model, shapes(), feats, overwrite=True)
        with pytest.raises(UserError, match="can't be written below"):
            run(model, shapes(), feats.with_name("others.npy"))
    with pytest.raises(UserError, match="is there, with the same settings"):
        run(model, shapes(), feats, resume=False)
    run(model, shapes(), feats, overwrite=True)
    assert feats.stat().st_mtime_ns > before


def test_another_file_is_not_overwritten_unasked(model: SwAV, feats: Path, photos: Path) -> None:
    run(model, shapes(), feats)
    with pytest.raises(UserError, match=r"holds something else \(layer pooled there, scores asked for"):
        run(model, shapes(), feats, layer="scores")
    with pytest.raises(UserError, match="other pictures"):
        run(model, open_pictures(str(photos)), feats)
    assert np.load(feats).shape == (20, 32)
    run(model, FilePictures(photos / "plain", ["00.png"], 3, "one"), feats, layer="scores", overwrite=True)
    assert np.load(feats).shape == (1, 12)
    assert files(feats) == {"feats.npy", "feats.json", "feats.paths.txt"}, "labels of the former pictures are gone"


@pytest.mark.skipif(sys.platform != "linux", reason="names there are text")
@pytest.mark.parametrize("name", sorted({"f" + suffix for suffix in FEATURE_FORMATS}))
def test_below_a_folder_whose_name_is_no_utf8(name: str, model: SwAV, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"f\xff")
    folder.mkdir()
    assert run(model, shapes(4), folder / name)["rows"] == 4
    assert (folder / name).stat().st_size > 4 * 32


@pytest.mark.parametrize("name", ["feats.npy", "feats.json", "feats.paths.txt", "feats.npy.part"])
def test_what_others_wrote_is_left_alone(model: SwAV, feats: Path, name: str) -> None:
    feats.with_name(name).write_text("mine")
    with pytest.raises(UserError, match=r"was not written by this command|is no unfinished work"):
        run(model, shapes(), feats)
    assert feats.with_name(name).read_text() == "mine"
    assert files(feats) == {name}


def test_a_folder_in_the_way(model: SwAV, feats: Path) -> None:
    (feats.with_name("feats.npy.part")).mkdir()
    (feats.with_name("feats.npy.part") / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is in the way"):
        run(model, shapes(), feats, overwrite=True)


def test_what_a_kill_while_tidying_up_leaves_is_no_hindrance(model: SwAV, feats: Path) -> None:
    (feats.with_name("feats.npy.part") / "final").mkdir(parents=True)
    (feats.with_name("feats.npy.part") / "failures-1.jsonl").write_text("[3, ")
    assert run(model, shapes(), feats)["failures"] == []


def test_one_command_at_a_time(model: SwAV, feats: Path) -> None:
    def again(done: int, count: int) -> None:
        with pytest.raises(UserError, match="another process is writing it"):
            run(model, shapes(), feats)

    run(model, shapes(), feats, progress=again)


def test_overwrite_keeps_the_old_file_until_the_new_one_is_whole(model: SwAV, feats: Path) -> None:
    run(model, shapes(), feats)
    before = feats.read_bytes()
    more = {"layer": "scores", "overwrite": True, "batch_size": 4}
    with pytest.raises(Interrupted):
        run(model, shapes(), feats, progress=stop_after(8), **more)
    assert feats.read_bytes() == before
    told: list[str] = []
    run(model, shapes(), feats, notice=told.append, **more)
    assert told == ["going on: 8 of 20 rows are there"]
    assert np.load(feats).shape == (20, 12)


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "embeding"}, "Did you mean 'embedding'?"),
        ({"precision": "bf61"}, "--precision bf61: use auto, float32, bf16. Did you mean 'bf16'?"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"workers": -1}, "--workers -1"),
        ({"device": "cudda"}, "no such device"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    model: SwAV, feats: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        run(model, shapes(), feats, **options)
    assert message in str(refused.value)
    assert files(feats) == set()


def test_too_small_a_disk(model: SwAV, feats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2e8, 1e8, 1e8))  # type: ignore[attr-defined]
    run(model, shapes(), feats)
    with pytest.raises(UserError, match=r"1,000,000 rows need 0\.2 GB beside it, and 0\.1 GB are free"):
        run(model, shapes(1_000_000), feats.with_name("many.npy"))
    assert "many.npy.part" not in files(feats)


def test_a_disk_that_fills_up_keeps_the_rows(model: SwAV, feats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unfinished, "_write_all", full)
    with pytest.raises(UserError, match=r"can't be written \(No space left on device\); rows so far are kept"):
        run(model, shapes(), feats)
    monkeypatch.undo()
    assert run(model, shapes(), feats)["rows"] == 20


def test_a_network_of_timm_that_takes_some_sizes_only(feats: Path) -> None:
    pytest.importorskip("timm")
    about = About("timm:vit_tiny_patch16_224", size=64)
    network = about.build().eval()
    options = {"device": "cpu", "precision": "float32"}
    with pytest.raises(UserError, match="--multi-scale: timm:vit_tiny_patch16_224 takes no pictures of all"):
        extract(Model(network, about), shapes(3), feats, ExtractRequest(multi_scale=True, **options))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"no such layer.* It has pooled, blocks\.0, .*, blocks\.11$"):
        extract(Model(network, about), shapes(3), feats, ExtractRequest("layer4"))
    maps = feats.with_name("maps.npy")
    assert extract(Model(network, about), shapes(3), maps, ExtractRequest("blocks.11", **options))["shape"] == [
        3,
        192,
        4,
        4,
    ]  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a feature map does not fit into a table"):
        extract(Model(network, about), shapes(3), feats.with_suffix(".csv"), ExtractRequest("blocks.11"))
    assert extract(Model(network, about), shapes(3), feats, ExtractRequest(**options))["shape"] == [3, 192]  # type: ignore[arg-type]


def test_other_channels(model: SwAV, feats: Path, photos: Path) -> None:
    with pytest.raises(UserError, match="1 channels, and the model takes 3"):
        run(model, open_pictures(str(photos), channels=1), feats)
