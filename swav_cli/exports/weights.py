"""Exports that hold weights under the names of another library, and how each is read back for comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from swav_cli.core.model import SwAV
from swav_cli.core.weights import About, Model, read_model, save_model
from swav_cli.errors import UserError
from swav_cli.exports.check import Reader, answer, timm_facts
from swav_cli.exports.formats import TIMM, ExportRequest, describe
from swav_cli.files import write_json, write_whole


def write_safetensors(path: Path, model: Model, request: ExportRequest) -> None:
    save_model(path, model)


def read_safetensors(path: Path, about: About) -> Reader:
    return _all_layers(read_model(path).network)


def write_torchvision(path: Path, model: Model, request: ExportRequest) -> None:
    """A state dict and nothing else, as torchvision's own files are.

    Where there is no classifier, fc is left out: zeros in its place would be taken for one.
    """
    torch.save(_backbone(model.network), path)
    write_json(path.with_suffix(".json"), describe(model.about, request))


def read_torchvision(path: Path, about: About) -> Reader:
    import torchvision

    network = getattr(torchvision.models, about.backbone)(num_classes=len(about.classes) or 1).eval()
    if not about.classes:
        network.fc = nn.Identity()
    network.load_state_dict(torch.load(path, weights_only=True), strict=True)
    classifier, network.fc = network.fc, nn.Identity()

    def read(x: Tensor) -> dict[str, Tensor]:
        pooled = network(x)
        return {"pooled": pooled, **({"logits": classifier(pooled)} if about.classes else {})}

    return read


def write_timm(path: Path, model: Model, request: ExportRequest) -> None:
    path.mkdir()
    network, about = model.network, model.about
    weights = _backbone(network)
    if network.has("backbone"):
        classifier = timm_facts(network)["classifier"]
        if about.classes and not isinstance(classifier, str):
            raise UserError(f"--format timm: {about.backbone} has several classifiers in timm, and this model one")
        weights = {
            name.replace("fc.", f"{classifier}.", 1)
            if name.startswith("fc.")
            else name.removeprefix("backbone."): tensor
            for name, tensor in weights.items()
        }
    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    write_whole(path / "model.safetensors", lambda part: save_file(tensors, part))
    write_json(path / "config.json", _timm_config(model, request))


def _timm_config(model: Model, request: ExportRequest) -> dict[str, Any]:
    """As timm writes it for the Hugging Face hub."""
    network, about = model.network, model.about
    classes = len(about.classes)
    own = timm_facts(network)
    arguments: dict[str, Any] = {"in_chans": about.channels} if about.channels != 3 else {}
    if network.has("backbone"):
        arguments |= _position_arguments(network.backbone)
    return {
        "architecture": about.backbone.removeprefix(TIMM),
        "num_classes": classes,
        "num_features": network.feature_dim,
        **({"label_names": list(about.classes)} if classes else {}),
        **({"model_args": arguments} if arguments else {}),
        "pretrained_cfg": {
            "tag": "swav",
            "custom_load": False,
            "input_size": [about.channels, about.size, about.size],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": about.crop_pct,
            "crop_mode": "center",
            "mean": list(about.mean),
            "std": list(about.std),
            "num_classes": classes,
            "pool_size": None,
            "first_conv": own.get("first_conv", "conv1"),
            "classifier": own.get("classifier", "fc"),
            "license": about.licence,
            "paper_ids": "arXiv:2006.09882",
        },
        "swav": describe(about, request)["swav"],
    }


def _position_arguments(backbone: Any) -> dict[str, Any]:
    """A transformer's size and whether it takes others, as it was built: its position embedding depends on them."""
    arguments: dict[str, Any] = {}
    if getattr(backbone, "dynamic_img_size", False):
        arguments["dynamic_img_size"] = True
    size = getattr(getattr(backbone, "patch_embed", None), "img_size", None)
    return arguments | ({"img_size": list(size)} if size else {})


def read_timm(path: Path, about: About) -> Reader:
    import timm

    network = timm.create_model(f"local-dir:{path}", pretrained=True, num_classes=0).eval()
    whole = timm.create_model(f"local-dir:{path}", pretrained=True).eval() if about.classes else None
    return lambda x: {"pooled": network(x), **({"logits": whole(x)} if whole is not None else {})}


def write_mmpretrain(path: Path, model: Model, request: ExportRequest) -> None:
    described = describe(model.about, request)
    if model.about.classes:
        described["dataset_meta"] = {"classes": list(model.about.classes)}
    torch.save({"meta": described, "state_dict": to_mmpretrain(_one_head(model.network))}, path)


def read_mmpretrain(path: Path, about: About) -> Reader:
    weights = torch.load(path, weights_only=True)["state_dict"]
    if about.classes:
        about = replace(about, hidden_dim=0, embedding_dim=0, prototypes=0, prototypes_bias=False)
    return _renamed(from_mmpretrain(weights), about)


def to_mmpretrain(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """mmpretrain's names. Its neck holds the normalisation twice, as `norm` and as `projection_neck.1`."""
    renamed = {}
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        if part == "projection_head":
            renamed[f"neck.projection_neck.{rest}"] = tensor
            if rest.startswith("1."):
                renamed[f"neck.norm.{rest[2:]}"] = tensor
        elif part == "prototypes":
            renamed[f"head.loss_module.{name}"] = tensor
        else:
            renamed[f"head.{name}" if part == "fc" else f"backbone.{name}"] = tensor
    return renamed


def from_mmpretrain(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    ours = {"backbone.": "", "neck.projection_neck.": "projection_head.", "head.loss_module.": "", "head.": ""}
    renamed = {}
    for name, tensor in weights.items():
        for prefix, own in ours.items():
            if name.startswith(prefix):
                renamed[own + name.removeprefix(prefix)] = tensor
                break
    return renamed


def write_official(path: Path, model: Model, request: ExportRequest) -> None:
    """Tensors at the top, as the published files have them: the published hubconf.py finds no others."""
    torch.save(to_official(model.network.state_dict()), path)
    write_json(path.with_suffix(".json"), describe(model.about, request))


def read_official(path: Path, about: About) -> Reader:
    return _renamed(from_official(torch.load(path, weights_only=True)), about)


def to_official(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published code's names. Its linear evaluation keeps the classifier as `module.linear`."""
    return {
        f"module.linear.{name[3:]}" if name.startswith("fc.") else f"module.{name}": tensor
        for name, tensor in weights.items()
    }


def from_official(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    bare = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    return {f"fc.{name[7:]}" if name.startswith("linear.") else name: tensor for name, tensor in bare.items()}


def _renamed(weights: dict[str, Tensor], about: About) -> Reader:
    """These libraries are not at hand: their names are turned back into ours, and every tensor has to be there."""
    network = about.build().eval()
    network.load_state_dict(weights, strict=True)
    return _all_layers(network)


def _one_head(network: SwAV) -> dict[str, Tensor]:
    """mmpretrain's networks have a classifier, or else projection head and prototypes, and load strictly."""
    return _backbone(network) if network.has("fc") else network.state_dict()


def _backbone(network: SwAV) -> dict[str, Tensor]:
    """With the classifier where there is one."""
    head = ("projection_head.", "prototypes.")
    return {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(head)}


def _all_layers(network: SwAV) -> Reader:
    parts = {"embedding": "projection_head", "scores": "prototypes", "logits": "fc"}
    layers = ["pooled", *(layer for layer, part in parts.items() if part in network._modules)]
    return lambda x: {layer: answer(network, layer, x) for layer in layers}
