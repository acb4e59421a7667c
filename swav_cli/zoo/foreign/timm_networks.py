"""Networks of timm other than the ResNets that are ours: built by timm where a file names the architecture."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from swav_cli.core.timm_backbone import TIMM, import_timm, make_timm_backbone
from swav_cli.core.weights import first_misfit
from swav_cli.errors import Notice, UserError, first_line, nearest, silent
from swav_cli.recipe.architectures import ARCHITECTURES
from swav_cli.zoo.foreign.wrappers import held_in

SAME = {"global_pool", "num_classes", "in_chans"}  # arguments that make no other network, or are looked at here
BUILT = SAME | {"dynamic_img_size", "img_size", "pretrained"}  # or that shapes of tensors would tell


def timm_name(content: Any, config: Mapping[str, Any]) -> str:
    """The architecture that a folder or a training checkpoint of timm names where it is none of ours; else empty.

    Raises:
        UserError: one that was built with arguments of its own, which a description of ours has no room for.
    """
    said = config.get("architecture")
    arch = content.get("arch") if isinstance(content, Mapping) and not config else None
    name = said if isinstance(said, str) else arch if isinstance(arch, str) else ""
    name = name.rpartition("/")[2].partition(".")[0]
    own = _is_ours(name)
    arguments = config.get("model_args")
    known = SAME if own else BUILT
    strange = sorted(set(arguments) - known) if isinstance(arguments, dict) else []
    if strange:
        raise UserError(f"{name} of timm with {', '.join(strange)} (model_args in config.json): swav can't build it so")
    return "" if own or (not config and not _known_to_timm(name)) else name


def fetched_by_timm(name: str, notice: Notice = silent) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a network that timm publishes, and what `config.json` says beside them on the Hugging Face hub.

    timm takes them from the hub's folder on this machine (`HF_HOME`), where they lie since they were first asked for.

    Args:
        name: such as `resnet50` or, for one of several sets of weights, `resnet50.a1_in1k`.

    Raises:
        UserError: timm is not here, has no such network or no weights of it, or they can't be had.
    """
    timm = import_timm(name)
    bare, _, tag = name.partition(".")
    if not timm.is_model(bare):
        raise UserError(f"{TIMM}{name}: timm has no network of that name.{nearest(bare, timm.list_models())}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained([f"{bare}.*", bare])]
    if not tags or (tag and tag not in tags):
        there = (
            f"has weights {', '.join(f'{bare}.{known}' for known in tags)}" if tags else "publishes no weights of it"
        )
        raise UserError(f"{TIMM}{name}: timm {there}")
    notice(f"{TIMM}{name}: weights by timm, fetched where they are not here yet")
    try:
        model = timm.create_model(name, pretrained=True)
    except Exception as error:  # of the hub, of its connections or of the disk, each with classes of its own
        raise UserError(f"{TIMM}{name}: its weights can't be had ({first_line(error)})") from None
    fed = json.loads(json.dumps(dict(model.pretrained_cfg), default=str))
    return model.state_dict(), {"architecture": bare, "pretrained_cfg": fed}


def timm_tensors(content: Any, name: str, config: Mapping[str, Any], where: str) -> tuple[dict[str, Tensor], list[str]]:
    """Its tensors by our names, `backbone.…` and `fc.…`, all of the backbone there; and what was chosen, in words.

    Raises:
        UserError: timm is not here or has no such network, or not all of it is in the file.
    """
    tensors, notes = held_in(content)
    backbone, dimension = make_timm_backbone(name, channels_of(config))
    _check_pooling(backbone, config, where)
    own = backbone.state_dict()
    facts: Any = getattr(backbone, "pretrained_cfg", {})
    classifier = dict(facts).get("classifier")
    found = {}
    if isinstance(classifier, str):
        found = {f"fc.{key[len(classifier) + 1 :]}": tensor for key, tensor in tensors.items() if _of(key, classifier)}
        tensors = {key: tensor for key, tensor in tensors.items() if not _of(key, classifier)}
    wrong, first = first_misfit(own, tensors)
    if wrong:
        raise UserError(
            f"{where}: {len(own) - wrong} of {len(own)} tensors of timm's {name} are there; first that is not: {first}"
        )
    aside = [key for key in tensors if key not in own]
    if aside:
        notes.append(f"left aside {len(aside)} other tensors ({aside[0]}, …)")
    if "fc.weight" in found:
        found["fc.weight"] = found["fc.weight"].flatten(1)  # some have a 1x1 convolution in its place
        if found["fc.weight"].shape[1] != dimension:
            raise UserError(f"{where}: its classifier takes {found['fc.weight'].shape[1]} features of {dimension}")
    return {**{f"backbone.{key}": tensors[key] for key in own}, **found}, notes


def channels_of(config: Mapping[str, Any]) -> int:
    arguments = config.get("model_args")
    said = arguments.get("in_chans") if isinstance(arguments, dict) else None
    return said if isinstance(said, int) and 0 < said < 1024 else 3


def _is_ours(name: str) -> bool:
    """A ResNet by a name of timm's, old names of ported weights too."""
    bare = re.sub(r"^(tv|gluon|ssl|swsl)_|_v1b$", "", name)
    return bare in ARCHITECTURES or not name


def _known_to_timm(name: str) -> bool:
    try:
        return bool(import_timm(name).is_model(name))
    except UserError:
        return False


def _of(key: str, classifier: str) -> bool:
    return key in (f"{classifier}.weight", f"{classifier}.bias")


def _check_pooling(backbone: Any, config: Mapping[str, Any], where: str) -> None:
    said = config.get("global_pool")
    pooling = getattr(backbone, "global_pool", None)
    usual = pooling if isinstance(pooling, str) else getattr(pooling, "pool_type", None)
    if isinstance(said, str) and isinstance(usual, str) and said and said != usual:
        raise UserError(f"{where}: its features are pooled by '{said}', and swav builds it with '{usual}'")
