"""Exports: what is in the files, that other libraries give our answers, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from swav_cli.core.model import SwAV
from swav_cli.core.weights import About, save_model
from swav_cli.errors import UserError
from swav_cli.zoo import export as exporting
from swav_cli.zoo import export_formats
from swav_cli.zoo.export import Exported, check_free, export, export_model, settle_path
from swav_cli.zoo.export_check import compare, normalise, sample
from swav_cli.zoo.export_formats import FORMATS, TORCHVISION, Request, check_fits, format_of
from swav_cli.zoo.export_weights import to_mmpretrain, to_official
from swav_cli.zoo.load import load_model
from tests.conftest import REFERENCE, environment

TINY = About(
    "resnet18", width=4, stem="small", hidden_dim=16, embedding_dim=8, prototypes=12, classes=("a", "b", "ü"), size=16,
    mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3), source="tiny", licence="CC0",
)  # fmt: skip
USUAL = About("resnet18", size=32, classes=("cat", "dog"), hidden_dim=8, embedding_dim=4, source="usual")
BARE = replace(USUAL, classes=(), hidden_dim=0, embedding_dim=0, source="bare")


def network(about: About) -> SwAV:
    """Random weights, and statistics of its own pictures so that its answers tell pictures apart."""
    torch.manual_seed(0)
    model = about.build()
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
            module.momentum = None  # the average, of one batch here
    pictures = normalise(sample(about, 16, about.size, about.size), about)
    with torch.no_grad():
        model.embed(pictures) if about.embedding_dim else model.features(pictures)
    return model.eval()


def needs(format_: str) -> None:
    for module in FORMATS[format_].needs:
        pytest.importorskip(module)


def make(folder: Path, about: About, format_: str, **options: Any) -> Exported:
    needs(format_)
    request = Request(format_, **options)
    return export_model(network(about), about, request, folder / f"out{FORMATS[format_].suffix}")


CASES = [
    *((name, TINY) for name in ("onnx", "torch-export", "safetensors", "mmpretrain", "official")),
    *((name, about) for name in ("torchvision", "timm") for about in (USUAL, BARE)),
]


def test_every_export_gives_our_answers_and_so_do_its_printed_lines(tmp_path: Path) -> None:
    """In one test, and the lines in one process, since it is exporting and importing that take time."""
    wanted, scripts = {}, []
    for format_, about in CASES:
        if any(export_formats.find_spec(module) is None for module in FORMATS[format_].needs):
            continue
        done = make(tmp_path / f"{about.source} folder", about, format_)
        check_result(done)
        model, pictures = network(about), torch.zeros(1, 3, about.size, about.size)
        with torch.no_grad():
            wanted[str(done.path)] = {"pooled": model.features(pictures).sum().item()}
            if about.classes:
                wanted[str(done.path)]["logits"] = model.logits(pictures).sum().item()
        scripts.append((str(done.path), "\n".join(done.lines)))
    told = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-W", "error::FutureWarning", "-c", RUN_LINES],
        input=json.dumps(scripts), capture_output=True, text=True, timeout=120, env=environment(), cwd=Path.cwd(),
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    answers = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(answers) == len(scripts)
    for path, values, keys in answers:
        assert values or "conv1.weight" in keys, path
        for layer, value in values.items():
            assert value == pytest.approx(wanted[path][layer], rel=1e-3, abs=1e-3), path


RUN_LINES = """
import json, sys
for path, lines in json.loads(sys.stdin.read()):
    names = {}
    exec(lines, names)
    values = {key: float(names[key].sum()) for key in ("pooled", "logits") if key in names}
    print(json.dumps([path, values, list(names.get("backbone", names.get("weights", {})))]))
"""


def check_result(done: Exported) -> None:
    counts = [difference.shape[0] for difference in done.differences]
    assert counts == ([1, 7, 2] if done.request.kind.is_graph else [1, 7])
    for difference in done.differences:
        assert difference.largest <= 1e-4 * max(1.0, difference.values)
        assert difference.values > 0.1
    beside = {"out.torchvision.json"} if done.request.format == "torchvision" else set()
    assert {done.path.name} | beside <= {path.name for path in done.path.parent.iterdir()}
    assert not list(done.path.parent.glob(".*"))
    facts = json.loads(json.dumps(done.to_json()))
    assert facts["bytes"] > 1000
    assert (facts["mean"], facts["size"]) == (list(done.about.mean), done.about.size)
    assert facts["classes"] == list(done.about.classes)


def test_onnx_has_one_output_named_axes_and_a_description(tmp_path: Path) -> None:
    done = make(tmp_path, TINY, "onnx", layer="scores", preprocess=True)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    (given,), (out,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("pictures", "tensor(uint8)", ["batch", 3, "height", "width"])
    assert (out.name, out.type, out.shape) == ("scores", "tensor(float)", ["batch", 12])
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["mean"]) == [0.5, 0.4, 0.3]
    assert json.loads(about["std"]) == [0.2, 0.25, 0.3]
    assert json.loads(about["classes"]) == ["a", "b", "ü"]
    assert (about["size"], about["channels"], about["source"]) == ("16", "3", "tiny")
    assert About.from_json(about["swav"]) == TINY
    for shape in ((5, 8, 8), (3, 24, 20)):
        pictures = sample(TINY, *shape)
        (scores,) = session.run(None, {"pictures": pictures.numpy()})
        with torch.no_grad():
            ours = network(TINY).scores(normalise(pictures, TINY))
        torch.testing.assert_close(torch.from_numpy(scores), ours, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("layer", "preprocess", "half"),
    [("embedding", False, False), ("scores", True, True), ("probabilities", True, False)],
)
def test_every_layer_can_be_exported(layer: str, preprocess: bool, half: bool, tmp_path: Path) -> None:
    done = make(tmp_path, TINY, "torch-export", layer=layer, preprocess=preprocess, half=half)
    about = {"swav.json": ""}
    read = torch.export.load(done.path, extra_files=about).module()
    pictures = sample(TINY, 2, 8, 9)  # so small that the last feature map is one pixel high
    with torch.no_grad():
        values = read(pictures if preprocess else normalise(pictures, TINY))
    assert (values.dtype, values.shape[0]) == (torch.float32, 2)
    described = json.loads(about["swav.json"])
    assert (described["layer"], described["input"].split(",")[0]) == (layer, "uint8" if preprocess else "float32")
    if layer == "probabilities":
        torch.testing.assert_close(values.sum(1), torch.ones(2))


def test_safetensors_is_read_by_load_model(tmp_path: Path) -> None:
    done = make(tmp_path, TINY, "safetensors", half=True)
    model, about = load_model(done.path)
    assert about == TINY
    assert model.conv1.weight.dtype == torch.float32
    assert done.path.stat().st_size < 0.6 * sum(4 * tensor.numel() for tensor in model.state_dict().values())


def test_torchvision_loads_strictly_and_says_that_fc_is_zeros(tmp_path: Path) -> None:
    done = make(tmp_path, BARE, "torchvision")
    model = torchvision.models.resnet18()
    model.load_state_dict(torch.load(done.path, weights_only=True), strict=True)
    assert not model.fc.weight.any()
    assert any("fc is there" in notice for notice in done.notices)
    assert json.loads((tmp_path / "out.torchvision.json").read_text())["source"] == "bare"


@pytest.mark.parametrize("channels", [1, 4])
def test_timm_loads_any_channels_and_knows_classes(channels: int, tmp_path: Path) -> None:
    mean = (0.5, 0.4, 0.3, 0.2)[:channels]
    done = make(tmp_path, replace(USUAL, channels=channels, mean=mean, std=mean), "timm")
    import timm

    model = timm.create_model(f"local-dir:{done.path}", pretrained=True)
    assert model.num_classes == 2
    assert model.pretrained_cfg["label_names"] == ["cat", "dog"]
    data = timm.data.resolve_model_data_config(model)
    assert (tuple(data["mean"]), data["input_size"]) == (mean, (channels, 32, 32))
    assert timm.create_model(f"local-dir:{done.path}", pretrained=True, num_classes=0).num_classes == 0


def test_the_networks_are_known_to_torchvision_and_timm() -> None:
    assert set(TORCHVISION) <= set(torchvision.models.list_models())
    timm = pytest.importorskip("timm")
    assert set(TORCHVISION) <= set(timm.list_models())


def test_names_are_those_of_mmpretrain() -> None:
    weights = network(TINY).state_dict()
    names = to_mmpretrain(weights)
    backbone = {name for name in weights if not name.startswith(("projection_head", "prototypes", "fc"))}
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert set(names) == {f"backbone.{name}" for name in backbone} | {
        *(f"neck.projection_neck.{layer}.{kind}" for layer in (0, 3) for kind in ("weight", "bias")),
        *(f"neck.projection_neck.1.{kind}" for kind in statistics),
        *(f"neck.norm.{kind}" for kind in statistics),
        "head.loss_module.prototypes.weight", "head.fc.weight", "head.fc.bias",
    }  # fmt: skip


def test_names_are_those_of_the_published_code() -> None:
    published = json.loads((REFERENCE / "official_keys_resnet50.json").read_text())
    with torch.device("meta"):
        weights = to_official(SwAV("resnet50").state_dict())
    assert {name: list(tensor.shape) for name, tensor in weights.items()} == published


@pytest.mark.parametrize("format_", ["mmpretrain", "official"])
def test_pickles_hold_tensors_and_plain_values(format_: str, tmp_path: Path) -> None:
    done = make(tmp_path, TINY, format_, half=True)
    content = torch.load(done.path, weights_only=True)
    described = content["meta"] if format_ == "mmpretrain" else content
    assert (described["source"], described["size"], described["classes"]) == ("tiny", 16, ["a", "b", "ü"])
    kinds = {tensor.dtype for tensor in content["state_dict"].values()}
    assert kinds == {torch.float16, torch.int64}


@pytest.mark.parametrize(
    ("request_", "about", "said"),
    [
        (Request("torchvision"), TINY, "3x3 for small pictures.*These can: onnx, torch-export, safetensors"),
        (Request("timm"), replace(USUAL, width=32), "32 channels wide, and that of timm's resnet18 64"),
        (Request("torchvision"), replace(USUAL, backbone="resnet50w2"), "torchvision has no resnet50w2"),
        (Request("torchvision"), replace(USUAL, channels=1), "1 channels"),
        (Request("onnx", "probabilities"), BARE, "no classifier; it has pooled$"),
        (Request("onnx", "scores"), USUAL, "no prototypes; it has pooled, embedding, probabilities"),
        (Request("onnx", "embedding"), BARE, "no projection head"),
        (Request("official"), replace(BARE, backbone="timm:convnext_nano"), "holds ResNets"),
    ],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_refused_with_the_reason(request_: Request, about: About, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_fits(request_, about, 1000)


def test_more_than_onnx_can_hold_is_refused() -> None:
    check_fits(Request("onnx", half=True), BARE, 600_000_000)
    with pytest.raises(UserError, match=r"2 GB at most.*--half"):
        check_fits(Request("onnx"), BARE, 600_000_000)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "onx"}, "no export format 'onx'. Did you mean 'onnx'?"),
        ({"layer": "poled"}, "no layer 'poled'. Did you mean 'pooled'?"),
        ({"format": "timm", "layer": "scores"}, "--layer scores is for onnx and torch-export"),
        ({"format": "official", "preprocess": True}, "--preprocess is for onnx and torch-export"),
    ],
)
def test_a_request_that_makes_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refused:
        Request(**options)
    assert said in str(refused.value)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(export_formats, "find_spec", lambda name: None if name == "onnxruntime" else True)
    with pytest.raises(UserError, match=r"needs onnxruntime: pip install 'swav-cli\[onnx\]'$"):
        export_model(about=TINY, model=TINY.build(), request=Request("onnx"), out=tmp_path / "a.onnx")


def wrong_weights(path: Path, model: SwAV, about: About, request: Request) -> None:
    other = about.build()
    save_model(path, other, about)


def not_numbers(path: Path, model: SwAV, about: About, request: Request) -> None:
    other = about.build()
    torch.nn.init.constant_(other.conv1.weight, float("nan"))
    save_model(path, other, about)


def full_disk(path: Path, model: SwAV, about: About, request: Request) -> None:
    path.write_bytes(b"half of it")
    raise OSError(28, "No space left on device")


def stopped(path: Path, model: SwAV, about: About, request: Request) -> None:
    path.write_bytes(b"half of it")
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("writer", "error", "said"),
    [
        (wrong_weights, UserError, "differs from ours by .* and 1e-04 is allowed; nothing was kept"),
        (not_numbers, UserError, "differs from ours by nan"),
        (full_disk, UserError, "can't be written .No space left"),
        (stopped, KeyboardInterrupt, None),
    ],
)
def test_a_failure_leaves_nothing(
    writer: Callable[..., None],
    error: type[BaseException],
    said: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(exporting.WRITERS, "safetensors", writer)
    with pytest.raises(error, match=said):
        make(tmp_path / "new" / "folder", TINY, "safetensors")
    assert list(tmp_path.iterdir()) == []


def test_another_shape_is_no_answer_of_ours() -> None:
    with pytest.raises(UserError, match=r"pooled: \(1, 5\) where ours is \(1, 32\)"):
        compare(network(TINY), TINY, lambda x: {"pooled": torch.zeros(len(x), 5)}, Request("safetensors"))


def test_what_is_there_stays_until_told_otherwise(tmp_path: Path) -> None:
    done = make(tmp_path, TINY, "safetensors")
    done.path.write_text("mine")
    with pytest.raises(UserError, match="exists; replace it with --overwrite"):
        make(tmp_path, TINY, "safetensors")
    assert done.path.read_text() == "mine"
    export_model(network(TINY), TINY, done.request, done.path, overwrite=True)
    assert load_model(done.path)[1] == TINY


def test_a_folder_is_replaced_only_where_it_is_an_export(tmp_path: Path) -> None:
    done = make(tmp_path, BARE, "timm")
    config = done.path / "config.json"
    config.write_text("{}")
    export_model(network(BARE), BARE, done.request, done.path, overwrite=True)
    assert json.loads(config.read_text())["architecture"] == "resnet18"
    assert [path.name for path in tmp_path.iterdir()] == [done.path.name]
    (done.path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds more than an export \(thesis.tex\)"):
        check_free(done.path, done.request, overwrite=True)


def test_the_model_itself_is_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "run" / "model.safetensors"
    save_model(file, network(TINY), TINY)
    before = file.read_bytes()
    with pytest.raises(UserError, match="is the model itself"):
        export(tmp_path / "run", Request("safetensors", half=True), file, overwrite=True)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("source", "request_", "out", "path"),
    [
        ("runs/a", Request(), None, "runs/a/export/a.onnx"),
        ("runs/a/checkpoints/last.pt", Request("torch-export"), None, "runs/a/export/a.pt2"),
        ("runs/a/model.safetensors", Request("onnx", "scores", True), None, "runs/a/export/a-scores-uint8.onnx"),
        ("runs/a", Request("timm", half=True), None, "runs/a/export/a-half.timm"),
        ("others/w.pth.tar", Request("torchvision"), None, "others/export/w.torchvision.pth"),
        ("in1k-200e", Request("timm"), None, "export/in1k-200e.timm"),
        ("https://x.org/m.pth?download=1", Request("safetensors"), None, "export/m.safetensors"),
        ("runs/a", Request(), "b.onnx", "b.onnx"),
        ("runs/a", Request(), "others", "others/a.onnx"),
    ],
)  # fmt: skip
def test_where_it_goes(
    source: str, request_: Request, out: str | None, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("runs/a/recipe.yaml", "runs/a/model.safetensors", "runs/a/checkpoints/last.pt", "others/w.pth.tar"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert settle_path(source, request_, Path(out) if out else None) == Path(path)


def test_a_name_that_does_not_suit_the_format(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--out m.pth: a file of onnx ends in .onnx"):
        settle_path("runs/a", Request(), Path("m.pth"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="timm is a folder, and this is a file"):
        settle_path("runs/a", Request("timm"), tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "format_"),
    [("", "onnx"), ("a.pt2", "torch-export"), ("b/a.safetensors", "safetensors"), ("x.timm", "timm")],
)
def test_the_ending_tells_the_format(name: str, format_: str) -> None:
    assert format_of(name) == format_


def test_an_ending_of_several_formats_is_asked_about() -> None:
    with pytest.raises(UserError, match="say which with --format torchvision, mmpretrain or official"):
        format_of("a.pth")
