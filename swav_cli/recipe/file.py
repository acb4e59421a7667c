"""Recipes on disk: found, read, overridden from the command line, written, and compared."""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from swav_cli.data.paths import expanded
from swav_cli.data.shards.names import is_stream, runs_command
from swav_cli.errors import UserError, nearest
from swav_cli.recipe.classifier_schema import ClassifierRecipe, FinetuneRecipe, LinearRecipe
from swav_cli.recipe.part import Part
from swav_cli.recipe.schema import Recipe
from swav_cli.recipe.words import explain, place_of, takes_null, takes_text

AnyRecipe = Recipe | ClassifierRecipe
Schema = TypeVar("Schema", bound=Part)
COMMANDS: dict[type[Part], str] = {Recipe: "pretrain", LinearRecipe: "linear-eval", FinetuneRecipe: "finetune"}


def shipped_recipes() -> dict[str, Path]:
    """Name to file of the recipes that come with swav: inside the wheel, or beside the source."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}
    return {}


def find_recipe(name: str) -> Path:
    """The file of a recipe given by path or by the name of a shipped one.

    Raises:
        UserError: there is none; with the nearest name.
    """
    path = expanded(name)
    if os.path.isfile(path):  # unlike Path.is_file, it takes any text for an answer
        return path
    shipped = shipped_recipes()
    if name in shipped:
        return shipped[name]
    # `recipes/quickstart.yaml` as the README writes it means the shipped one where there is no such file.
    if path.suffix in (".yaml", ".yml") and path.parent.name in ("", "recipes") and path.stem in shipped:
        return shipped[path.stem]
    word = path.stem if path.suffix in (".yaml", ".yml") else path.name
    raise UserError(f"no recipe '{name}'.{nearest(word.lower(), shipped)} See them with: swav recipes")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a recipe file. Nothing in the file is ever executed."""
    try:
        content = _load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8, so not a recipe") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{where}: not valid YAML ({_yaml_problem(error)})") from None
    if not isinstance(content, dict):
        kind = "it is empty" if content is None else f"this is a {type(content).__name__}"
        raise UserError(f"{path}: a recipe is a mapping of keys to values; {kind}")
    return content


class _Loader(yaml.SafeLoader):
    """YAML in which only what looks like a number, true, false or null is one, and in which no key stands twice.

    YAML 1.1 reads 1e-6 as a word, 010 as 8, 1:30 as 90 and `no` as false.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012, where PyYAML looks for them

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: words that would look like numbers to it are quoted."""

    yaml_implicit_resolvers = {}  # noqa: RUF012, where PyYAML looks for them


_WORDS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?\d+", list("-+0123456789")),
    "float": (r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+0123456789.")),
}
for _name, (_pattern, _first) in _WORDS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first)


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)))


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def _list_in_a_line(dumper: _Dumper, values: list[Any]) -> yaml.Node:
    short = not any(isinstance(value, (dict, list)) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=short)


_Dumper.add_representer(list, _list_in_a_line)


def _load(text: str) -> Any:
    return yaml.load(text, _Loader)


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(getattr(error, "problem", None) or error).splitlines()[0]


def apply_override(content: dict[str, Any], assignment: str, schema: type[BaseModel] = Recipe) -> None:
    """Set one `a.b.c=value` in a recipe's mapping. `crops.0.size=64` reaches into a list.

    The value is read as YAML, but where the recipe holds text, such as a path, it is taken as it stands.
    """
    key, equals, text = assignment.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise UserError(f"--set {assignment}: write it as key=value, for example --set loss.epsilon=0.03")
    value = _read_value(steps, text.strip(), assignment, schema)
    place: Any = content
    for step in steps[:-1]:
        place = _descend(place, step, assignment)
    if isinstance(place, list):
        _descend(place, steps[-1], assignment)
        place[int(steps[-1])] = value
    elif isinstance(place, dict):
        place[steps[-1]] = value
    else:
        raise UserError(f"--set {assignment}: '{'.'.join(steps[:-1])}' holds one value and has no keys below it")


def _read_value(steps: list[str], text: str, assignment: str, schema: type[BaseModel]) -> Any:
    place = place_of(steps, schema)
    known = place.field is not None and len(place.path) == len(steps)
    if known and place.field is not None and takes_text(place.field):
        if takes_null(place.field) and text in ("", "~", "null"):
            return None
        if not text.startswith(("'", '"')):
            return text
        if text.startswith('"'):
            with suppress(ValueError):
                return json.loads(text)  # knows \ud83d\ude00, which YAML does not
    if not text:
        raise UserError(f"--set {assignment}: no value after '='")
    try:
        return _load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"--set {assignment}: '{text}' is not a YAML value ({_yaml_problem(error)})") from None


def _descend(place: Any, step: str, assignment: str) -> Any:
    if isinstance(place, list):
        if not step.isdecimal() or int(step) >= len(place):
            raise UserError(f"--set {assignment}: '{step}' is not a position in a list of {len(place)}, from 0")
        return place[int(step)]
    if isinstance(place, dict):
        if place.get(step) is None:
            place[step] = {}
        return place[step]
    raise UserError(f"--set {assignment}: nothing lies below '{step}'")


def parse_recipe(content: dict[str, Any], source: str) -> Recipe:
    """A recipe of pretraining from its mapping; see `parse_as`."""
    return parse_as(Recipe, content, source)


def parse_as(schema: type[Schema], content: dict[str, Any], source: str) -> Schema:
    """A recipe from its mapping.

    Raises:
        UserError: all mistakes at once, one line each, with the nearest known key for an unknown one.
    """
    _refuse_other_task(schema, content, source)
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{source}: " + "\n  ".join(explain(error, content, schema))) from None


def _refuse_other_task(schema: type[Part], content: dict[str, Any], source: str) -> None:
    found = schema_of(content)
    if found is not schema:
        wanted, command = COMMANDS[schema], COMMANDS[found]
        raise UserError(f"{source}: is a recipe for `swav {command}`, not for `swav {wanted}`. See: swav recipes")


def schema_of(content: dict[str, Any]) -> type[AnyRecipe]:
    """What kind of recipe a mapping is: one without a `task` is one of pretraining."""
    schemas: dict[Any, type[AnyRecipe]] = {"linear": LinearRecipe, "finetune": FinetuneRecipe}
    task = content.get("task")
    return schemas.get(task, Recipe) if isinstance(task, str) else Recipe


def load_recipe(name: str | Path, overrides: list[str] | None = None) -> Recipe:
    """A recipe of pretraining by path or shipped name, with `key=value` overrides.

    >>> load_recipe("in1k-200e", ["training.epochs=100"]).training.epochs
    100

    Raises:
        UserError: no such recipe, or all that can't be in it, each with its key.
    """
    return load_as(Recipe, name, overrides)


def load_as(schema: type[Schema], name: str | Path, overrides: list[str] | None = None) -> Schema:
    """The same for recipes of any kind.

    >>> load_as(LinearRecipe, "linear-in1k").optimizer.lr
    0.3
    """
    path = find_recipe(str(name))
    content = read_yaml(path)
    _refuse_other_task(schema, content, str(path))
    _mark_sources(content)
    for assignment in overrides or []:
        apply_override(content, assignment, schema)
    recipe = parse_as(schema, content, f"{path} and the options" if overrides else str(path))
    _refuse_streams(recipe, content, path)
    return recipe


class _FromFile(str):
    """Text of a file; what is typed in its place is plain text."""


def _mark_sources(content: dict[str, Any]) -> None:
    data = content.get("data")
    if isinstance(data, dict):
        content["data"] = {key: _FromFile(value) if isinstance(value, str) else value for key, value in data.items()}
    model = content.get("model")
    if isinstance(model, dict) and isinstance(model.get("init_from"), str):
        model["init_from"] = _FromFile(model["init_from"])


def _refuse_streams(recipe: Any, content: dict[str, Any], path: Path) -> None:
    """A recipe may come from anybody, and must do no more than train.

    Raises:
        UserError: its pictures come from a command of the shell, or from an address, that was not typed.
    """
    start = (content.get("model") or {}).get("init_from") if isinstance(content.get("model"), dict) else None
    if isinstance(start, _FromFile) and start.startswith(("https://", "http://")):
        raise UserError(
            f"{path}: starts from the address '{start}', and nothing is fetched from where a file says; if you trust "
            f"it, type it: --init-from '{start}'"
        )
    given = content.get("data") or {}
    for key, source in dict(recipe.data).items():
        # Asked of the recipe as it was understood, which takes more than text for text: bytes, for one.
        if not isinstance(source, str) or not is_stream(source) or type(given.get(key)) is str:
            continue
        if runs_command(source):
            raise UserError(
                f"{path}: holds the command '{source}', and no command is run that a file brings; if you trust it, "
                "type it: --data 'pipe:...'"
            )
        raise UserError(
            f"{path}: holds the address '{source}', and nothing is fetched from where a file says; if you trust it, "
            "type it: --data 'https://...'"
        )


def read_recipe(path: Path) -> AnyRecipe:
    """A recipe of whatever kind, such as the one in a run's folder, to look at: `load_recipe` gives one to be run."""
    content = read_yaml(path)
    return parse_as(schema_of(content), content, str(path))


def dump_recipe(recipe: AnyRecipe) -> str:
    """A recipe as YAML, every value written out."""
    return dump_values(recipe.model_dump(mode="json"))


def dump_values(values: dict[str, Any]) -> str:
    """The same of a recipe's plain values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def flat_values(recipe: AnyRecipe) -> dict[str, Any]:
    """Key to value of all that a recipe holds, keys as `--set` takes them: crops.0.size."""
    return _flat(recipe.model_dump(mode="json"))


def differences(before: AnyRecipe, after: AnyRecipe) -> list[str]:
    """Keys whose values differ, `key: before -> after`, but for those that don't change what is learnt.

    Nor do those count that name files: the files themselves tell whether they are the same, wherever they lie.
    """
    a, b = values_learnt_from(before), values_learnt_from(after)
    return _changes(before, after, [key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)])


def renamed(before: AnyRecipe, after: AnyRecipe) -> list[str]:
    """Those of the files' names that differ, `key: before -> after`."""
    a, b = flat_values(before), flat_values(after)
    return _changes(
        before, after, [key for key in _NAMES_FILES if _is_file(key, a.get(key)) and _is_file(key, b.get(key))]
    )


def _changes(before: AnyRecipe, after: AnyRecipe, keys: list[str]) -> list[str]:
    a, b = flat_values(before), flat_values(after)
    return [f"{key}: {a.get(key)} -> {b.get(key)}" for key in keys if a.get(key) != b.get(key)]


def values_learnt_from(recipe: AnyRecipe) -> dict[str, Any]:
    """Key to value, of all that changes what is learnt and that no file tells by itself."""
    flat = flat_values(recipe)
    return {
        key: value for key, value in flat.items() if not key.startswith(_FREE_TO_CHANGE) and not _is_file(key, value)
    }


def _is_file(key: str, value: Any) -> bool:
    if key == "data.labels":  # all, a share, a number a class, or a list of files
        return not re.fullmatch(r"all|[\d.]+\s*%?", str(value))
    return key in _NAMES_FILES


_FREE_TO_CHANGE = (
    "reference", "data.cache", "data.max_bad", "training.compile",
    "training.checkpoint_activations", "training.workers", "training.timeout_minutes",
    "training.on_collapse", "training.log_every", "checkpoint.",
)  # fmt: skip
_NAMES_FILES = ("model", "data.train", "data.val", "data.bank", "data.labels")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        items = [(str(position), item) for position, item in enumerate(value)]
    else:
        return {prefix.rstrip("."): value}
    flat: dict[str, Any] = {}
    for key, item in items:
        flat |= _flat(item, f"{prefix}{key}.")
    return flat
