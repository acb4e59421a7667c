"""Checkpoints as other tools lay them out: which tool's it is, and its tensors by the names of the published code.

Those names are ours too. What the network is and whether all of it is there is settled in `assemble`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from swav_cli.errors import UserError
from swav_cli.zoo.foreign.roots import backbone_below, numbered
from swav_cli.zoo.foreign.wrappers import held_in, matches_any

Renames = tuple[tuple[str, str], ...]


class Layout(NamedTuple):
    """How a tool names its tensors."""

    name: str
    mark: str  # pattern of a key: the first layout that has one is the file's
    renames: Renames = ()  # pattern of a key's beginning, and ours in its place; none: the names are ours already
    again: str = "n_averaged$"  # pattern of keys that repeat what others hold, or count
    beside: str = ""  # pattern of another key that has to be there too


def _mm(name: str, prototypes: str) -> Layout:
    """The releases differ in where the prototypes lie. The head's normalisation is saved twice, once in the neck."""
    before = re.escape(prototypes)
    renames = (("backbone\\.", ""), ("neck\\.projection_neck\\.", "projection_head."), (before, "prototypes."))
    return Layout(name, before, renames, again="neck\\.(norm|bn)\\.|data_preprocessor\\.")


_HEADS = ("projection_head\\.", "projection_head."), ("prototypes\\.", "prototypes."), ("fc\\.", "fc.")
LAYOUTS = (
    Layout(
        "VISSL",
        r"(.*\.)?_feature_blocks\.",
        (
            (r"(.*\.)?_feature_blocks\.", ""),
            (r"(.*\.)?heads\.0\.projection_head\.", "projection_head."),
            (r"(.*\.)?heads\.0\.prototypes(?=\d)", "prototypes.prototypes"),
        ),
    ),
    _mm("mmpretrain 1.x", "head.loss_module.prototypes."),
    _mm("mmselfsup 1.x", "head.loss.prototypes."),
    _mm("mmselfsup 0.x", "head.prototypes."),
    Layout("mmpretrain classifier", r"head\.fc\.", ((r"backbone\.", ""), (r"head\.fc\.", "fc.")), beside=r"backbone\."),
    _mm("mmpretrain without prototypes", "neck.projection_neck."),
    Layout(
        "solo-learn",
        r"projector\.",
        (
            (r"(backbone|encoder)\.", ""),  # `encoder` in its first versions
            (r"projector\.", "projection_head."),
            (r"prototypes\.", "prototypes."),
            (r"classifier\.", "fc."),
        ),
    ),
    Layout(
        "lightly",
        r"projection_head\.layers\.|prototypes\.(heads|layers)\.",
        (
            (r"backbone\.", ""),
            (r"projection_head\.layers\.", "projection_head."),
            (r"prototypes\.heads\.(?=\d)", "prototypes.prototypes"),
            (r"prototypes\.(layers\.)?", "prototypes."),
        ),
    ),
    Layout("a backbone by that name", r"backbone\.", ((r"backbone\.", ""), *_HEADS)),
    Layout("DeepCluster-v2 or SeLa-v2", r"prototypes\.prototypes\d"),
    Layout("published swav", r"projection_head\.|prototypes\."),
    Layout("torchvision or timm", r"conv1\.weight$|layer1\."),
)


# transformers' ResNets: six patterns, and the published code's names in their place.
_TRANSFORMERS = (
    (r"^(resnet\.)?embedder\.embedder\.convolution\.", "conv1."),
    (r"^(resnet\.)?embedder\.embedder\.normalization\.", "bn1."),
    (r"^(resnet\.)?encoder\.stages\.(\d+)\.layers\.", lambda found: f"layer{int(found[2]) + 1}."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"\.layer\.(\d+)\.convolution\.", lambda found: f".conv{int(found[1]) + 1}."),
    (r"\.layer\.(\d+)\.normalization\.", lambda found: f".bn{int(found[1]) + 1}."),
    (r"^classifier\.1\.", "fc."),
)
TRANSFORMERS = "transformers"


class Named(NamedTuple):
    """A file's tensors by our names."""

    layout: str
    tensors: dict[str, Tensor]
    theirs: dict[str, str]  # our names to the file's
    aside: list[str]  # keys of the file that are no part of backbone, head, prototypes or classifier
    notes: list[str]  # of choices, in words


def by_our_names(content: Any, where: str) -> Named:
    """Recognise what a foreign file holds.

    Raises:
        UserError: no tensors, or in no known layout; with the first keys.
    """
    tensors, notes = held_in(content)
    if not tensors:
        raise UserError(f"{where}: holds no tensors by name")
    if matches_any(tensors, r"(resnet\.)?embedder\.embedder\.convolution\."):
        ours = {key: _of_transformers(key) for key in tensors}
        return _renamed(TRANSFORMERS, tensors, ours, notes)
    layout = next((layout for layout in LAYOUTS if _is_of(layout, tensors)), None)
    if layout is not None:
        kept = [key for key in tensors if not re.match(layout.again, key)]
        return numbered_names(
            _renamed(layout.name, tensors, {key: _our_name(key, layout.renames) for key in kept}, notes)
        )
    below = backbone_below(tensors, where)
    if below is None:
        raise UserError(
            f"{where}: in no layout that swav knows: no ResNet, and no architecture of timm is named in it or in a "
            f"config.json beside; its first keys: {', '.join(list(tensors)[:4])}"
        )
    return numbered_names(_renamed(below.layout, tensors, below.names, [*notes, *below.notes]))


def _is_of(layout: Layout, tensors: Mapping[str, Tensor]) -> bool:
    return matches_any(tensors, layout.mark) and matches_any(tensors, layout.beside)


def _renamed(layout: str, tensors: Mapping[str, Tensor], names: Mapping[str, str | None], notes: list[str]) -> Named:
    """Tensors by the names that each key has with us; None: it has none."""
    named = Named(layout, {}, {}, [], notes)
    for key, name in names.items():
        if name is None:
            named.aside.append(key)
        else:
            named.tensors[name], named.theirs[name] = tensors[key], key
    return named


def _of_transformers(key: str) -> str:
    for pattern, ours in _TRANSFORMERS:
        key = re.sub(pattern, ours, key)
    return key


def _our_name(key: str, renames: Renames) -> str | None:
    if not renames:
        # our own export for the published code names a classifier as its linear evaluation does
        return f"fc.{key.removeprefix('linear.')}" if key.startswith("linear.") else key
    for pattern, ours in renames:
        found = re.match(pattern, key)
        if found:
            return ours + key[found.end() :]
    return None


def numbered_names(named: Named) -> Named:
    """The names of layers where they are a numbered row."""
    words = numbered(named.tensors)
    if not words:
        return named

    def word(name: str) -> str:
        number, dot, rest = name.partition(".")
        return f"{words.get(number, number)}{dot}{rest}".replace(".shortcut.", ".downsample.")

    tensors = {word(name): tensor for name, tensor in named.tensors.items()}
    return named._replace(tensors=tensors, theirs={word(name): key for name, key in named.theirs.items()})


def description_in(content: Any) -> str:
    """The description, as JSON, that an export of ours for another tool carries; empty where there is none."""
    if not isinstance(content, Mapping):
        return ""
    meta = content.get("meta")
    found = content.get("swav") or (meta.get("swav") if isinstance(meta, Mapping) else None)
    return json.dumps(found) if isinstance(found, dict) else ""


def classes_in(content: Any) -> tuple[str, ...]:
    """Names of classes that mmpretrain writes beside the weights; empty where there are none."""
    meta = content.get("meta") if isinstance(content, Mapping) else None
    places = [meta.get("dataset_meta"), meta] if isinstance(meta, Mapping) else []
    for place in places:
        for key in ("classes", "CLASSES"):
            names = place.get(key) if isinstance(place, Mapping) else None
            if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
                return tuple(names)
    return ()
