"""The lines of Python that load an export, complete: they run as they are printed."""

from __future__ import annotations

import json
from pathlib import Path

from swav_cli.core.weights import About
from swav_cli.exports.formats import ExportRequest


def loading_lines(path: Path, about: About, request: ExportRequest) -> list[str]:
    where = json.dumps(str(path), ensure_ascii=False)
    shape = f"({request.static or 1}, {about.channels}, {about.size}, {about.size})"
    normalised = "# (value / 255 - mean) / std"
    dummy = f"pictures = torch.zeros{shape}  {normalised}"
    if request.format == "onnx":
        kind, comment = ("uint8", "# 0 to 255") if request.preprocess else ("float32", normalised)
        return [
            "import numpy",
            "import onnxruntime",
            f"network = onnxruntime.InferenceSession({where})",
            "about = network.get_modelmeta().custom_metadata_map  # mean, std, size, channels, classes, source",
            f'pictures = numpy.zeros({shape}, "{kind}")  {comment}',
            f'{request.layer} = network.run(None, {{"pictures": pictures}})[0]',
        ]
    if request.format == "torch-export":
        if request.preprocess:
            dummy = f"pictures = torch.zeros({shape}, dtype=torch.uint8)  # 0 to 255"
        return [
            "import torch",
            'about = {"swav.json": ""}  # filled with mean, std, size, channels, classes, source as JSON',
            f"network = torch.export.load({where}, extra_files=about).module()",
            dummy,
            f"{request.layer} = network(pictures)",
        ]
    if request.format == "safetensors":
        return [
            "import swav_cli",
            "import torch",
            f"model = swav_cli.load_model({where})  # model.about holds mean, std, size and classes",
            dummy,
            "pooled = model.features(pictures)",
        ]
    return ["import torch", *_foreign_lines(where, about, request), *_answer_lines(dummy, about, request)]


def _foreign_lines(where: str, about: About, request: ExportRequest) -> list[str]:
    if request.format == "torchvision":
        classes = f"num_classes={len(about.classes)}" if about.classes and len(about.classes) != 1000 else ""
        return [
            "import torchvision",
            f"network = torchvision.models.{about.backbone}({classes}).eval()",
            *([] if about.classes else ["network.fc = torch.nn.Identity()  # the file has no classifier"]),
            f"network.load_state_dict(torch.load({where}, weights_only=True))",
        ]
    if request.format == "timm":
        load = f'timm.create_model("local-dir:" + {where}, pretrained=True'
        return ["import timm", f"network = {load}{'' if about.classes else ', num_classes=0'}).eval()"]
    if request.format == "mmpretrain":
        return [
            f'weights = torch.load({where}, weights_only=True)["state_dict"]',
            'backbone = {k[9:]: v for k, v in weights.items() if k.startswith("backbone.")}',
            "# in a config of mmpretrain:",
            f'init_cfg = dict(type="Pretrained", checkpoint={where}, prefix="backbone.")',
        ]
    return [
        f"weights = torch.load({where}, weights_only=True)",
        'weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}',
        f"# in the published code: python eval_linear.py --arch {about.backbone} --pretrained {where}",
    ]


def _answer_lines(dummy: str, about: About, request: ExportRequest) -> list[str]:
    if request.format not in ("torchvision", "timm"):
        return []
    return [dummy, "logits = network(pictures)" if about.classes else "pooled = network(pictures)"]


def notices(about: About, request: ExportRequest, any_size: bool) -> list[str]:
    """What is not as a user of the format might take it to be."""
    said = []
    if request.format == "torchvision" and not about.classes:
        said.append("this model has no classifier, so fc is not there: load it with strict=False, or as the lines do")
    if request.kind.is_bare:
        said.append("mean, std, size and classes are in the .json beside it")
    without_head = request.format in ("torchvision", "timm") or (request.format == "mmpretrain" and about.classes)
    if without_head and (about.embedding_dim or about.prototypes):
        said.append("projection head and prototypes are left out: it has no place for them")
    if request.format == "official" and about.classes:
        said.append("the classifier is there as module.linear, as the published linear evaluation names it")
    if request.static:
        said.append(f"it takes a batch of {request.static} at {about.size} x {about.size}, and no other")
    elif request.kind.is_graph and not any_size:
        said.append(f"it takes any batch, and pictures of {about.size} x {about.size} alone")
    if request.half:
        said.append("weights are float16" + (", inputs and outputs float32" if request.kind.is_graph else ""))
    return said
