"""Files of docs/jobs/, which users copy: they can be read, and the commands in them are ours."""

from __future__ import annotations

import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from swav_cli.recipe.file import load_recipe
from tests.house.test_docs import commands, options
from tests.house.tree import ROOT

JOBS = ROOT / "docs" / "jobs"


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((JOBS / name).read_text(encoding="utf-8")))


def scripts() -> dict[str, str]:
    """What a shell runs of each file, and what comes behind the words that start us, as one line."""
    runtime, job = documents("trainjob.yaml")
    (task,) = documents("sky.yaml")
    assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    trainer = job["spec"]["trainer"]
    variables = {f"${name}": value for name, value in task["envs"].items()}
    run = re.sub(r"\$[A-Z]+\b", lambda found: variables.get(found[0], found[0]), task["run"])
    return {
        "trainjob.yaml": shlex.join([*trainer["command"], *trainer["args"]]),
        "sky.yaml": run.replace("$SKYPILOT_NUM_GPUS_PER_NODE", "8"),
        "slurm.sh": (JOBS / "slurm.sh").read_text(encoding="utf-8"),
    }


def test_no_file_is_left_out() -> None:
    assert {path.name for path in JOBS.iterdir()} == set(scripts())
    pages = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert all(f"(jobs/{name})" in pages for name in scripts())


@pytest.mark.parametrize("name", scripts())
def test_commands_are_ours(name: str, tmp_path: Path) -> None:
    script = scripts()[name].replace("\\\n", " ")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    (line,) = re.findall(r"^(?!#).*(?:\bswav|-m swav_cli) (pretrain .*)$", script, re.MULTILINE)
    command, recipe, *rest = shlex.split(line)
    given = [word for word in rest if word.startswith("--")]
    assert set(given) <= options(commands()[command])
    settings = [value for option, value in pairwise(rest) if option == "--set"]
    load_recipe(recipe, settings)  # which knows each key, and its values
    assert "--out" in given
