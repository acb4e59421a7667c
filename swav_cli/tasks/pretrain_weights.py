"""From which weights a run starts, and what follows from them: its network, and how pictures are fed to it."""

from __future__ import annotations

import statistics
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from swav_cli.core.weights import About
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.errors import Notice, UserError, counted
from swav_cli.planning.derive import Derived, value_of, with_values
from swav_cli.planning.smaller import is_held
from swav_cli.recipe.file import read_yaml
from swav_cli.recipe.schema import Recipe
from swav_cli.zoo.catalogue import Entry, entry_named
from swav_cli.zoo.here import is_here, published_here
from swav_cli.zoo.load import Loaded, check_known, load

AUTO, NO_WEIGHTS = "auto", "none"
LOOKED_AT = 20  # pictures whose sizes tell whether published weights fit
LEAST_SIDE = 64  # pixels of the shorter side that most of them have to have
KEY = "model.init_from"
NETWORK = ("model.backbone", "model.width", "model.stem")
HEAD = ("model.hidden_dim", "model.embedding_dim")
FED = ("data.mean", "data.std")


class Start(NamedTuple):
    """Weights that a run starts from."""

    recipe: Recipe  # with their network
    derived: list[Derived]
    loaded: Loaded | None  # None: it starts from none, or they are not here yet


def wanted_weights(recipe: Recipe, init_from: str | Path | None) -> Recipe:
    """The recipe with what `--init-from` says; `none` takes none, whatever the recipe says."""
    if init_from is None:
        return recipe
    return with_values(recipe, {KEY: None if str(init_from) == NO_WEIGHTS else str(init_from)})


def started(recipe: Recipe, pictures: Pictures, held: Collection[str], fetches: bool, notice: Notice) -> Start:
    """The weights that a recipe names, or published ones that are here and fit; the recipe follows their network.

    Args:
        held: keys of values that stay.
        fetches: weights that are published and not here are fetched, and else described as the catalogue does.

    Raises:
        UserError: no such weights, or they take other pictures.
    """
    source = recipe.model.init_from
    if source is None:
        return Start(recipe, [], None)
    if source == AUTO:
        return _usual(recipe, pictures, held, notice)
    check_known(source)
    entry = entry_named(source)
    if not fetches and entry is not None and not Path(source).exists() and not is_here(entry):
        return _with_network(recipe, _described(entry), held, None)
    loaded = load(source, notice)
    return _with_network(recipe, loaded.model.about, held, loaded)


def _usual(recipe: Recipe, pictures: Pictures, held: Collection[str], notice: Notice) -> Start:
    """Published weights where they are here and fit, with how to say no; else none."""
    none = Start(with_values(recipe, {KEY: None}), [], None)
    here = published_here()
    if not here or any(is_held(key, held) for key in NETWORK):
        return none
    name = here[0].name
    if why := _why_unfit(recipe, pictures):
        notice(f"starts from scratch: {name} is on this machine, but {why}; --init-from {name} takes it all the same")
        return none
    try:
        loaded = load(name, notice)
    except UserError as error:
        notice(f"starts from scratch: {error}")
        return none
    found = _with_network(with_values(recipe, {KEY: name}), loaded.model.about, held, loaded)
    why = "published weights that are on this machine, and the pictures fit them; --init-from none: from scratch"
    return found._replace(derived=[Derived(KEY, name, why), *found.derived])


def _why_unfit(recipe: Recipe, pictures: Pictures) -> str:
    """In words; empty where they fit."""
    if recipe.data.channels != 3:
        return f"takes colour, and pictures have {counted(recipe.data.channels, 'channel')}"
    sides = []
    for index in np.linspace(0, len(pictures) - 1, min(LOOKED_AT, len(pictures)), dtype=int):
        with suppress(BadPicture):
            sides.append(min(pictures.read(int(index)).shape[1:]))
    if not sides or statistics.median(sides) < LEAST_SIDE:
        return f"was made for pictures larger than these, of {statistics.median(sides or [0]):.0f} pixels"
    return ""


def _described(entry: Entry) -> About:
    """A published network that is not here, as far as the catalogue knows it."""
    hidden, prototypes = entry.hidden_dim or 0, entry.prototypes or 0
    return About(entry.architecture, hidden_dim=hidden, embedding_dim=128 if prototypes else 0, prototypes=prototypes)


def _with_network(recipe: Recipe, about: About, held: Collection[str], loaded: Loaded | None) -> Start:
    """The recipe with the network of the weights, and fed as they were; what is held stays.

    Raises:
        UserError: they take pictures of another number of channels.
    """
    source = recipe.model.init_from
    if about.channels != recipe.data.channels:
        raise UserError(
            f"--init-from {source}: takes pictures of {counted(about.channels, 'channel')}, and data.channels is "
            f"{recipe.data.channels}; add --set data.channels={about.channels}, or name other weights"
        )
    values: dict[str, Any] = {key: getattr(about, key.partition(".")[2]) for key in NETWORK}
    if about.embedding_dim:
        values |= {key: getattr(about, key.partition(".")[2]) for key in HEAD}
    for key in FED:
        if value_of(recipe, key) == "auto":
            values[key] = [round(value, 6) for value in getattr(about, key.partition(".")[2])]
    changed = {key: value for key, value in values.items() if not is_held(key, held) and value_of(recipe, key) != value}
    plain = {"model.zero_init_residual": False} if values["model.backbone"].startswith("timm:") else {}
    derived = [Derived(key, value, f"that of {source}") for key, value in changed.items()]
    return Start(with_values(recipe, {**changed, **plain}), derived, loaded)


def as_started(recipe: Recipe, begun: Recipe, path: Path, held: Collection[str]) -> Recipe:
    """The recipe with what followed from the weights that a run began with, which are not read again.

    Args:
        path: of the run's recipe. One of an earlier version says nothing of weights, whatever they were.
    """
    content = read_yaml(path).get("model")
    is_earlier = isinstance(content, dict) and "init_from" not in content
    if is_earlier or recipe.model.init_from == AUTO:
        recipe = with_values(recipe, {KEY: begun.model.init_from})
    if recipe.model.init_from is None or recipe.model.init_from != begun.model.init_from:
        return recipe
    keys = [*NETWORK, *HEAD, "model.zero_init_residual", *(key for key in FED if value_of(recipe, key) == "auto")]
    return with_values(recipe, {key: value_of(begun, key) for key in keys if not is_held(key, held)})
