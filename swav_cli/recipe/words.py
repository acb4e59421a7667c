"""The keys of a recipe: what each may hold, in words, and what is wrong with a recipe that pydantic refuses."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from swav_cli.errors import nearest
from swav_cli.recipe.part import ContradictionError
from swav_cli.recipe.schema import Recipe


class Key(NamedTuple):
    name: str  # as it is written after --set: crops.0.size
    kind: str
    default: str
    description: str


def keys_of(part: type[BaseModel] = Recipe, prefix: str = "") -> list[Key]:
    """Every key of a recipe with its kind, default and meaning."""
    keys: list[Key] = []
    for name, field in part.model_fields.items():
        below = part_in(field)
        if below is not None:
            keys += keys_of(below, f"{prefix}{name}." + ("0." if _is_list(field) else ""))
        else:
            default = "required" if field.is_required() else _shown(field.default)
            keys.append(Key(prefix + name, _kind_of(field), default, field.description or ""))
    return keys


def part_in(field: FieldInfo) -> type[BaseModel] | None:
    """The part of a recipe that a field holds, itself or in a list."""
    for candidate in _inside(field.annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _inside(annotation: Any) -> Iterable[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from _inside(argument)


def _is_list(field: FieldInfo) -> bool:
    return any(get_origin(candidate) is list for candidate in _inside(field.annotation))


class Place(NamedTuple):
    """Where a path of keys leads, as far as the schema knows it."""

    path: tuple[str | int, ...]
    part: type[BaseModel]  # the innermost part on the way
    field: FieldInfo | None  # what is there; None for the recipe or a part in a list, and where a key is not known

    @property
    def key(self) -> str:
        return ".".join(map(str, self.path))


def place_of(path: Iterable[str | int], schema: type[BaseModel] = Recipe) -> Place:
    """Follow keys and list positions down to a value, and no further: what comes below a value is not ours to name."""
    part = schema
    field: FieldInfo | None = None
    taken: list[str | int] = []
    in_list = False
    for step in path:
        taken.append(step)
        if in_list and str(step).isdigit():
            in_list, field = False, None
            continue
        field = part.model_fields.get(str(step))
        below = part_in(field) if field is not None else None
        if field is None or below is None:
            break
        part, in_list = below, _is_list(field)
    return Place(tuple(taken), part, field)


def takes_text(field: FieldInfo) -> bool:
    """The field holds any text, such as a path; `auto` and names out of a short list are no such text."""
    return str in _inside(field.annotation) and not _is_list(field)


def takes_null(field: FieldInfo) -> bool:
    return NoneType in _inside(field.annotation)


# --- kinds in words ----------------------------------------------------------------------------------------------


def _kind_of(field: FieldInfo) -> str:
    below = part_in(field)
    if below is not None:
        mapping = f"the keys {', '.join(below.model_fields)}"
        return f"a list of one or more mappings with {mapping}" if _is_list(field) else f"a mapping with {mapping}"
    return kind_words(field.annotation, field.metadata)


def kind_words(annotation: Any, limits: Iterable[Any] = ()) -> str:
    """`a whole number from 1, or auto`: what a field may hold."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [limit for extra in arguments[1:] for limit in getattr(extra, "metadata", [extra])]
        return kind_words(arguments[0], [*inner, *limits])
    if origin is Literal:
        words = [str(argument) for argument in arguments]
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    if origin is list:
        return f"a list of {_plural(kind_words(arguments[0]))}"
    if origin is tuple:
        return f"a list of {len(arguments)} {_plural(kind_words(arguments[0]))}"
    if arguments:  # a union
        return ", or ".join(kind_words(argument) for argument in arguments)
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}
    return names.get(annotation, str(annotation)) + _limit_words(limits)


def _limit_words(limits: Iterable[Any]) -> str:
    words = ""
    for limit in limits:
        if getattr(limit, "min_length", None):
            words += " that is not empty"
        for attribute, word in (("ge", "from"), ("gt", "above"), ("le", "to"), ("lt", "to below")):
            bound = getattr(limit, attribute, None)
            if bound is not None:
                words += f" {word} {bound:,}" if isinstance(bound, int) else f" {word} {bound:g}"
    return words


def _plural(kind: str) -> str:
    return kind.removeprefix("a ").replace("number", "numbers", 1)


# --- mistakes in words -------------------------------------------------------------------------------------------


def explain(error: ValidationError, content: Any, schema: type[BaseModel] = Recipe) -> list[str]:
    """A line for each mistake of a recipe: the key as one writes it, the value, and what may stand there.

    pydantic reports a value that fits no branch of a union, or a list with several wrong items, several times.
    """
    lines: dict[str, None] = {}
    told: set[str] = set()
    for mistake in error.errors():
        problem = mistake.get("ctx", {}).get("error")
        if isinstance(problem, ContradictionError):
            lines |= dict.fromkeys(problem.problems)
            continue
        place = place_of(mistake["loc"], schema)
        if place.key not in told:
            told.add(place.key)
            lines[_explain_one(place, mistake, content, schema)] = None
    return list(lines)


def _explain_one(place: Place, mistake: Any, content: Any, schema: type[BaseModel]) -> str:
    if mistake["type"] in ("extra_forbidden", "invalid_key"):
        return f"unknown key '{place.key}'.{_suggestion(place, schema)}"
    if mistake["type"] == "missing" and len(place.path) == len(mistake["loc"]):
        field = place.field
        return f"{place.key} is missing: " + (_kind_of(field) + _meaning(field) if field is not None else "needed")
    value = _shown(_value_at(content, place.path))
    if mistake["type"] == "value_error" and not _is_about_kind(mistake):
        return f"{place.key} = {value}: {mistake['msg'].removeprefix('Value error, ')}"
    if mistake["type"] == "string_unicode":
        return f"{place.key} = {value}: is no UTF-8, which text in a recipe has to be; rename it, or name a link to it"
    if mistake["type"] == "string_pattern_mismatch":
        return f"{place.key} = {value}: only letters, digits, '.', '_' and '-', since it names a folder"
    if place.field is not None:
        return f"{place.key} = {value}: should be {_kind_of(place.field)}"
    return f"{place.key} = {value}: should be a mapping with the keys {', '.join(place.part.model_fields)}"


def _is_about_kind(mistake: Any) -> bool:
    return str(mistake["msg"]).endswith("true or false is no number")


def _meaning(field: FieldInfo) -> str:
    return f" ({field.description})" if field.description else ""


def _suggestion(place: Place, schema: type[BaseModel]) -> str:
    """Where the very same key does belong, else the nearest one at this place, else all of this place."""
    word, known = str(place.path[-1]), list(place.part.model_fields)
    homes = [key.name for key in keys_of(schema) if key.name.rpartition(".")[2] == word]
    if len(homes) == 1:
        return f" It belongs at '{homes[0]}'"
    return nearest(word, known) or f" Known here: {', '.join(known)}"


def _value_at(content: Any, path: Iterable[str | int]) -> Any:
    for step in path:
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):
            return None
    return content


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def _shown(value: Any) -> str:
    """A value as it stands in YAML, near enough, and never long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _SHORT.repr(list(value) if isinstance(value, tuple) else value)
