"""What measures speed follows the code that it measures: no other test runs it."""

from __future__ import annotations

import ast
import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import torch

from swav_cli.recipe.schema import Recipe
from tests.conftest import tiny_recipe
from tests.together import RUN, run_together

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_all_that_is_imported_of_ours_is_there(path: Path) -> None:
    imports = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("swav_cli")
    ]
    exec(compile(ast.Module(imports, []), str(path), "exec"), {})


def benchmark(name: str) -> ModuleType:
    described = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


def recipe(synchronised: str) -> Recipe:
    return tiny_recipe(*RUN, f"training.sync_batchnorm={synchronised}", "loss.queue.length=0")


def test_the_model_of_scaling_knows_the_calls_of_a_true_step(tmp_path: Path) -> None:
    scaling = benchmark("scaling")
    run_together(2, tmp_path, "counted")
    found = torch.load(tmp_path / "2-counted.pt", weights_only=True)
    for name, synchronised in {"apart": "false", "synchronised": "true"}.items():
        calls = scaling.calls_of_a_step(recipe(synchronised), 2)
        told = Counter(scaling.buckets(recipe(synchronised)))
        for call in calls:
            if call.kind in ("codes", "rest"):  # the loop's signals are no part of a step
                told[call.numbers] += call.count
        norms = sum(call.count for call in calls if call.kind == "norms")
        assert Counter(found[name]) >= told
        assert len(found[name]) - told.total() == 2 * norms  # ours of CPUs makes two where torch's of GPUs makes one


def test_a_step_on_more_gpus_costs_what_the_model_says() -> None:
    """Each claim of docs/scaling.md that rests on it."""
    scaling = benchmark("scaling")
    fabric = scaling.Fabric(3200 / 8 * 1e9)
    alone, all_of_them = (scaling.cost(recipe("false"), world, 256, fabric) for world in (1, 512))
    assert alone.step == pytest.approx(scaling.STEP_OF_256)
    assert alone.codes == alone.signals == 0
    assert all_of_them.computing == alone.computing
    assert all_of_them.signals == pytest.approx(9 * scaling.ROUND)
    assert scaling.late_gradients([1.0, 1.0], 10.0) == 1.0  # the last bucket alone
    assert scaling.late_gradients([10.0, 10.0], 2.0) == 19.0  # all of them, but for what hides behind one half
    few = scaling.cost(recipe("false"), 512, 8, fabric)
    assert few.computing + few.launching == scaling.SHORTEST
    over_all, in_machines = (scaling.cost(recipe(each), 512, 8, fabric).norms for each in ("true", "8"))
    assert over_all > 10 * in_machines > 0
