"""Which exports are refused, with what reason, and where an export goes; nothing is exported here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swav_cli.core.weights import About, Model
from swav_cli.errors import UserError
from swav_cli.exports import formats
from swav_cli.exports.formats import ExportRequest, check_fits, export_format
from swav_cli.tasks.export import export_model, settle_path

TINY = About("resnet18", width=4, stem="small", hidden_dim=16, embedding_dim=8, prototypes=12, size=16)
USUAL = About("resnet18", classes=("cat", "dog"), hidden_dim=8, embedding_dim=4)
BARE = About("resnet18")
R50 = About("resnet50")


@pytest.mark.parametrize(
    ("request_", "about", "said"),
    [
        (ExportRequest("torchvision"), TINY, "3x3 for small pictures.*These can: onnx, torch-export, .*, mmpretrain$"),
        (ExportRequest("timm"), replace(USUAL, width=32), "32 channels wide, and that of timm's resnet18 64"),
        (ExportRequest("torchvision"), replace(USUAL, backbone="resnet50w2"), "torchvision has no resnet50w2"),
        (ExportRequest("torchvision"), replace(USUAL, channels=1), "1 channels"),
        (ExportRequest("onnx", "probabilities"), BARE, "no classifier; it has pooled$"),
        (ExportRequest("onnx", "scores"), USUAL, "no prototypes; it has pooled, embedding, probabilities"),
        (ExportRequest("onnx", "embedding"), BARE, "no projection head"),
        (ExportRequest("official"), replace(BARE, backbone="timm:convnext_nano"), "holds ResNets"),
        (ExportRequest("mmpretrain"), replace(TINY, prototypes_bias=True), "prototypes have a bias, and those of mm"),
        (ExportRequest("official"), replace(R50, prototypes_bias=True, classes=("a",)), "bias, and those of official"),
        (ExportRequest("mmpretrain"), replace(TINY, stem="small_pad2"), "its stem pads by 2, as solo-learn's does"),
        (ExportRequest("official"), BARE, "published code has no resnet18, but resnet50, .*These can: onnx"),
        (ExportRequest("official"), replace(R50, stem="small"), "the published code's resnet50 begins"),
        (ExportRequest("official"), replace(R50, width=32), "of the published code's resnet50 64"),
        (ExportRequest("official"), replace(R50, channels=4), "4 channels, and the published code's"),
    ],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_refused_with_the_reason(request_: ExportRequest, about: About, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_fits(request_, about, 1000)


def test_more_than_onnx_can_hold_is_refused() -> None:
    check_fits(ExportRequest("onnx", half=True), BARE, 600_000_000)
    with pytest.raises(UserError, match=r"2 GB at most.*--half"):
        check_fits(ExportRequest("onnx"), BARE, 600_000_000)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "onx"}, "no export format 'onx'. Did you mean 'onnx'?"),
        ({"layer": "poled"}, "no layer 'poled'. Did you mean 'pooled'?"),
        ({"format": "timm", "layer": "scores"}, "--layer scores is for onnx and torch-export"),
        ({"format": "official", "preprocess": True}, "--preprocess is for onnx and torch-export"),
        ({"format": "timm", "static": 1}, "--static is for onnx and torch-export"),
        ({"static": 0}, "--static 0: a number of pictures from 1 on"),
    ],
)
def test_a_request_that_makes_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refused:
        ExportRequest(**options)
    assert said in str(refused.value)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "onnxruntime" else True)
    with pytest.raises(UserError, match=r"needs onnxruntime: pip install 'swav-cli\[onnx\]'$"):
        export_model(Model(TINY.build(), TINY), ExportRequest("onnx"), tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("source", "request_", "out", "path"),
    [
        ("runs/a", ExportRequest(), None, "runs/a/export/a.onnx"),
        ("runs/a/checkpoints/last.pt", ExportRequest("torch-export"), None, "runs/a/export/a.pt2"),
        ("runs/a/model.safetensors", ExportRequest("onnx", "scores", True), None, "runs/a/export/a-scores-uint8.onnx"),
        ("runs/a", ExportRequest("timm", half=True), None, "runs/a/export/a-half.timm"),
        ("others/w.pth.tar", ExportRequest("torchvision"), None, "others/export/w.torchvision.pth"),
        ("w-0.5", ExportRequest("onnx"), None, "export/w-0.5.onnx"),
        ("in1k-200e", ExportRequest("timm"), None, "export/in1k-200e.timm"),
        ("https://x.org/m.pth?download=1", ExportRequest("safetensors"), None, "export/m.safetensors"),
        ("runs/a", ExportRequest("onnx", static=8), None, "runs/a/export/a-batch8.onnx"),
        ("runs/a", ExportRequest(), "b.onnx", "b.onnx"),
        ("runs/a", ExportRequest(), "others", "others/a.onnx"),
    ],
)  # fmt: skip
def test_where_it_goes(
    source: str, request_: ExportRequest, out: str | None, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("runs/a/recipe.yaml", "runs/a/model.safetensors", "runs/a/checkpoints/last.pt", "others/w.pth.tar"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert settle_path(source, request_, Path(out) if out else None) == Path(path)


def test_a_name_that_does_not_suit_the_format(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--out m.pth: a file of onnx ends in .onnx"):
        settle_path("runs/a", ExportRequest(), Path("m.pth"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="timm is a folder, and this is a file"):
        settle_path("runs/a", ExportRequest("timm"), tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "format_"),
    [("", "onnx"), ("a.pt2", "torch-export"), ("b/a.safetensors", "safetensors"), ("x.timm", "timm")],
)
def test_the_ending_tells_the_format(name: str, format_: str) -> None:
    assert export_format(name) == format_


def test_an_ending_of_several_formats_is_asked_about() -> None:
    with pytest.raises(UserError, match="say which with --format torchvision, mmpretrain or official"):
        export_format("a.pth")
