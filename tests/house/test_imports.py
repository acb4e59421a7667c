"""Imports point one way, as pyproject.toml says, and torch waits until work begins.

The contracts are those of import-linter, which is for those who develop; here they are checked without it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main

from swav_cli.app import app
from tests.house.tree import ROOT, modules, parsed
from tests.processes import environment
from tests.run.made_up import make_up

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

Graph = Mapping[str, set[str]]


def contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def imported(tree: ast.Module, known: Mapping[str, object]) -> Iterator[str]:
    """Modules of ours that a module names in any import: within a function, or for types alone, as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "an import by dots, which this check does not follow"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from (name for name in (whole if whole in known else node.module,) if name in known)


def graph_of(trees: Mapping[str, ast.Module]) -> Graph:
    return {name: set(imported(tree, trees)) for name, tree in trees.items()}


def way(graph: Graph, begin: str, end: str) -> list[str]:
    """The shortest chain of imports from a module of one room to a module of another; empty where there is none."""

    def within(name: str, room: str) -> bool:
        return name == room or name.startswith(f"{room}.")

    ways = [[name] for name in graph if within(name, begin)]
    seen = {way[0] for way in ways}
    for chain in ways:  # which grows while it is walked along
        if within(chain[-1], end):
            return chain
        for name in sorted(graph[chain[-1]] - seen):
            seen.add(name)
            ways.append([*chain, name])
    return []


def wrong_ways(graph: Graph, layers: list[str]) -> list[str]:
    """Chains from a layer to one above it, or to one beside it."""
    levels = [[room.strip() for room in level.split("|")] for level in layers]
    found = []
    for depth, level in enumerate(levels):
        for room in level:
            beside = [other for other in level if other != room]
            for other in [*(above for higher in levels[:depth] for above in higher), *beside]:
                found.append(" imports ".join(way(graph, room, other)))
    return [chain for chain in found if chain]


@pytest.mark.parametrize("contract", contracts(), ids=lambda contract: contract["name"][:30])
def test_imports_point_one_way(contract: dict[str, Any]) -> None:
    assert contract["type"] == "layers"
    graph = graph_of({name: parsed(path) for name, path in modules().items()})
    rooms = [room.strip() for level in contract["layers"] for room in level.split("|")]
    assert [room for room in rooms if room not in graph] == []
    assert wrong_ways(graph, contract["layers"]) == []


def test_every_room_has_its_layer() -> None:
    """All but what joins them, or is for a shell."""
    layers = " | ".join(contracts()[0]["layers"]).split(" | ")
    rooms = {".".join(name.split(".")[:2]) for name in modules()} - set(layers)
    assert rooms == {"swav_cli", "swav_cli.__main__", "swav_cli.completions"}


def test_an_import_upward_is_noticed_by_whatever_way() -> None:
    code = {
        "a": "def later():\n    from b import thing",
        "b": "import aside",
        "aside": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack import above",
        "pack": "",
        "pack.above": "import a",
        "pack.beside": "from pack.above import thing",
    }
    graph = graph_of({name: ast.parse(text) for name, text in code.items()})
    assert wrong_ways(graph, ["pack.above", "a"]) == ["a imports b imports aside imports pack.above"]
    assert wrong_ways(graph, ["pack.above | pack.beside"]) == ["pack.beside imports pack.above"]
    assert wrong_ways(graph, ["pack.beside", "pack.above", "b"]) == ["b imports aside imports pack.above"]


# Typer itself takes pydantic, by its version.
HEAVY = (
    "torch", "torchvision", "torchcodec", "numpy", "PIL", "sklearn", "timm", "onnx", "pyarrow", "accelerate",
    "tensorboard",
)  # fmt: skip
COMMANDS = """
import sys
from swav_cli.app import main
for words in {commands}:
    sys.argv = ["swav", *words]
    try:
        main()
    except SystemExit:
        pass
    found = [name for name in {heavy} if name in sys.modules]
    assert not found, (words, found)
"""


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A Python of its own, which has imported nothing."""
    surroundings = environment(PYTHONPATH=str(ROOT))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=surroundings)


def all_words(command: Any, words: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Each command of the app, and each group of them, as it is typed."""
    yield list(words)
    for name, inner in getattr(command, "commands", {}).items():
        yield from all_words(inner, (*words, name))


HELP = [[*words, "--help"] for words in all_words(typer.main.get_command(app))]
MISSPELT = [["pretrian"], ["pretrain", "--epohcs", "3"], ["recipes", "shwo"], ["--verison"], []]
RUNS = [["runs", "runs"], ["runs", "runs", "--json"], ["watch", "runs/x"], ["watch", "runs/x", "--json"], ["watch"]]
RECIPES = [["recipes"], ["recipes", "--json"], ["recipes", "show", "quickstart"], ["recipes", "show", "quikstart"]]


@pytest.mark.parametrize(
    "commands", [[*HELP, ["--version"]], MISSPELT, RECIPES, RUNS], ids=["help", "misspelt", "recipes", "runs"]
)
def test_no_torch_before_work_begins(commands: list[list[str]], tmp_path: Path) -> None:
    assert len(commands) >= 4
    make_up(tmp_path / "runs" / "x", step=8)
    done = python(COMMANDS.format(commands=commands, heavy=HEAVY), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("names", "ours"),
    [
        (["swav_cli"], ["swav_cli"]),
        (["swav_cli.app"], None),
        ([name for name in modules() if name.startswith("swav_cli.recipe")], None),
    ],
    ids=["the package", "the app", "recipes"],
)
def test_an_import_imports_nothing_heavy(names: list[str], ours: list[str] | None, tmp_path: Path) -> None:
    heavy = (*HEAVY, *([] if "swav_cli.recipe" in names else ["pydantic"]))
    done = python(f"import sys, {', '.join(names)}; print(*sys.modules)", tmp_path)
    imported = done.stdout.split()
    assert set(names) <= set(imported), done.stderr
    assert set(heavy) & set(imported) == set()
    if ours is not None:
        assert [name for name in imported if name.startswith("swav_cli")] == ours
