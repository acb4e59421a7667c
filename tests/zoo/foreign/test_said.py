"""What files say of how pictures are fed is heeded; what none says is told as assumed."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from swav_cli import SwAV, UserError
from swav_cli.core.weights import About, Model
from swav_cli.exports.formats import ExportRequest
from swav_cli.tasks.export import export_model
from swav_cli.zoo.foreign.said import fed, said_of
from swav_cli.zoo.load import Loaded, load
from tests.zoo.foreign.test_layouts import pictures, renamed, small

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def loaded(path: Path) -> tuple[Loaded, str]:
    told: list[str] = []
    return load(path, told.append), " ".join(told)


def body(classes: int = 0, **more: Any) -> SwAV:
    return small(classes, hidden_dim=0, embedding_dim=0, prototypes=0, **more)


def folder(path: Path, weights: dict[str, Tensor], file: str = "model.safetensors", **files: Any) -> Path:
    path.mkdir()
    (save_file if file.endswith("safetensors") else torch.save)({k: v.clone() for k, v in weights.items()}, path / file)
    for name, content in files.items():
        (path / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return path


TIMM = {
    "architecture": "resnet18",
    "num_classes": 3,
    "label_names": ["ant", "bee", "cat"],
    "model_args": {"in_chans": 3, "num_classes": 3},
    "pretrained_cfg": {
        "input_size": [3, 176, 176], "test_input_size": [3, 208, 208], "mean": MEAN, "std": STD, "crop_pct": 0.9,
        "test_crop_pct": 0.95,
    },
}  # fmt: skip


@pytest.mark.parametrize("named", ["timm", "transformers"])
def test_what_is_done_otherwise_than_a_file_says_is_told(named: str) -> None:
    fed_by = {"size": 160, "image_mean": MEAN, "image_std": STD}
    if named == "timm":
        config = {
            **TIMM,
            "pretrained_cfg": {**TIMM["pretrained_cfg"], "interpolation": "bicubic", "crop_mode": "squash"},
        }
        files = {"config.json": config}
    else:
        config = {"model_type": "resnet"}
        files = {"config.json": config, "preprocessor_config.json": {**fed_by, "resample": 3}}
    told = "; ".join(said_of({}, files, "").notes)
    assert "resized by bilinear interpolation, and" in told
    assert "config.json says bicubic" in told
    assert ("the square in their middle is cut, and config.json says squash" in told) is (named == "timm")
    usual = {"config.json": {**TIMM, "pretrained_cfg": {"interpolation": "bilinear", "crop_mode": "center"}}}
    assert not said_of({}, usual, "").notes


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("by", ["folder", "file"])
def test_a_folder_of_timm(tmp_path: Path, file: str, by: str) -> None:
    model = body(classes=3)
    hub = folder(tmp_path / "hub", dict(model.state_dict()), file, config=TIMM)
    found, told = loaded(hub if by == "folder" else hub / file)
    about = found.model.about
    assert (about.size, about.mean, about.std, about.classes) == (208, MEAN, STD, ("ant", "bee", "cat"))
    assert (about.crop_pct, about.shorter_side) == (0.95, 219)
    assert "208 pixels, 95 % of the shorter side, mean 0.5 0.4 0.3, std 0.2 0.3 0.4, as config.json says" in told
    assert "assumed" not in told
    with torch.no_grad():
        assert torch.equal(found.model.network.logits(pictures()), model.logits(pictures()))


@pytest.mark.parametrize(
    "fed",
    [
        {},
        {"mean": [0.5], "std": [0.5]},
        {"mean": [0.5] * 3, "std": [0, 1, 1]},
        {"mean": ["a"] * 3, "std": STD},
        {"mean": [float("nan")] * 3, "std": STD},
        {"input_size": [3, 10**9, 10**9]},
        {"input_size": "large", "crop_pct": 7},
    ],
)
def test_what_a_folder_does_not_say_rightly_is_assumed_and_told(tmp_path: Path, fed: dict[str, Any]) -> None:
    hub = folder(
        tmp_path / "hub", dict(body().state_dict()), config={"architecture": "resnet18", "pretrained_cfg": fed}
    )
    found, told = loaded(hub)
    assert (found.model.about.size, found.model.about.mean) == (224, (0.485, 0.456, 0.406))
    assert "assumed, as the file does not say: 224 pixels, normalised by mean 0.485" in told


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_a_broken_configuration_is_none(tmp_path: Path, text: str) -> None:
    found, _ = loaded(folder(tmp_path / "hub", dict(body().state_dict()), config=text))
    assert found.model.about.size == 224


def test_a_resnet_of_timm_that_is_built_otherwise_is_refused(tmp_path: Path) -> None:
    config = {**TIMM, "model_args": {"in_chans": 3, "output_stride": 8}}
    with pytest.raises(UserError, match=r"resnet18 of timm with output_stride \(model_args in config.json\)"):
        load(folder(tmp_path / "hub", dict(body(classes=3).state_dict()), config=config))


@pytest.mark.parametrize("backbone", ["resnet18", "timm:convnext_atto"])
def test_our_own_export_to_timm_comes_back_as_it_was(tmp_path: Path, backbone: str) -> None:
    pytest.importorskip("timm")
    about = About(backbone, classes=("a", "b"), size=48, mean=MEAN, std=STD, licence="MIT", source="mine")
    model = about.build().eval()
    export_model(Model(model, about), ExportRequest("timm"), tmp_path / "x.timm")
    found, told = loaded(tmp_path / "x.timm")
    described = found.model.about
    assert (described.backbone, described.size, described.mean, described.std) == (backbone, 48, MEAN, STD)
    assert (found.model.about.classes, found.model.about.licence) == (("a", "b"), "MIT")
    assert "as the file says" in told
    with torch.no_grad():
        assert torch.equal(found.model.network.logits(pictures()), model.logits(pictures()))


@pytest.mark.parametrize("name", ["resnet18d", "mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_networks_that_are_timms_own(tmp_path: Path, name: str) -> None:
    """By the architecture that a folder, or a checkpoint of timm's training, names."""
    timm = pytest.importorskip("timm")
    theirs = timm.create_model(name, num_classes=2).eval()
    nn.init.normal_(theirs.get_classifier().weight)
    fed = theirs.pretrained_cfg
    config = {
        "architecture": name,
        "num_classes": 2,
        "pretrained_cfg": {"mean": MEAN, "std": STD, "classifier": fed["classifier"]},
    }
    hub = folder(tmp_path / "hub", dict(theirs.state_dict()), config={**config, "label_names": ["a", "b"]})
    torch.save(
        {"arch": name, "state_dict": theirs.state_dict(), "args": argparse.Namespace()}, tmp_path / "last.pth.tar"
    )
    x = torch.randn(1, 3, *[224 if "224" in name else 64] * 2)
    for path, classes in ((hub, ("a", "b")), (tmp_path / "last.pth.tar", ("0", "1"))):
        found, _ = loaded(path)
        assert found.layout == "timm"
        assert found.model.about.classes == classes
        with torch.no_grad():
            torch.testing.assert_close(found.model.network.logits(x), theirs(x))
    assert loaded(hub)[0].model.about.mean == MEAN
    torch.save({"arch": name, "state_dict": {"stem.weight": torch.ones(2)}}, tmp_path / "part.pth")
    with pytest.raises(UserError, match=rf"0 of \d+ tensors of timm's {name} are there; first that is not"):
        load(tmp_path / "part.pth")


def transformers(weights: dict[str, Tensor], before: str = "") -> dict[str, Tensor]:
    """Our names as transformers has them."""
    named = {}
    for key, tensor in weights.items():
        words = key.split(".")
        if words[0] in ("conv1", "bn1"):
            kind = "convolution" if words[0] == "conv1" else "normalization"
            key = f"{before}embedder.embedder.{kind}.{words[1]}"
        elif words[0] == "fc":
            key = f"classifier.1.{words[1]}"
        else:
            if words[2] == "downsample":
                inner = "shortcut." + ("convolution", "normalization")[int(words.pop(3))]
            else:
                inner = f"layer.{int(words[2][-1]) - 1}.{'convolution' if words[2][0] == 'c' else 'normalization'}"
            key = f"{before}encoder.stages.{int(words[0][-1]) - 1}.layers.{words[1]}.{inner}.{words[3]}"
        named[key] = tensor
    return named


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_resnet_of_transformers(tmp_path: Path, backbone: str, file: str) -> None:
    torch.manual_seed(0)
    model = SwAV(backbone, embedding_dim=0, prototypes=0, classes=2, width=8).eval()
    nn.init.normal_(model.fc.weight)
    hub = folder(
        tmp_path / "hub", transformers(dict(model.state_dict()), "resnet."), file,
        config={"model_type": "resnet", "id2label": {"1": "dog", "0": "cat"}, "downsample_in_bottleneck": False},
        preprocessor_config={"size": {"shortest_edge": 96}, "image_mean": MEAN, "image_std": STD},
    )  # fmt: skip
    for path in (hub, hub / file):
        found, told = loaded(path)
        assert found.layout == "transformers"
        assert (found.model.about.size, found.model.about.mean, found.model.about.classes) == (96, MEAN, ("cat", "dog"))
        assert "as preprocessor_config.json says" in told
        with torch.no_grad():
            assert torch.equal(found.model.network.logits(pictures()), model.logits(pictures()))
    bare = folder(tmp_path / "bare", transformers(dict(model.state_dict())), config={"model_type": "resnet"})
    assert "assumed" in loaded(bare)[1]
    odd = {"model_type": "resnet", "downsample_in_bottleneck": True}
    with pytest.raises(UserError, match="a ResNet with downsample_in_bottleneck True"):
        load(folder(tmp_path / "odd", transformers(dict(model.state_dict())), config=odd))


@pytest.mark.parametrize("kind", ["convnext", "vit"])
def test_another_network_of_transformers_is_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UserError, match=rf"\({kind} in config.json\), of which swav reads ResNets alone"):
        load(folder(tmp_path / "hub", {"embeddings.weight": torch.ones(2)}, config={"model_type": kind}))


def test_a_network_of_timm_that_transformers_saved(tmp_path: Path) -> None:
    config = {"model_type": "timm_wrapper", "architecture": "resnet18", "label_names": ["a", "b"], "num_classes": 2}
    model = body(classes=2)
    found, _ = loaded(folder(tmp_path / "hub", renamed(dict(model.state_dict()), other="timm_model."), config=config))
    assert found.model.about.classes == ("a", "b")
    with torch.no_grad():
        assert torch.equal(found.model.network.logits(pictures()), model.logits(pictures()))


def solo_learn(stem: str = "small_pad2") -> tuple[SwAV, dict[str, Any]]:
    model = small(stem=stem)
    named = renamed(dict(model.state_dict()), other="backbone.", projection_head="projector", prototypes="prototypes")
    return model, {"state_dict": named}


@pytest.mark.parametrize("stem", ["small_pad2", "imagenet"])
@pytest.mark.parametrize(
    ("args", "mean", "told"),
    [
        ({"data": {"dataset": "cifar10"}, "augmentations": [{"crop_size": 40}]}, 0.4914, r"args.json \(cifar10\) says"),
        ({"dataset": "cifar100"}, 0.5071, r"args.json \(cifar100\) says"),
        (
            {"data": {"dataset": "custom"}, "augmentations": [{"mean": MEAN, "std": STD}]},
            0.5,
            r"args.json \(custom\) says",
        ),
        ({"data": {"dataset": "custom"}}, 0.485, "assumed, as the file does not say"),
        (None, 0.485, "assumed, as the file does not say"),
    ],
)
def test_a_model_of_solo_learn(tmp_path: Path, stem: str, args: Any, mean: float, told: str) -> None:
    """Its stem for small pictures pads by 2, and its normalisation is the data set's."""
    model, content = solo_learn(stem)
    torch.save(content, tmp_path / "last.ckpt")
    if args is not None:
        (tmp_path / "args.json").write_text(json.dumps(args))
    found, said = loaded(tmp_path / "last.ckpt")
    assert found.model.about.stem == stem
    assert found.model.about.mean[0] == mean
    assert found.model.about.size == (40 if args and "40" in str(args) else 224 if stem == "imagenet" else 32)
    assert re.search(told, said)
    with torch.no_grad():
        assert torch.equal(found.model.network.scores(pictures()), model.scores(pictures()))


CONFIG = "model = dict(type='SwAV', {})\ndata_preprocessor = dict({})\nimport os\nos.abort()\n"
VALUES = "mean=[127.5, 102.0, 76.5], std=[51.0, 76.5, 102.0], to_rgb={}"


@pytest.mark.parametrize(
    "meta",
    [
        {"cfg": CONFIG.format("", VALUES.format(True))},
        {"cfg": CONFIG.format(f"data_preprocessor=dict({VALUES.format(True)})", "num_classes=3")},
        {"config": f"img_norm_cfg = dict({VALUES.format(True)})"},
    ],
)
def test_a_checkpoint_of_mmengine_holds_its_configuration(tmp_path: Path, meta: dict[str, str]) -> None:
    weights = renamed(dict(small(hidden_dim=0, embedding_dim=0, prototypes=0).state_dict()), other="backbone.")
    torch.save({"meta": meta, "state_dict": weights}, tmp_path / "epoch_1.pth")
    found, told = loaded(tmp_path / "epoch_1.pth")
    assert (found.model.about.mean, found.model.about.std) == (MEAN, STD)
    assert "as its configuration (meta.cfg) says; assumed, as no file says it: 224 pixels" in told


@pytest.mark.parametrize(
    ("beside", "size", "share", "mean"),
    [
        ({"args": argparse.Namespace(val_crop_size=176, val_resize_size=232)}, 176, 176 / 232, 0.485),
        ({"args": argparse.Namespace(img_size=160, crop_pct=0.9, mean=list(MEAN), std=list(STD))}, 160, 0.9, 0.5),
        ({"args": argparse.Namespace(img_size=None, input_size=[3, 96, 96], mean=None)}, 96, 0.875, 0.485),
        ({"args": argparse.Namespace(lr=0.1)}, 224, 0.875, 0.485),
        ({"args": ["--lr", "0.1"]}, 224, 0.875, 0.485),
        ({"lightly_train": {"normalize_args": {"mean": MEAN, "std": STD}}}, 224, 0.875, 0.5),
        ({"lightly_train": 3}, 224, 0.875, 0.485),
    ],
)
def test_what_a_training_checkpoint_says(tmp_path: Path, beside: Any, size: int, share: float, mean: float) -> None:
    torch.save({"model": dict(body().state_dict()), **beside}, tmp_path / "last.pth")
    about = loaded(tmp_path / "last.pth")[0].model.about
    assert (about.size, about.crop_pct, about.mean[0]) == (size, share, mean)


@pytest.mark.parametrize("text", ["", "data_preprocessor = dict(mean=", "data_preprocessor = 3", "(" * 10_000, "\x00"])
def test_a_configuration_that_says_nothing(tmp_path: Path, text: str) -> None:
    weights = renamed(dict(small(hidden_dim=0, embedding_dim=0, prototypes=0).state_dict()), other="backbone.")
    torch.save({"meta": {"cfg": text}, "state_dict": weights}, tmp_path / "epoch_1.pth")
    assert loaded(tmp_path / "epoch_1.pth")[0].model.about.mean == (0.485, 0.456, 0.406)


def test_published_weights_are_fed_as_they_were_trained() -> None:
    """With 0.228, where ImageNet's number is 0.229."""
    from swav_cli.zoo.foreign.assemble import read_network

    weights = dict(small().state_dict())
    assert read_network({"state_dict": renamed(weights, other="module.")}, "file").about.std == (0.228, 0.224, 0.225)
    assert read_network(dict(body().state_dict()), "file").about.std == (0.229, 0.224, 0.225)


@pytest.mark.parametrize("names", [("a.pth",), ("a.pth", "b.ckpt"), ()])
def test_a_folder_that_is_no_runs(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        torch.save(body().state_dict(), tmp_path / name)
    if len(names) == 1:
        assert "its only file of weights is taken, a.pth" in loaded(tmp_path)[1]
    else:
        told = "holds 2 files of weights; name one of them, such as .*a.pth" if names else "holds no model"
        with pytest.raises(UserError, match=told):
            load(tmp_path)


@pytest.mark.parametrize(
    ("processor", "size", "share"),
    [
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.9}, 224, 0.9),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}, 224, 0.875),
        ({"size": 240, "crop_size": 240}, 240, 1.0),
        ({"size": 96}, 96, 0.875),
    ],
)
def test_the_share_of_a_picture_that_transformers_cuts(processor: dict[str, Any], size: int, share: float) -> None:
    beside = {"config.json": {"model_type": "resnet"}, "preprocessor_config.json": processor}
    about, _ = fed(About("resnet18"), "", said_of({}, beside, "transformers"))
    assert (about.size, about.crop_pct) == (size, share)
    assert About.from_json(about.to_json()) == about
    assert ("crop_pct" in about.to_json()) == (share != 0.875)


@pytest.mark.parametrize("share", [0.0, 0.05, 1.5, -1.0])
def test_a_share_that_cannot_be_is_no_description(share: float) -> None:
    with pytest.raises(ValueError, match="crop_pct"):
        About.from_json(About("resnet18", crop_pct=share).to_json())
