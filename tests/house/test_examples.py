"""Examples in docstrings run, and say what they say; each name at the top of swav_cli has one."""

from __future__ import annotations

import ast
import doctest
import inspect
import io
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import swav_cli
from swav_cli.recipe.file import load_recipe
from tests.data.tars import sample_tar
from tests.house.tree import ROOT, modules, parsed
from tests.test_readme import make_run

# Examples that need what is not here; all others run.
SKIPPED = {'model = load_model("swav-800e", linear="checkpoint.pth.tar")'}

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples(name: str) -> Iterator[doctest.DocTest]:
    """Of all docstrings of a module, wherever they stand: doctest itself passes over decorated functions."""
    path = modules()[name]
    for node in ast.walk(parsed(path)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            text = ast.get_docstring(node) or ""
            if ">>>" in text:
                whose = name if isinstance(node, ast.Module) else f"{name}.{node.name}"
                line = node.body[0].lineno - 1
                yield doctest.DocTestParser().get_doctest(text, {}, whose, str(path), line)


WITH_EXAMPLES = [name for name, path in modules().items() if ">>>" in path.read_text(encoding="utf-8")]


@pytest.fixture
def place(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What examples speak of: 40 pictures, shards of 16, one picture, a run of `quickstart` that has learnt nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    for name in ("train-000.tar", "train-001.tar"):
        sample_tar(tmp_path / "shards" / name, 8)
    make_run(tmp_path / "runs" / "quickstart", load_recipe("quickstart"))
    torch.manual_seed(0)
    torch.set_printoptions(precision=4, sci_mode=False)
    with np.printoptions(precision=4, suppress=True):
        yield
    torch.set_printoptions(profile="default")


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_run(name: str, place: None) -> None:
    module = import_module(name)
    for example in examples(name):
        example.globs.update(vars(module))
        told = io.StringIO()
        found = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=told.write)
        assert found.failed == 0, told.getvalue()


def test_what_is_skipped_is_known() -> None:
    every = (example for name in WITH_EXAMPLES for test in examples(name) for example in test.examples)
    skipped = (example.source for example in every if doctest.SKIP in example.options)
    assert {source.partition("#")[0].strip() for source in skipped} == SKIPPED


def test_each_public_name_has_an_example() -> None:
    found = [name for name in swav_cli.__all__ if ">>>" not in examples_of(getattr(swav_cli, name))]
    assert found == []


def examples_of(thing: Any) -> str:
    """The docstring, and for a class those of its methods too."""
    own = inspect.getdoc(thing) or ""
    methods = vars(thing).values() if isinstance(thing, type) else ()
    return "\n".join([own, *(getattr(method, "__doc__", None) or "" for method in methods)])
