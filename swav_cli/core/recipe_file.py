"""Recipes on disk: found, read, overridden from the command line, written, and compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ValidationError

from swav_cli.core.recipe import Recipe
from swav_cli.errors import UserError, nearest


def shipped_recipes() -> dict[str, Path]:
    """Name to file of the recipes that come with swav: inside the wheel, or beside the source."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def find_recipe(name: str) -> Path:
    """The file of a recipe given by path or by the name of a shipped one.

    Raises:
        UserError: there is none; with the nearest name.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if name in shipped:
        return shipped[name]
    # `recipes/quickstart.yaml` as the README writes it means the shipped one where there is no such file.
    if path.suffix in (".yaml", ".yml") and path.parent.name in ("", "recipes") and path.stem in shipped:
        return shipped[path.stem]
    raise UserError(f"no recipe '{name}'.{nearest(path.stem, shipped)} See them with: swav recipes")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a recipe file, read by the safe loader."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys to values, this is {type(content).__name__}")
    return content


def apply_override(content: dict[str, Any], assignment: str) -> None:
    """Set one `a.b.c=value` in a recipe's mapping; the value is read as YAML. `crops.0.size=64` reaches into a list."""
    key, equals, text = assignment.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise UserError(f"--set {assignment}: write it as key=value, for example --set loss.epsilon=0.03")
    try:
        value = yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        raise UserError(f"--set {assignment}: '{text}' is not a YAML value") from None
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        value = float(value)  # YAML 1.1 takes 1e-6 for a word
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


def _descend(place: Any, step: str, assignment: str) -> Any:
    if isinstance(place, list):
        if not step.isdigit() or int(step) >= len(place):
            raise UserError(f"--set {assignment}: '{step}' is not a position in a list of {len(place)}, from 0")
        return place[int(step)]
    if isinstance(place, dict):
        if place.get(step) is None:
            place[step] = {}
        return place[step]
    raise UserError(f"--set {assignment}: nothing lies below '{step}'")


def parse_recipe(content: dict[str, Any], source: str) -> Recipe:
    """A recipe from its mapping.

    Raises:
        UserError: all mistakes at once, one line each, with the nearest known key for an unknown one.
    """
    try:
        return Recipe.model_validate(_numbers(content))
    except ValidationError as error:
        lines = [_explain(mistake) for mistake in error.errors()]
        unique = list(dict.fromkeys(lines))
        raise UserError(f"{source}: " + "\n  ".join(unique)) from None


def _numbers(value: Any) -> Any:
    """Words like 1e-6, which YAML 1.1 leaves as text, as the numbers that were meant."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


def _explain(mistake: Any) -> str:
    """One line for one of pydantic's findings: the key as it is written in the file, what is wrong, what is allowed."""
    path = [step for step in mistake["loc"] if not _is_union_branch(step)]
    key = ".".join(str(step) for step in path)
    if mistake["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        suggestion = nearest(str(path[-1]), known) or f" Known here: {', '.join(known)}"
        return f"unknown key '{key}'.{suggestion}"
    if mistake["type"] == "missing":
        return f"'{key}' is missing: {_description(path)}"
    message = mistake["msg"].removeprefix("Value error, ")
    if not key:
        return message
    return f"{key} = {mistake['input']!r}: {message[0].lower()}{message[1:]}"


def _is_union_branch(step: object) -> bool:
    """pydantic names the branch of a union that it tried, in a word of its own that no key of ours has."""
    return isinstance(step, str) and bool(re.search(r"[\[\]'(]", step) or step in ("int", "float", "bool", "str"))


class Key(NamedTuple):
    name: str
    kind: str
    default: str
    description: str


def keys_of(part: type[BaseModel] = Recipe, prefix: str = "") -> list[Key]:
    """Every key of a recipe with its kind, default and meaning, for documents and completion."""
    keys: list[Key] = []
    for name, field in part.model_fields.items():
        below = _part_of(field.annotation)
        if below is not None:
            keys += keys_of(below, f"{prefix}{name}.")
        else:
            default = "required" if field.is_required() else str(field.default)
            keys.append(Key(prefix + name, _kind(field.annotation), default, field.description or ""))
    return keys


def _kind(annotation: Any) -> str:
    return re.sub(r"typing\.|<class '|'>|Annotated\[|, FieldInfo.*?\)\]|NoneType", "", str(annotation))


def _part_of(annotation: Any) -> type[BaseModel] | None:
    """The part of a recipe that a field holds, directly or in a list."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    for candidate in get_args(annotation):
        found = _part_of(candidate)
        if found is not None:
            return found
    return None


def _part_at(path: list[Any]) -> type[BaseModel] | None:
    part: type[BaseModel] | None = Recipe
    for step in path:
        if isinstance(step, int) or part is None:
            continue
        field = part.model_fields.get(str(step))
        part = _part_of(field.annotation) if field else None
    return part


def _known_keys(path: list[Any]) -> list[str]:
    part = _part_at(path)
    return list(part.model_fields) if part else []


def _description(path: list[Any]) -> str:
    part = _part_at(path[:-1])
    field = part.model_fields.get(str(path[-1])) if part else None
    return (field.description if field else None) or "needed"


def load_recipe(name: str | Path, overrides: list[str] | None = None) -> Recipe:
    """A recipe by path or shipped name, with `key=value` overrides.

    >>> load_recipe("in1k-200e", ["training.epochs=100"]).training.epochs
    100
    """
    path = find_recipe(str(name))
    content = read_yaml(path)
    for assignment in overrides or []:
        apply_override(content, assignment)
    return parse_recipe(content, str(path))


def dump_recipe(recipe: Recipe) -> str:
    """A recipe as YAML, every value written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def differences(before: Recipe, after: Recipe) -> list[str]:
    """Keys whose values differ, `key: before -> after`, but for those that don't change what is learnt."""
    a, b = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    return [
        f"{key}: {a.get(key)} -> {b.get(key)}"
        for key in dict.fromkeys([*a, *b])
        if a.get(key) != b.get(key) and not key.startswith(_FREE_TO_CHANGE)
    ]


_FREE_TO_CHANGE = ("reference", "data.cache", "data.max_bad", "training.workers", "training.log_every", "checkpoint.")


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
