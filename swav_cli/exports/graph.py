"""Exports that hold the network itself: ONNX and torch.export, for any batch, height and width, or for one alone."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
import torch.fx.experimental._config as shapes_config
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from swav_cli.core.weights import Model
from swav_cli.exports.check import Reader, answer, sample, takes_any_size
from swav_cli.exports.formats import ExportRequest, describe

DESCRIPTION = "swav.json"  # of the extra files in a .pt2
AXES = {0: "batch", 2: "height", 3: "width"}


class Deployed(nn.Module):
    """Pictures to one layer."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Model, request: ExportRequest) -> None:
        super().__init__()
        self.network, self.layer, self.preprocess = model.network, request.layer, request.preprocess
        self.dtype = torch.float16 if request.half else torch.float32
        self.register_buffer("mean", torch.tensor(model.about.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(model.about.std)[:, None, None], persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:  # (B, C, H, W) -> (B, ...) float32
        x = (pictures.float() / 255 - self.mean) / self.std if self.preprocess else pictures
        return answer(self.network, self.layer, x.to(self.dtype)).float()


def trace(model: Model, request: ExportRequest) -> ExportedProgram:
    about, network = model.about, Deployed(model, request).eval()
    if request.static:
        pictures = sample(about, request.static, about.size, about.size)
        with torch.no_grad():
            return torch.export.export(network, (pictures if request.preprocess else pictures.float(),))
    free = takes_any_size(model.network)
    height, width = (about.size + 8, about.size + 16) if free else (about.size, about.size)
    pictures = sample(about, 2, height, width)
    example = pictures if request.preprocess else pictures.float()
    # Without these two a size of 1 counts as a special case: one picture alone, or pictures so small that their last
    # map is one pixel, are refused by the exported network.
    with torch.no_grad(), shapes_config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        return torch.export.export(
            network,
            (example,),
            dynamic_shapes={"pictures": dict.fromkeys(AXES if free else [0], Dim.DYNAMIC)},
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def write_torch_export(path: Path, model: Model, request: ExportRequest) -> None:
    description = json.dumps(describe(model.about, request))
    torch.export.save(trace(model, request), path, extra_files={DESCRIPTION: description})


def read_torch_export(path: Path, request: ExportRequest) -> Reader:
    network = torch.export.load(path).module()
    return lambda pictures: {request.layer: network(pictures)}


def write_onnx(path: Path, model: Model, request: ExportRequest) -> None:
    import onnx

    with torch.no_grad():
        program = torch.onnx.export(
            trace(model, request), dynamo=True, input_names=["pictures"], output_names=[request.layer],
            verbose=False,
        )  # fmt: skip
    assert program is not None  # it is None for the old exporter alone
    proto = program.model_proto
    if not request.static:
        _name_axes(proto.graph)
    described = describe(model.about, request)
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in described.items()}
    onnx.helper.set_model_props(proto, values)
    onnx.save(proto, str(path))


def _name_axes(graph: Any) -> None:
    """`batch`, `height` and `width` in place of the symbols that tracing made up."""
    dims = graph.input[0].type.tensor_type.shape.dim
    names = {dims[axis].dim_param: name for axis, name in AXES.items() if dims[axis].dim_param}
    symbol = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")
    for value in [*graph.input, *graph.output, *graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = symbol.sub(lambda found: names[found.group()], dim.dim_param)


def read_onnx(path: Path, request: ExportRequest) -> Reader:
    # Newer ones report their use to their makers, and keep a number for this machine in the home folder, from their
    # import on where this does not stop them.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # on Windows
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda pictures: {request.layer: torch.from_numpy(session.run(None, {"pictures": pictures.numpy()})[0])}
