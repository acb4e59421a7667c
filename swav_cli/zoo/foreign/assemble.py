"""From tensors by our names to a network: what it is follows from their shapes, and all of a part must be there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from swav_cli.core.model import SwAV
from swav_cli.core.timm_backbone import TIMM
from swav_cli.core.weights import About
from swav_cli.errors import UserError
from swav_cli.recipe.architectures import ARCHITECTURES, Architecture, Stem
from swav_cli.zoo.foreign.layouts import Named, by_our_names, classes_in, description_in
from swav_cli.zoo.foreign.linear import linear_alone
from swav_cli.zoo.foreign.said import class_names, fed, said_of
from swav_cli.zoo.foreign.timm_networks import channels_of, timm_name, timm_tensors

PARTS = {"projection head": "projection_head.", "prototypes": "prototypes.", "classifier": "fc."}
# The published code normalises by 0.228 where ImageNet's number is 0.229, in training and in evaluation.
PUBLISHED, PUBLISHED_STD = ("published swav", "DeepCluster-v2 or SeLa-v2"), (0.228, 0.224, 0.225)
COUNTER = "num_batches_tracked"
WEIGHT_NORM = (  # torch keeps length and direction apart, under these names before version 2.0 and since
    ("prototypes.weight_g", "prototypes.weight_v"),
    ("prototypes.parametrizations.weight.original0", "prototypes.parametrizations.weight.original1"),
)


class Foreign(NamedTuple):
    """A network read from a foreign file."""

    layout: str
    about: About
    tensors: dict[str, Tensor]
    loaded: str  # in words
    assumed: str  # what the file does not say, in words

    def build(self) -> SwAV:
        """The network with these weights, in eval mode."""
        if self.about.backbone.startswith(TIMM):  # some of timm's can't be built without memory
            model = self.about.build()
            model.load_state_dict(self.tensors)
            return model.eval()
        with torch.device("meta"):
            model = self.about.build()
        model.load_state_dict(self.tensors, assign=True)
        return model.eval()


def read_network(
    content: Any,
    where: str,
    beside: Mapping[str, Any] | None = None,
) -> Foreign:
    """The network in what a foreign file holds.

    Args:
        where: the file, for messages.
        beside: what the files beside it hold, by name; see `files_beside`.

    Raises:
        UserError: no known layout, or not all of a part is there; with the first keys that don't match.
    """
    if linear_alone(content) is not None:
        raise UserError(
            f"{where}: a linear layer alone; name it with --linear, and as the model the backbone it was trained on"
        )
    beside = beside or {}
    config = beside.get("config.json", {})
    _check_config(config, where)
    timm = timm_name(content, config)
    if timm:
        tensors, notes = timm_tensors(content, timm, config, where)
        named = Named("timm", tensors, {}, [], notes)
    else:
        named = by_our_names(content, where)
    said = said_of(content, beside, named.layout)
    names = said.classes or classes_in(content)
    tensors = named.tensors
    _settle_head(tensors)
    notes = [*named.notes, *_settle_prototypes(tensors), *_settle_classifier(tensors, names)]
    about = About(TIMM + timm, channels=channels_of(config)) if timm else _describe(named, where)
    if "fc.weight" in tensors:
        tensors.setdefault("fc.bias", torch.zeros(tensors["fc.weight"].shape[0]))
        about = replace(about, classes=class_names(names, tensors["fc.weight"].shape[0]))
    if named.aside:
        notes.append(f"left aside {len(named.aside)} other tensors ({_first(named.aside)})")
    counts, complete = _counted_as_timms(about, tensors) if timm else _complete(about, named, where)
    about, assumed = fed(about, description_in(content) or description_in(config), said)
    return Foreign(named.layout, about, complete, f"{named.layout}: {', '.join([*counts, *notes])}", assumed)


def _check_config(config: Mapping[str, Any], where: str) -> None:
    """transformers has other networks too, and builds ResNets of other strides under the same names.

    Raises:
        UserError: the configuration is of one of those.
    """
    kind = config.get("model_type")
    if isinstance(kind, str) and kind not in ("resnet", "timm_wrapper") and "architecture" not in config:
        raise UserError(
            f"{where}: a network of transformers ({kind} in config.json), of which swav reads ResNets alone"
        )
    if kind != "resnet":
        return
    usual = {"downsample_in_bottleneck": False, "downsample_in_first_stage": False, "hidden_act": "relu"}
    for key, value in usual.items():
        if config.get(key, value) != value:
            raise UserError(f"{where}: a ResNet with {key} {config[key]} (config.json), which swav does not build")


# --- what the network is ---------------------------------------------------------------------------------------------


def _describe(named: Named, where: str) -> About:
    shapes = {name: tuple(tensor.shape) for name, tensor in named.tensors.items()}
    stem = shapes.get("conv1.weight", ())
    counts = tuple(_blocks(shapes, stage) for stage in range(1, 5))
    if len(stem) != 4 or "layer1.0.conv1.weight" not in shapes or not all(counts):
        raise UserError(
            f"{where}: {named.layout}: no ResNet; its first keys: {_first([*named.aside, *named.theirs.values()])}"
        )
    if stem[2:] not in ((7, 7), (3, 3)):
        raise UserError(f"{where}: {named.layout}: a stem of kernel {stem[2:]}; 7x7 and 3x3 are known")
    architecture, width = _architecture(shapes, counts, where)
    small: Stem = "imagenet"
    if stem[2] == 3:
        small = "small_pad2" if named.layout == "solo-learn" else "small"
    channels = stem[1]
    last = shapes.get("projection_head.3.weight", shapes.get("projection_head.weight", (0,)))
    if last == (0,) and any(name.startswith("projection_head.") for name in shapes):
        raise UserError(f"{where}: {named.layout}: a part of a projection head; projection_head.3.weight is missing")
    described = About(
        backbone=architecture,
        width=width,
        stem=small,
        channels=channels,
        hidden_dim=shapes["projection_head.0.weight"][0] if "projection_head.0.weight" in shapes else 0,
        embedding_dim=last[0],
        prototypes=shapes["prototypes.weight"][0] if "prototypes.weight" in shapes else 0,
        prototypes_bias="prototypes.bias" in shapes,
        size=224 if small == "imagenet" else 32,
    )
    if channels == 3:
        return replace(described, std=PUBLISHED_STD) if named.layout in PUBLISHED else described
    return replace(described, mean=(0.449,) * channels, std=(0.226,) * channels)  # ImageNet's, over its colours


def _blocks(shapes: Mapping[str, Any], stage: int) -> int:
    found = {match[1] for name in shapes if (match := re.match(rf"layer{stage}\.(\d+)\.", name))}
    return len(found)


def _architecture(shapes: Mapping[str, tuple[int, ...]], counts: tuple[int, ...], where: str) -> tuple[str, int]:
    """Name and width; a doubled ResNet-50 is resnet50w2 and no resnet50 of width 128, as it is published."""
    block = "bottleneck" if "layer1.0.conv3.weight" in shapes else "basic"
    planes = shapes["conv1.weight"][0]
    inner = shapes["layer1.0.conv1.weight"][0] * 64 // planes if block == "bottleneck" else 64

    def fits(known: Architecture) -> bool:
        return known.block == block and known.layers == counts and known.bottleneck_width == inner

    fitting = {name: known.widen for name, known in ARCHITECTURES.items() if fits(known)}
    if not fitting:
        raise UserError(f"{where}: a ResNet of {counts} {block} blocks, which is none of {', '.join(ARCHITECTURES)}")
    published = [name for name, widen in fitting.items() if planes == 64 * widen]
    name = published[0] if published else min(fitting, key=lambda name: fitting[name])
    return name, planes // fitting[name]


def _settle_head(tensors: dict[str, Tensor]) -> None:
    """lightly leaves out the bias before a normalisation, where it has no effect: zeros are the same."""
    first = tensors.get("projection_head.0.weight")
    if first is not None and "projection_head.1.running_mean" in tensors:
        tensors.setdefault("projection_head.0.bias", torch.zeros(first.shape[0]))


def _settle_prototypes(tensors: dict[str, Tensor]) -> list[str]:
    """One matrix from any way to keep them; or none, and the reason in words."""
    found = {name: tensors.pop(name) for name in list(tensors) if name.startswith("prototypes.")}
    for length, direction in WEIGHT_NORM:
        if length in found and direction in found:
            found["prototypes.weight"] = F.normalize(found.pop(direction), dim=1) * found.pop(length)
    heads = [name for name in found if re.fullmatch(r"prototypes\.prototypes\d+\.weight", name)]
    notes = []
    if heads:
        number = min(heads, key=lambda name: int(re.sub(r"\D", "", name))).removesuffix("weight")
        found = {
            name.replace(number, "prototypes."): tensor for name, tensor in found.items() if name.startswith(number)
        }
    if len(heads) > 1:
        notes.append(
            f"the first of {len(heads)} sets of prototypes taken: they are {len(heads)} clusterings, and swav has one"
        )
    bias = found.pop("prototypes.bias", None)
    if bias is not None and bool(bias.any()):
        found["prototypes.bias"] = bias
    if found and not any(name.startswith("projection_head.") for name in tensors):
        return ["prototypes left aside: the projection head that they belong to is not there"]
    tensors.update(found)
    return notes


def _settle_classifier(tensors: dict[str, Tensor], names: tuple[str, ...]) -> list[str]:
    """One that was never trained would answer all the same: it is left aside, unless the file names its classes."""
    weight, bias = tensors.get("fc.weight"), tensors.get("fc.bias")
    if weight is None or weight.is_meta or weight.dim() != 2:
        return []
    if not weight.any() and (bias is None or not bias.any()):
        why = "it is all zeros"
    elif is_untouched(weight) and (bias is None or float(bias.abs().max()) <= _bound(weight)):
        why = "it was never trained, its numbers are those that torch draws at first"
    else:
        return []
    if len(names) == weight.shape[0]:
        return [f"its classifier has its classes' names, but {why}"]
    for name in ("fc.weight", "fc.bias"):
        tensors.pop(name, None)
    return [f"classifier of {weight.shape[0]} classes left aside: {why}"]


def _bound(weight: Tensor) -> float:
    """Within which `nn.Linear` draws its first numbers, as the file's own precision rounds it."""
    exact: float = weight.shape[1] ** -0.5
    return exact * (1 + 2 * torch.finfo(weight.dtype).eps)


def is_untouched(weight: Tensor) -> bool:
    """Whether a linear layer's weight (out, in) is as torch draws it: even between -1 / sqrt(in) and 1 / sqrt(in).

    All numbers lie within, the largest comes next to the bound, and the mean of their sizes and of their squares is
    that of an even distribution, within five standard errors. One step of training moves some of many thousand
    numbers beyond the bound. Of a few hundred numbers nothing can be told.
    """
    count, sizes = weight.numel(), weight.float().abs() * weight.shape[1] ** 0.5  # even between 0 and 1
    if count < 500 or float(weight.abs().max()) > _bound(weight):
        return False
    error = count**-0.5
    return bool(
        sizes.max() > 1 - 20 / count - torch.finfo(weight.dtype).eps
        and abs(2 * sizes.mean() - 1) < 5 * 0.58 * error
        and abs(3 * sizes.square().mean() - 1) < 5 * 0.9 * error
    )


# --- whether all of it is there ---------------------------------------------------------------------------------------


def _complete(about: About, named: Named, where: str) -> tuple[list[str], dict[str, Tensor]]:
    """What was found of each part, in words, and all the tensors of the network."""
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in about.build().state_dict().items()}
    tensors = named.tensors
    uncounted = not any(name.endswith(COUNTER) for name in tensors)  # torch kept no counters before version 0.4.1
    needed = {name: shape for name, shape in wanted.items() if not (uncounted and name.endswith(COUNTER))}
    words = []
    for part, before in {"backbone": "", **PARTS}.items():
        mine = [name for name in needed if _part(name) == before]
        theirs = [name for name in tensors if _part(name) == before]
        wrong = [name for name in mine if name not in tensors or tuple(tensors[name].shape) != needed[name]]
        unknown = [name for name in theirs if name not in wanted]
        if wrong or unknown:
            problems = [_problem(name, needed[name], named) for name in wrong[:3]]
            problems += [f"{named.theirs.get(name, name)} has no place" for name in unknown[:3]]
            count = f"{len(mine) - len(wrong)} of {len(mine)} tensors of the {part}"
            raise UserError(f"{where}: {named.layout}: {count} match; {'; '.join(problems)}")
        if mine:
            words.append(_matched(part, len(mine), tuple(wanted.get("prototypes.weight", ())), len(about.classes)))
    complete = {name: _value(tensors.get(name)) for name in wanted}
    return words, complete


def _counted_as_timms(about: About, tensors: dict[str, Tensor]) -> tuple[list[str], dict[str, Tensor]]:
    count = sum(name.startswith("backbone.") for name in tensors)
    words = [f"{count} of {count} tensors of {about.backbone.removeprefix(TIMM)}"]
    if about.classes:
        words.append(f"classifier of {len(about.classes)} classes")
    return words, {name: _value(tensor) for name, tensor in tensors.items()}


def _part(name: str) -> str:
    return next((before for before in PARTS.values() if name.startswith(before)), "")


def _problem(name: str, shape: tuple[int, ...], named: Named) -> str:
    if name not in named.tensors:
        return f"{name} is missing"
    return f"{named.theirs.get(name, name)} is {tuple(named.tensors[name].shape)} and should be {shape}"


def _matched(part: str, count: int, prototypes: tuple[int, ...], classes: int) -> str:
    if part == "backbone":
        return f"{count} of {count} backbone tensors"
    if part == "prototypes":
        return f"prototypes {prototypes[0]} x {prototypes[1]}{' with a bias' if count > 1 else ''}"
    return f"{part} {count} of {count}" if part != "classifier" else f"classifier of {classes} classes"


def _value(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        return torch.tensor(0)  # a counter of batches
    return tensor.detach().float().contiguous() if tensor.is_floating_point() else tensor.detach()


def _first(keys: Any, count: int = 3) -> str:
    keys = list(keys)
    return ", ".join(keys[:count]) + (", …" if len(keys) > count else "")
