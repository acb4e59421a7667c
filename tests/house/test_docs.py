"""The docs tell of every command and option, of none that is not there, and lead nowhere that is not there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from swav_cli.app import app
from tests.house.tree import PACKAGE, ROOT, modules, parsed

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*DOCS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)

# What the docs name of other programs.
OF_TORCHRUN = {"--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint", "--rdzv-id", "--max-restarts"}
OF_LAUNCHERS = {"--gpus-per-node", "--gpus-per-task", "--hostfile"}
OF_EMBEDDING_ATLAS = {"--x", "--y", "--neighbors", "--image", "--text"}
OF_TRACKERS = {"--logdir"}
OF_BENCHMARKS = {"--seeds", "--at-once"}


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def commands() -> dict[str, Any]:
    """What is typed behind `swav`, and the command or the group that it means."""

    def below(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
        yield " ".join(words), command
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, (*words, name))

    return dict(below(typer.main.get_command(app)))


def options(command: Any) -> set[str]:
    named = (name for given in command.params for name in (*given.opts, *given.secondary_opts))
    return {name for name in named if name.startswith("--")}


@pytest.mark.parametrize("words", commands(), ids=lambda words: words or "swav")
def test_every_command_and_option_is_in_the_docs(words: str) -> None:
    told = "\n".join(text(page) for page in DOCS)
    assert re.search(rf"\bswav {words}".rstrip() + r"\b", told)
    assert options(commands()[words]) - set(OPTION.findall(told)) == set()


def test_every_option_in_the_docs_is_there() -> None:
    known = {"--help"}.union(*map(options, commands().values()))
    others = OF_TORCHRUN | OF_LAUNCHERS | OF_EMBEDDING_ATLAS | OF_TRACKERS | OF_BENCHMARKS
    assert {option for page in DOCS for option in OPTION.findall(text(page))} - known == others


def typed() -> Iterator[tuple[str, list[str]]]:
    """Each line of a shell block that calls swav: its command, and the words behind it."""
    for page in DOCS:
        for block in SHELL.findall(text(page)):
            for line in block.replace("\\\n", " ").splitlines():
                called = re.search(r"(?:\bswav|-m swav_cli) ([a-z].*)", line)
                if called and not line.startswith("#"):
                    words = shlex.split(called[1], comments=True)
                    two = " ".join(words[:2])
                    yield two if two in commands() else words[0], words


def test_options_in_examples_are_of_their_command() -> None:
    lines = list(typed())
    assert len(lines) > 40
    wrong = [
        (command, word)
        for command, words in lines
        for word in words
        if word.startswith("--") and word.partition("=")[0] not in options(commands()[command])
    ]
    assert wrong == []


def links(page: Path) -> list[str]:
    """Where a page's links lead to, within this repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL))
    return [link for link in found if "://" not in link]


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub makes them."""
    told = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", told, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_the_index_names_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / link).resolve() for link in links(index)}
    assert named == {*PAGES} - {index}
    assert "docs/README.md" in links(ROOT / "README.md")


CONTRIBUTING = ROOT / "CONTRIBUTING.md"


def named_in_prose() -> list[str]:
    """Paths and `path: name` in backticks outside the house's drawing."""
    prose = re.sub(r"^```.*?^```", "", text(CONTRIBUTING), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(word.split()) for word in re.findall(r"`([^`]+)`", prose)]


def test_files_and_functions_that_contributing_names_are_there() -> None:
    found, lost = 0, []
    for word in named_in_prose():
        path, _, name = word.partition(": ")
        if re.fullmatch(r"[\w./-]+(/|\.(py|md|yaml|toml))", path) or word.startswith("tests/"):
            place = next((base / path for base in (PACKAGE, ROOT) if (base / path).exists()), None)
            known = {*names_in(place)} if name and place else {name}
            found += 1
            if place is None or name not in known:
                lost.append(word)
    assert lost == []
    assert found > 30


def names_in(path: Path) -> Iterator[str]:
    """Functions, classes, methods, fields of classes, and values of a module."""

    def of(node: ast.AST, before: str) -> Iterator[str]:
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, (ast.FunctionDef, ast.ClassDef)):
                yield before + inner.name
                yield from of(inner, f"{before}{inner.name}.")
            targets = inner.targets if isinstance(inner, ast.Assign) else [getattr(inner, "target", None)]
            yield from (before + target.id for target in targets if isinstance(target, ast.Name))

    return of(parsed(path), "")


def drawn() -> dict[str, str]:
    """Each folder of the package in the house's drawing, and what stands behind its name and below it."""
    block = text(CONTRIBUTING).split("```\nswav_cli/\n")[1].split("\nrecipes/")[0]
    rooms: dict[str, str] = {"": block}
    folders: list[tuple[int, str]] = []
    for line in block.splitlines():
        depth = len(line) - len(line.lstrip())
        if depth <= 4:
            folders = [(above, name) for above, name in folders if above < depth]
            if named := re.match(r" +(\w+)/ ", line):
                folders.append((depth, named[1]))
                rooms["/".join(name for _, name in folders)] = ""
        room = "/".join(name for _, name in folders)
        if room:
            rooms[room] += f" {line.strip()}"
    return rooms


def test_contributing_names_every_module() -> None:
    """In the place of its folder, by its name; of `commands/`, which has a file a command, those that are none."""
    rooms, missing = drawn(), []
    for path in modules().values():
        folder = path.parent.relative_to(PACKAGE).as_posix().removeprefix(".")
        is_command = folder == "commands" and path.stem.replace("_", "-") in commands()
        if path.stem.startswith("__") or is_command:
            continue
        name = f"{path.stem}.py" if not folder else path.stem
        if not re.search(rf"\b{re.escape(name)}\b", rooms.get(folder, "")):
            missing.append(path.relative_to(PACKAGE).as_posix())
    assert missing == []


def test_contributing_names_no_module_that_is_gone() -> None:
    """As far as names of two words tell, which are no words of a sentence."""
    known = {path.stem for path in modules().values()} | {"load_model"}
    drawing = " ".join(drawn()[""].split())
    assert set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", drawing)) - known == set()
