"""Any model by whatever names it: a run, a file of ours or of others, a URL, or a name of the zoo."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from swav_cli.core.device import pick_device
from swav_cli.core.model import SwAV
from swav_cli.core.timm_backbone import TIMM
from swav_cli.core.weights import About, Model, about, not_finite, read_model, rebuilt, take_weights
from swav_cli.data.paths import expanded
from swav_cli.errors import Notice, UserError, nearest, silent
from swav_cli.recipe.file import parse_recipe, read_yaml
from swav_cli.run.checkpoint import CHECKPOINT_FORMAT
from swav_cli.run.folder import RunFolder
from swav_cli.run.newest import newest_run
from swav_cli.zoo import catalogue
from swav_cli.zoo.catalogue import Entry
from swav_cli.zoo.download import fetch, is_url, kept_as, models_folder
from swav_cli.zoo.foreign.assemble import Foreign, read_network
from swav_cli.zoo.foreign.file_kinds import WEIGHTS, kind_of_file, kind_of_folder
from swav_cli.zoo.foreign.linear import joined, linear_alone
from swav_cli.zoo.foreign.pickles import read_foreign
from swav_cli.zoo.foreign.said import class_names, files_beside, imagenet_classes
from swav_cli.zoo.foreign.timm_networks import fetched_by_timm


class Loaded(NamedTuple):
    """A model, with what is known of its file."""

    model: Model
    layout: str  # whose file it is
    loaded: str  # what of it, in words; empty for our own whole files


def load_model(
    source: str | Path | None = None,
    device: str = "cpu",
    linear: str | Path | None = None,
    *,
    notice: Notice = silent,
) -> Model:
    """A model by whatever names it.

    >>> model = load_model("runs/quickstart")
    >>> pictures = torch.rand(2, 3, model.about.size, model.about.size)    # normalised by the mean and std of `about`
    >>> model.features(pictures).shape
    torch.Size([2, 128])
    >>> model = load_model("swav-800e", linear="checkpoint.pth.tar")    # doctest: +SKIP

    Args:
        source: a run's folder, a checkpoint or `model.safetensors` of ours, a checkpoint of another tool, a URL, or a
            published model's name (see: swav models), or `timm:NAME`, whose weights timm publishes; nothing: the newest
            run below `runs/`, else the published ImageNet classifier.
        linear: a file of a linear classifier alone, as the published eval_linear.py saves it, to join to the network.
        notice: told which model was taken where none was named, and what of a foreign file.

    Raises:
        UserError: no such model, or not a whole one; or a linear layer of another width.
    """
    model = load(source, notice, linear).model
    model.network.to(pick_device(device))
    return model


def load(source: str | Path | None = None, notice: Notice = silent, linear: str | Path | None = None) -> Loaded:
    """`load_model`, with the layout of the file and what was found in it."""
    if linear is not None and not os.path.isfile(expanded(linear)):  # told before a model is fetched
        raise UserError(f"--linear {linear}: no such file")
    found = _found(source, notice)
    if linear is not None:
        model, words = joined(found.model, expanded(linear))
        notice(words)
        found = found._replace(model=model)
    model = Model(found.model.network, found.model.about, str(source or ""))
    if words := not_finite(model.network):
        notice(f"{model.name}: {words}")
    return found._replace(model=model)


def _found(source: str | Path | None, notice: Notice) -> Loaded:
    if source is None:
        return _usual(notice)
    if is_timms(source):
        return _by_timm(str(source), notice)
    entry = _published(source)
    return load_published(entry, notice) if entry else _load_path(local_file(source, notice), str(source), notice)


def is_timms(source: str | Path) -> bool:
    """Whether a network that timm publishes is meant."""
    return str(source).startswith(TIMM) and not os.path.exists(expanded(source))


def _by_timm(source: str, notice: Notice) -> Loaded:
    """A network that timm publishes, frozen as it is: a backbone with its classifier, where it has one."""
    tensors, config = fetched_by_timm(source.removeprefix(TIMM), notice)
    foreign = read_network(tensors, source, {"config.json": config})
    licence = config["pretrained_cfg"].get("license")
    foreign = foreign._replace(about=replace(foreign.about, licence=licence if isinstance(licence, str) else ""))
    return _described(foreign, None, source, notice)


def check_known(source: str | Path) -> None:
    """
    Raises:
        UserError: no model has this name; told before anything is fetched or read.
    """
    if is_timms(source):
        return
    if not os.path.exists(expanded(source)) and not is_url(str(source)) and catalogue.entry_named(str(source)) is None:
        raise UserError(f"{source}: {_unknown(str(source))}")


def local_file(source: str | Path, notice: Notice = silent) -> Path:
    """The file of weights that a model's name means, fetched where it has to be.

    Raises:
        UserError: there is none.
    """
    entry = _published(source)
    if entry is not None:
        return published_file(entry, notice)
    path = expanded(source)
    there = os.path.exists(path)  # unlike the path's own method, of a name of any length
    if not there and is_url(str(source)):
        return _fetched(str(source), notice)
    if os.path.isdir(path):
        if other := kind_of_folder(path):
            raise UserError(f"{path}: {other}")
        return _file_of_run(RunFolder(path), notice)
    check_known(source)
    return path


def _fetched(url: str, notice: Notice) -> Path:
    """The file of an address that somebody typed; a page in its place is not kept."""
    kept = kept_as(url)
    path = fetch(url, kept, notice=notice)
    if path == kept and (other := kind_of_file(path)):
        path.unlink()
        raise UserError(f"{url}: {other}")
    return path


def _published(source: str | Path) -> Entry | None:
    return None if os.path.exists(expanded(source)) else catalogue.entry_named(str(source))


def _usual(notice: Notice) -> Loaded:
    """What is taken where nothing is named."""
    run = newest_run(notice)
    if run is not None:
        return _found(run, notice)
    notice(f"model: {catalogue.DEFAULT}")
    try:
        return load_published(catalogue.find(catalogue.DEFAULT), notice)
    except UserError as error:
        raise UserError(f"{error}. Or train a model of your own: swav pretrain quickstart") from None


def load_published(entry: Entry, notice: Notice = silent) -> Loaded:
    """A network of the zoo, fetched where it is not here yet."""
    path = published_file(entry, notice)
    return _described(_read_foreign_network(path, entry, notice), entry, entry.name, notice)


def published_file(entry: Entry, notice: Notice = silent) -> Path:
    """The file of a published model on this machine."""
    return fetch(entry.url, models_folder() / entry.file, entry.sha256, notice)


def start_from(model: SwAV, source: str | Path, notice: Notice = silent) -> str:
    """Put the weights of any model into a network that is to be trained further; see `take_weights`."""
    return take_weights(model, load(source, notice).model.network.state_dict(), source)


def _load_path(path: Path, source: str, notice: Notice) -> Loaded:
    if _is_ours(path):
        return Loaded(read_model(path), "swav model", "")
    content = None if path.suffix == ".safetensors" else _with_description(path, read_foreign(path))
    if isinstance(content, dict) and content.get("format") == CHECKPOINT_FORMAT:
        return _from_checkpoint(path, content)
    entry = catalogue.entry_named(path.name)
    return _described(_read_foreign_network(path, entry, notice, content), entry, source, notice)


def _with_description(path: Path, content: Any) -> Any:
    """Content with the description that our exports of bare tensors keep beside them."""
    beside = path.with_suffix(".json")
    if (
        not beside.is_file()
        or not isinstance(content, dict)
        or not all(isinstance(v, Tensor) for v in content.values())
    ):
        return content
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return content
    described = said.get("swav") if isinstance(said, dict) else None
    return {"state_dict": content, "swav": described} if described else content


def _file_of_run(folder: RunFolder, notice: Notice) -> Path:
    if folder.model.exists():
        return folder.model
    for path in (folder.last, folder.previous):
        if path.exists():
            notice(f"{folder.path}: has not come to its end; its last checkpoint is taken, {path}")
            return path
    return _only_weights(folder.path, notice)


def _only_weights(folder: Path, notice: Notice) -> Path:
    """The file of weights of a folder that is no run's: by the hub's name, or the only one.

    Raises:
        UserError: there is none, or there are several.
    """
    if (hub := folder / "pytorch_model.bin").is_file():
        return hub
    found = sorted(path for path in folder.iterdir() if path.suffix in WEIGHTS and path.is_file())
    if len(found) == 1:
        notice(f"{folder}: its only file of weights is taken, {found[0].name}")
        return found[0]
    if found:
        raise UserError(f"{folder}: holds {len(found)} files of weights; name one of them, such as {found[0]}")
    raise UserError(f"{folder}: holds no model and no checkpoint; a run writes them as it goes")


def _unknown(source: str) -> str:
    """Why a word names no model, with what may have been meant."""
    path = Path(source)
    if path.suffix or path.parent != Path("."):
        there = [str(other) for other in path.parent.glob("*")] if os.path.isdir(path.parent) else []
        return f"no such file or folder.{nearest(source, there)}"
    here = [str(run) for run in Path("runs").glob("*")] + [other.name for other in Path(".").glob("*")]
    close = nearest(source, [*catalogue.all_names(), *here, *(Path(run).name for run in here)])
    return f"no such run, file or published model.{close} Published ones: swav models"


def _is_ours(path: Path) -> bool:
    if path.suffix != ".safetensors":
        return False
    if other := kind_of_file(path):
        raise UserError(f"{path}: {other}")
    try:
        with safe_open(path, framework="pt") as file:
            return "swav" in (file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: can't be read as safetensors ({error})") from None


def _from_checkpoint(path: Path, state: dict[str, Any]) -> Loaded:
    """A run's state: the network in it, described by itself where it is a classifier's, else by the recipe beside."""
    tensors = state.get("model")
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UserError(f"{path}: a checkpoint of a run, but without its model")
    if "about" in state:
        try:
            described = About.from_json(state["about"])
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}: a checkpoint of a run whose description is none ({error})") from None
        return Loaded(rebuilt(path, described, tensors), "swav checkpoint", "")
    recipe = RunFolder(path.parent.parent).recipe
    if not recipe.exists():
        raise UserError(f"{path}: a checkpoint of a run, which needs the recipe.yaml of its run; not found at {recipe}")
    described = about(parse_recipe(read_yaml(recipe), str(recipe)))
    return Loaded(rebuilt(path, described, tensors), "swav checkpoint", "")


def _read_foreign_network(path: Path, entry: Entry | None, notice: Notice, content: Any = None) -> Foreign:
    """The network of a foreign file; a linear layer alone is joined to the backbone that the catalogue names."""
    content = read_foreign(path) if content is None else content
    linear = linear_alone(content)
    if linear is None or entry is None or not entry.backbone:
        return read_network(content, str(path), files_beside(path))
    below = catalogue.find(entry.backbone)
    beside = path.with_name(below.file)
    network = beside if beside.exists() else published_file(below, notice)
    foreign = read_network(read_foreign(network), str(network), files_beside(network))
    with torch.device("meta"):
        width = foreign.about.build().feature_dim
    if linear.weight.shape[1] != width:
        raise UserError(f"{path}: takes {linear.weight.shape[1]:,} features, and {network} gives {width:,}")
    return foreign._replace(
        about=replace(foreign.about, classes=class_names((), len(linear.bias))),
        tensors={**foreign.tensors, "fc.weight": linear.weight, "fc.bias": linear.bias},
        loaded=f"{foreign.loaded}, classifier of {len(linear.bias):,} classes from {path.name}",
    )


def _described(foreign: Foreign, entry: Entry | None, source: str, notice: Notice) -> Loaded:
    """The network, with source and licence of the catalogue where it is published."""
    if entry is None:
        described = replace(foreign.about, source=Path(source).name)
        notice(f"{source}: {foreign.loaded}; {foreign.assumed}")
    else:
        classes = imagenet_classes() if entry.classes == len(foreign.about.classes) == 1000 else foreign.about.classes
        described = replace(foreign.about, source=entry.name, licence=entry.licence, classes=classes)
        notice(f"{source}: {foreign.loaded}")
        if not entry.free:
            notice(f"{source}: licence {entry.licence}: for non-commercial use alone; {entry.source}")
    model = Model(foreign._replace(about=described).build(), described)
    return Loaded(model, foreign.layout, foreign.loaded)
