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
from swav_cli.core.weights import About, Model, save_model
from swav_cli.errors import UserError
from swav_cli.exports import formats
from swav_cli.exports.check import compare, normalise, sample
from swav_cli.exports.formats import EXPORT_FORMATS, TORCHVISION, ExportRequest
from swav_cli.exports.weights import to_mmpretrain, to_official
from swav_cli.tasks import export as exporting
from swav_cli.tasks.export import Exported, check_free, export, export_model
from swav_cli.zoo.load import load_model
from tests.conftest import REFERENCE
from tests.processes import environment

TINY = About(
    "resnet18", width=4, stem="small", hidden_dim=16, embedding_dim=8, prototypes=12, classes=("a", "b", "ü"), size=16,
    mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3), source="tiny", licence="CC0",
)  # fmt: skip
USUAL = About("resnet18", size=32, classes=("cat", "dog"), hidden_dim=8, embedding_dim=4, source="usual")
BARE = replace(USUAL, classes=(), hidden_dim=0, embedding_dim=0, source="bare")


CLUSTERS = replace(TINY, classes=(), source="clusters")
PUBLISHED = About("resnet50", size=32, hidden_dim=8, embedding_dim=4, prototypes=12, source="published")


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
    for module in EXPORT_FORMATS[format_].needs:
        pytest.importorskip(module)


def make(folder: Path, about: About, format_: str, **options: Any) -> Exported:
    needs(format_)
    request = ExportRequest(format_, **options)
    return export_model(Model(network(about), about), request, folder / f"out{EXPORT_FORMATS[format_].suffix}")


CASES = [
    *((name, TINY) for name in ("onnx", "torch-export", "safetensors", "mmpretrain")),
    ("mmpretrain", CLUSTERS),
    ("official", PUBLISHED),
    *((name, about) for name in ("torchvision", "timm") for about in (USUAL, BARE)),
]


def test_every_export_gives_our_answers_and_so_do_its_printed_lines(tmp_path: Path) -> None:
    """In one test, and the lines in one process, since it is exporting and importing that take time."""
    wanted, scripts = {}, []
    for format_, about in CASES:
        if any(formats.find_spec(module) is None for module in EXPORT_FORMATS[format_].needs):
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
    counts = list(dict.fromkeys(difference.shape[0] for difference in done.differences))
    assert counts == ([1, 7, 2] if done.request.kind.is_graph else [1, 7])
    for difference in done.differences:
        assert difference.relative <= 1e-4
        assert difference.values > 0.1
    beside = {f"out.{done.request.format}.json"} if done.request.kind.is_bare else set()
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
    found = load_model(done.path)
    model, about = found.network, found.about
    assert about == TINY
    assert model.conv1.weight.dtype == torch.float32
    assert done.path.stat().st_size < 0.6 * sum(4 * tensor.numel() for tensor in model.state_dict().values())


def test_torchvision_gets_no_classifier_where_there_is_none(tmp_path: Path) -> None:
    done = make(tmp_path, BARE, "torchvision")
    model = torchvision.models.resnet18()
    found = model.load_state_dict(torch.load(done.path, weights_only=True), strict=False)
    assert (found.missing_keys, found.unexpected_keys) == (["fc.weight", "fc.bias"], [])
    assert any("fc is not there: load it with strict=False" in notice for notice in done.notices)
    assert json.loads((tmp_path / "out.torchvision.json").read_text())["source"] == "bare"
    assert load_model(done.path).about.classes == ()


def test_the_published_hub_file_finds_every_tensor(tmp_path: Path) -> None:
    """It strips `module.` from names at the top, and loads what it then knows without a word on the rest."""
    done = make(tmp_path, PUBLISHED, "official")
    content = torch.load(done.path, weights_only=True)
    weights = {name.replace("module.", ""): tensor for name, tensor in content.items()}
    model = torchvision.models.resnet50()
    found = model.load_state_dict(weights, strict=False)
    assert found.missing_keys == ["fc.weight", "fc.bias"]
    assert {name.split(".")[0] for name in found.unexpected_keys} == {"projection_head", "prototypes"}
    found = load_model(done.path)
    read, about = found.network, found.about
    assert (about.size, about.mean, about.std, about.prototypes) == (32, PUBLISHED.mean, PUBLISHED.std, 12)
    assert all(torch.equal(tensor, read.state_dict()[name]) for name, tensor in network(PUBLISHED).state_dict().items())


def test_official_files_as_they_were_written_before_are_read(tmp_path: Path) -> None:
    described = formats.describe(TINY, ExportRequest("safetensors"))
    torch.save({**described, "state_dict": to_official(network(TINY).state_dict())}, tmp_path / "before.pth")
    found = load_model(tmp_path / "before.pth")
    model, about = found.network, found.about
    assert (about.size, about.mean, about.classes) == (16, TINY.mean, TINY.classes)
    assert torch.equal(model.fc.weight, network(TINY).fc.weight)


@pytest.mark.parametrize("format_", ["onnx", "torch-export"])
def test_a_graph_of_a_fixed_batch(format_: str, tmp_path: Path) -> None:
    done = make(tmp_path, TINY, format_, static=3, preprocess=True)
    assert [difference.shape for difference in done.differences] == [(3, 16, 16)] * 2
    assert "it takes a batch of 3 at 16 x 16, and no other" in done.notices
    assert any("(3, 3, 16, 16)" in line for line in done.lines)
    if format_ == "torch-export":
        with pytest.raises(Exception, match="3"):
            torch.export.load(done.path).module()(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
        return
    import onnx

    proto = onnx.load(done.path)
    dims = [dim for value in (*proto.graph.input, *proto.graph.output) for dim in value.type.tensor_type.shape.dim]
    assert [dim.dim_value for dim in dims] == [3, 3, 16, 16, 3, 32]
    assert not any(dim.dim_param for value in proto.graph.value_info for dim in value.type.tensor_type.shape.dim)


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
    weights = network(CLUSTERS).state_dict()
    names = to_mmpretrain(weights)
    backbone = {name for name in weights if not name.startswith(("projection_head", "prototypes"))}
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert set(names) == {f"backbone.{name}" for name in backbone} | {
        *(f"neck.projection_neck.{layer}.{kind}" for layer in (0, 3) for kind in ("weight", "bias")),
        *(f"neck.projection_neck.1.{kind}" for kind in statistics),
        *(f"neck.norm.{kind}" for kind in statistics),
        "head.loss_module.prototypes.weight",
    }  # fmt: skip


def test_a_classifier_of_mmpretrain_has_no_other_head(tmp_path: Path) -> None:
    """So that its networks, which have one or the other, load it strictly."""
    done = make(tmp_path, TINY, "mmpretrain")
    content = torch.load(done.path, weights_only=True)
    assert {name.split(".")[0] for name in content["state_dict"]} == {"backbone", "head"}
    assert {name for name in content["state_dict"] if name.startswith("head.")} == {"head.fc.weight", "head.fc.bias"}
    assert content["meta"]["dataset_meta"] == {"classes": ["a", "b", "ü"]}
    assert any("left out" in notice for notice in done.notices)
    assert load_model(done.path).about.classes == ("a", "b", "ü")


def test_names_are_those_of_the_published_code() -> None:
    published = json.loads((REFERENCE / "official_keys_resnet50.json").read_text())
    with torch.device("meta"):
        weights = to_official(SwAV("resnet50").state_dict())
    assert {name: list(tensor.shape) for name, tensor in weights.items()} == published


def test_pickles_hold_tensors_and_plain_values(tmp_path: Path) -> None:
    done = make(tmp_path, TINY, "mmpretrain", half=True)
    content = torch.load(done.path, weights_only=True)
    described = content["meta"]
    assert (described["source"], described["size"], described["classes"]) == ("tiny", 16, ["a", "b", "ü"])
    kinds = {tensor.dtype for tensor in content["state_dict"].values()}
    assert kinds == {torch.float16, torch.int64}


def wrong_weights(path: Path, model: Model, request: ExportRequest) -> None:
    other = model.about.build()
    save_model(path, Model(other, model.about))


def not_numbers(path: Path, model: Model, request: ExportRequest) -> None:
    other = model.about.build()
    torch.nn.init.constant_(other.conv1.weight, float("nan"))
    save_model(path, Model(other, model.about))


def full_disk(path: Path, model: Model, request: ExportRequest) -> None:
    path.write_bytes(b"half of it")
    raise OSError(28, "No space left on device")


def stopped(path: Path, model: Model, request: ExportRequest) -> None:
    path.write_bytes(b"half of it")
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("writer", "error", "said"),
    [
        (wrong_weights, UserError, "differs from ours by .* in pooled .* and 1e-04 is allowed; nothing was kept"),
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
        compare(Model(network(TINY), TINY), lambda x: {"pooled": torch.zeros(len(x), 5)}, ExportRequest("safetensors"))


@pytest.mark.parametrize(("layer", "off", "is_same"), [("scores", 9e-5, 1), ("scores", 2e-4, 0), ("pooled", 2e-4, 1)])
def test_a_layer_is_judged_by_its_own_values(layer: str, off: float, is_same: bool) -> None:
    """Large pooled features excuse nothing in scores, which are cosines."""
    model = network(TINY)
    torch.nn.init.constant_(model.layer4[-1].bn2.bias, 100.0)

    def theirs(x: torch.Tensor) -> dict[str, torch.Tensor]:
        answers = {"pooled": model.features(x), "scores": model.scores(x)}
        return {**answers, layer: answers[layer] + off}

    if is_same:
        found = compare(Model(model, TINY), theirs, ExportRequest("safetensors"))
        assert max(part.largest for part in found) > off / 2
    else:
        with pytest.raises(UserError, match=r"differs from ours by 2\.0e-04 in scores on a batch of 1"):
            compare(Model(model, TINY), theirs, ExportRequest("safetensors"))


def test_what_is_there_stays_until_told_otherwise(tmp_path: Path) -> None:
    done = make(tmp_path, TINY, "safetensors")
    done.path.write_text("mine")
    with pytest.raises(UserError, match="exists; replace it with --overwrite"):
        make(tmp_path, TINY, "safetensors")
    assert done.path.read_text() == "mine"
    export_model(Model(network(TINY), TINY), done.request, done.path, overwrite=True)
    assert load_model(done.path).about == TINY


def test_a_folder_is_replaced_only_where_it_is_an_export(tmp_path: Path) -> None:
    done = make(tmp_path, BARE, "timm")
    config = done.path / "config.json"
    config.write_text("{}")
    export_model(Model(network(BARE), BARE), done.request, done.path, overwrite=True)
    assert json.loads(config.read_text())["architecture"] == "resnet18"
    assert [path.name for path in tmp_path.iterdir()] == [done.path.name]
    (done.path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds more than an export \(thesis.tex\)"):
        check_free(done.path, done.request, overwrite=True)


def test_the_model_itself_is_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "run" / "model.safetensors"
    save_model(file, Model(network(TINY), TINY))
    before = file.read_bytes()
    with pytest.raises(UserError, match="is the model itself"):
        export(tmp_path / "run", ExportRequest("safetensors", half=True), file, overwrite=True)
    assert file.read_bytes() == before


@pytest.mark.parametrize(("name", "classes"), [("test_vit", ()), ("test_convnext", ("a", "b", "c"))])
def test_a_backbone_of_timm_goes_back_to_timm(name: str, classes: tuple[str, ...], tmp_path: Path) -> None:
    """With the place of its classifier, and the size of its position embedding."""
    timm = pytest.importorskip("timm")
    about = About(f"timm:{name}", size=64, classes=classes)
    torch.manual_seed(0)
    model = about.build().eval()
    done = export_model(Model(model, about), ExportRequest("timm"), tmp_path / "out.timm")
    assert done.differences[1].largest == 0
    pictures = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        theirs = timm.create_model(f"local-dir:{done.path}", pretrained=True).eval()(pictures)
        ours = model.logits(pictures) if classes else model.features(pictures)
    torch.testing.assert_close(theirs, ours)


def test_a_transformer_is_exported_for_one_size_and_says_so(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    about = About("timm:test_vit", size=64)
    torch.manual_seed(0)
    done = export_model(Model(about.build().eval(), about), ExportRequest("torch-export"), tmp_path / "out.pt2")
    assert [difference.shape for difference in done.differences] == [(1, 64, 64), (7, 64, 64)]
    assert done.notices == ("it takes any batch, and pictures of 64 x 64 alone",)
