"""How long files and functions may be, how many parameters a function takes, and what has a docstring.

A number that is passed is a question: which two things does it hold, or which of its parameters are one value? Where
the answer is none, a function stands here by name with the reason; a name that is no longer needed is an error too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import swav_cli
from swav_cli.app import app
from swav_cli.recipe.part import Part
from tests.house.tree import PACKAGE, Function, functions, modules, parsed

MOST_PARAMETERS = 7
MOST_LINES = 60  # of a function, its docstring, comments and empty lines not counted
MOST_LINES_OF_A_FILE = 400

OPTIONS = "has a parameter for each option of its command"
MANY_PARAMETERS = {
    "core/model.py SwAV.__init__": "a network's dimensions, by name alone",
    "tasks/clusters.py find_clusters": OPTIONS,
    "tasks/clusters.py nearest_pictures": OPTIONS,
    "tasks/eval.py judge": OPTIONS,
    "tasks/eval_svm.py judge_by_svm": OPTIONS,
    "evaluate/embedder.py Embedder.__init__": "has a parameter for each option that tells what rows are",
    "tasks/extract.py write_features": OPTIONS,
    "tasks/extract_parts.py write_parts": OPTIONS,
    "tasks/linear_eval.py linear_eval": OPTIONS,
    "tasks/predict.py write_predictions": OPTIONS,
    "tasks/pretrain.py pretrain": OPTIONS,
    "tasks/pretrain_plan.py plan_pretraining": OPTIONS,
    "zoo/foreign/stand_ins.py _tensor_of_type": "called by pickle, as torch's function of the same parameters is",
}


def commands(group: Any = app) -> Iterator[Any]:
    """The functions that Typer calls."""
    yield from (command.callback for command in group.registered_commands)
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance)


COMMANDS = {(command.__code__.co_filename, command.__name__) for command in commands()}


def own_functions() -> Iterator[tuple[str, Path, Function]]:
    """All functions but those that Typer calls, whose parameters are options and their help."""
    for path in modules().values():
        for name, function in functions(parsed(path)):
            if (str(path), name) not in COMMANDS:
                yield f"{path.relative_to(PACKAGE).as_posix()} {name}", path, function


def parameters(function: Function) -> int:
    given = function.args
    names = [given.vararg, *given.posonlyargs, *given.args, *given.kwonlyargs, given.kwarg]
    return sum(name is not None and name.arg not in ("self", "cls") for name in names)


def lines(function: Function, source: list[str]) -> int:
    """Of its code, from `def` on."""
    first = function.body[0]
    told = range(first.lineno, (first.end_lineno or 0) + 1) if ast.get_docstring(function) is not None else range(0)
    numbers = range(function.lineno, (function.end_lineno or 0) + 1)
    own = [source[number - 1].strip() for number in numbers if number not in told]
    return sum(bool(line) and not line.startswith("#") for line in own)


def test_functions_have_few_parameters() -> None:
    many = {name for name, _, function in own_functions() if parameters(function) > MOST_PARAMETERS}
    assert many == set(MANY_PARAMETERS)


def test_functions_are_short() -> None:
    source = {path: path.read_text(encoding="utf-8").splitlines() for path in modules().values()}
    long = {name for name, path, function in own_functions() if lines(function, source[path]) > MOST_LINES}
    assert long == set()


def test_files_are_short() -> None:
    long = {
        path.relative_to(PACKAGE).as_posix()
        for path in modules().values()
        if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES_OF_A_FILE
    }
    assert long == set()


def test_what_is_counted() -> None:
    code = 'def f(self, a, /, b, *c, d, **e):\n    """Of\n    two lines."""\n    # why\n\n    return a\n'
    (_, function), *_ = functions(ast.parse(code))
    assert (parameters(function), lines(function, code.splitlines())) == (5, 2)
    assert len(COMMANDS) >= 11


def test_every_module_opens_with_a_docstring() -> None:
    assert [name for name, path in modules().items() if not ast.get_docstring(parsed(path))] == []


def test_what_is_public_is_documented() -> None:
    """Functions and classes of the modules that hold a name at the top of swav_cli; of those names, methods too.

    A part of a recipe is documented by its values, of which each has a sentence.
    """
    found = []
    for name in sorted(set(swav_cli._HOMES.values())):
        module = import_module(name)
        for documented, thing in public(module):
            if not ((thing.__doc__ or "").strip() or is_told_by_its_values(thing)) or is_made_up(thing):
                found.append(f"{name}.{documented}")
    assert found == []


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, thing in vars(module).items():
        if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__ and callable(thing):
            yield name, thing
            methods = vars(thing) if isinstance(thing, type) and name in swav_cli.__all__ else {}
            for method, function in methods.items():
                is_code = isinstance(function, (property, staticmethod, classmethod)) or hasattr(function, "__code__")
                if is_code and not method.startswith("_"):
                    yield f"{name}.{method}", function


def is_made_up(thing: Any) -> bool:
    """Tuples with names and dataclasses are given a docstring that tells their fields."""
    return isinstance(thing, type) and thing.__doc__ is not None and thing.__doc__.startswith(f"{thing.__name__}(")


def is_told_by_its_values(thing: Any) -> bool:
    if not (isinstance(thing, type) and issubclass(thing, Part)):
        return False
    return all(field.description or is_part(field.annotation) for field in thing.model_fields.values())


def is_part(annotation: Any) -> bool:
    return any(isinstance(kind, type) and issubclass(kind, Part) for kind in (annotation, *get_args(annotation)))
