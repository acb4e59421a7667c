"""What a model can be exported to, and whether a request makes sense. Imports no torch: help and completion read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from swav_cli.errors import UserError, nearest
from swav_cli.recipe.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from swav_cli.core.weights import About


class ExportFormat(NamedTuple):
    """Where a format is kept and what it takes to write it."""

    suffix: str  # behind a name of our choosing
    endings: tuple[str, ...]  # that a name given by the user may have; none: it is a folder
    needs: tuple[str, ...] = ()  # modules beyond our own dependencies
    extra: str = ""  # of ours, that installs them
    is_graph: bool = False  # the network itself, with one layer as its output; else its weights
    is_bare: bool = False  # tensors and nothing else, as the library wants them; the description lies in a .json beside


PICKLES = (".pth", ".pt", ".tar", ".bin")
EXPORT_FORMATS = {
    "onnx": ExportFormat(".onnx", (".onnx",), ("onnx", "onnxruntime", "onnxscript"), "onnx", is_graph=True),
    "torch-export": ExportFormat(".pt2", (".pt2",), is_graph=True),
    "safetensors": ExportFormat(".safetensors", (".safetensors",)),
    "torchvision": ExportFormat(".torchvision.pth", PICKLES, is_bare=True),
    "timm": ExportFormat(".timm", (), ("timm",), "timm"),
    "mmpretrain": ExportFormat(".mmpretrain.pth", PICKLES),
    "official": ExportFormat(".official.pth", PICKLES, is_bare=True),
}
LAYERS = {"pooled": "", "embedding": "projection_head", "scores": "prototypes", "probabilities": "fc"}  # what it needs
TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2")  # timm's names too
PUBLISHED = ("resnet50", "resnet50w2", "resnet50w4", "resnet50w5")  # that the published code can build
TIMM = "timm:"  # before the name of a backbone that is timm's own
LARGEST_ONNX = 2**31 - 2**22  # bytes of one protobuf message, less room for the graph


@dataclass(frozen=True)
class ExportRequest:
    """How a model is to be exported.

    >>> ExportRequest("onnx", layer="scores", half=True).tolerance
    0.02

    Args:
        format: one of `EXPORT_FORMATS`.
        layer: of a graph, what it puts out: one of `LAYERS`.
        preprocess: a graph takes uint8 pictures, and scales and normalises them itself.
        half: weights in float16, and in a graph the arithmetic too; inputs and outputs stay float32.
        static: pictures that a graph takes at a time, no fewer and no more, of the model's own size; None: any.

    Raises:
        UserError: unknown words, or options that contradict each other.
    """

    format: str = "onnx"
    layer: str = "pooled"
    preprocess: bool = False
    half: bool = False
    static: int | None = None

    def __post_init__(self) -> None:
        if self.format not in EXPORT_FORMATS:
            raise UserError(
                f"no export format '{self.format}'.{nearest(self.format, EXPORT_FORMATS)} "
                f"There are: {', '.join(EXPORT_FORMATS)}"
            )
        if self.layer not in LAYERS:
            raise UserError(f"no layer '{self.layer}'.{nearest(self.layer, LAYERS)} There are: {', '.join(LAYERS)}")
        if not self.kind.is_graph and (self.layer != "pooled" or self.preprocess or self.static is not None):
            option = "--preprocess" if self.preprocess else "--static" if self.static else f"--layer {self.layer}"
            raise UserError(f"{option} is for onnx and torch-export; {self.format} holds weights, with all layers")
        if self.static is not None and self.static < 1:
            raise UserError(f"--static {self.static}: a number of pictures from 1 on")

    @property
    def kind(self) -> ExportFormat:
        """What is known of the format."""
        return EXPORT_FORMATS[self.format]

    @property
    def tolerance(self) -> float:
        """The largest difference that counts as the same, times the layer's largest value where that is above 1."""
        return 2e-2 if self.half else 1e-4


def export_format(name: str) -> str:
    """The format that a file's ending stands for; onnx where it tells nothing."""
    ending = Path(name).suffix
    if ending in PICKLES:
        raise UserError(f"{name}: say which with --format torchvision, mmpretrain or official")
    return next((key for key, kind in EXPORT_FORMATS.items() if kind.suffix == ending), "onnx")


def check_installed(request: ExportRequest) -> None:
    """
    Raises:
        UserError: the format takes a library that is not there.
    """
    missing = [name for name in request.kind.needs if find_spec(name) is None]
    if missing:
        raise UserError(
            f"--format {request.format} needs {', '.join(missing)}: pip install 'swav-cli[{request.kind.extra}]'"
        )


def check_fits(request: ExportRequest, about: About, parameters: int) -> None:
    """
    Raises:
        UserError: the format or the layer can't hold this model, with the reason and what can.
    """
    has = {"": True, "projection_head": about.embedding_dim, "prototypes": about.prototypes, "fc": about.classes}
    if not has[LAYERS[request.layer]]:
        there = [layer for layer, part in LAYERS.items() if has[part]]
        lacks = "no classifier" if request.layer == "probabilities" else f"no {LAYERS[request.layer].replace('_', ' ')}"
        raise UserError(f"--layer {request.layer}: this model has {lacks}; it has {', '.join(there)}")
    if why := _unlike(request.format, about):
        others = [name for name in EXPORT_FORMATS if not _unlike(name, about)]
        raise UserError(f"--format {request.format} can't hold this model: {why}. These can: {', '.join(others)}")
    if request.format == "onnx" and parameters * (2 if request.half else 4) > LARGEST_ONNX:
        advice = "take torch-export" if request.half else "--half halves it, torch-export has no such limit"
        raise UserError(f"--format onnx: one file holds 2 GB at most, and this model has more; {advice}")


def _unlike(library: str, about: About) -> str:
    """Why the library has no such network; nothing where it has, or where the format holds any."""
    if library in ("mmpretrain", "official") and about.backbone not in ARCHITECTURES:
        return f"{library} holds ResNets, and this is {about.backbone}"
    without = library == "mmpretrain" and about.classes  # a classifier of mmpretrain has no prototypes
    if library in ("mmpretrain", "official") and about.prototypes_bias and not without:
        return f"its prototypes have a bias, and those of {library} have none"
    if library == "mmpretrain" and about.stem == "small_pad2":
        return "its stem pads by 2, as solo-learn's does, and mmpretrain has no such ResNet"
    networks = {"torchvision": TORCHVISION, "timm": TORCHVISION, "official": PUBLISHED}.get(library, ())
    if not networks or (library == "timm" and about.backbone.startswith(TIMM)):
        return ""
    whose = "the published code" if library == "official" else library
    if about.backbone not in networks:
        return f"{whose} has no {about.backbone}" + (f", but {', '.join(networks)}" if library == "official" else "")
    if about.stem != "imagenet":
        return f"its stem is 3x3 for small pictures, and {whose}'s {about.backbone} begins with 7x7"
    if about.width != 64:
        return f"its stem is {about.width} channels wide, and that of {whose}'s {about.backbone} 64"
    if library != "timm" and about.channels != 3:
        return f"its pictures have {about.channels} channels, and {whose}'s {about.backbone} takes 3"
    return ""


def describe(about: About, request: ExportRequest) -> dict[str, Any]:
    """What stands in the metadata of every export; `swav` is the whole description, for a reader of ours."""
    described: dict[str, Any] = {
        "mean": list(about.mean),
        "std": list(about.std),
        "size": about.size,
        "channels": about.channels,
        "classes": list(about.classes),
        "source": about.source,
        "licence": about.licence,
    }
    if request.kind.is_graph:
        described["layer"] = request.layer
        described["input"] = "uint8, 0 to 255" if request.preprocess else "float32, (value / 255 - mean) / std"
        described["batch"] = request.static or "any"
    return {**described, "swav": json.loads(about.to_json())}
