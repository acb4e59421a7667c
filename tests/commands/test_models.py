"""`swav models`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from swav_cli import UserError, describe_model
from swav_cli.report.models import facts_text
from swav_cli.zoo.contents import inspect_file
from tests.conftest import REFERENCE, Run
from tests.processes import environment

RAW = REFERENCE / "layouts" / "mmpretrain1_raw_runner.pth"


def test_the_table_fits_80_columns(swav: Run) -> None:
    done = swav("models")
    lines = done.stdout.splitlines()
    assert len(lines) == 19
    assert max(map(len, [*lines, *done.stderr.splitlines()])) <= 80
    assert lines[1].split()[:3] == ["swav-200e-mmpretrain", "resnet50", "28"]


def test_a_pattern_and_json(swav: Run) -> None:
    rows = json.loads(swav("models", "*w2*", "--json").stdout)
    assert [(row["name"], row["parameters"]) for row in rows] == [("swav-400e-w2", 128_918_784)]
    assert len(json.loads(swav("models", "--json").stdout)) == 18
    refused = swav("models", "swav-80e")
    assert refused.returncode == 2
    assert "Did you mean 'swav-800e'" in refused.stderr


def test_all_of_a_published_one(swav: Run) -> None:
    shown = swav("models", "show", "swav_800ep_pretrain").stdout
    for words in ("swav-800e", "28,354,752", "4,109,364,224", "CC-BY-NC-4.0", "swav_800ep_pretrain.pth.tar"):
        assert words in shown
    assert json.loads(swav("models", "show", "swav-800e", "--json").stdout)["here"] is None
    assert "Did you mean 'swav-800e'" in swav("models", "show", "swav-80e").stderr


def test_python_tells_the_same() -> None:
    assert describe_model("swav_800ep_pretrain")["licence"] == "CC-BY-NC-4.0"
    assert describe_model(RAW)["layout"] == "mmpretrain 1.x"
    with pytest.raises(UserError, match="Did you mean 'swav-800e'"):
        describe_model("swav-80e")


def test_all_of_a_foreign_file(swav: Run) -> None:
    shown = swav("models", "show", RAW).stdout
    assert "mmpretrain 1.x: 120 of 120 backbone tensors, projection head 9 of 9, prototypes 30 x 16" in shown
    assert "message_hub" in shown
    assert "tensors (135)" in shown
    assert "backbone.layer1" in shown
    assert max(map(len, shown.splitlines())) < 110
    facts = json.loads(json.dumps(inspect_file(str(RAW))))
    assert facts["backbone"] == "resnet18"
    assert facts["contents"]["tensors"]["backbone.layer2"]["count"] == 30


def test_a_file_in_no_known_layout_is_told_with_its_contents(tmp_path: Path) -> None:
    torch.save({"encoder.patch.weight": torch.ones(3, 2)}, tmp_path / "odd.pth")
    facts = inspect_file(str(tmp_path / "odd.pth"))
    assert facts["layout"] is None
    assert "no layout that swav knows" in facts["problem"]
    assert facts["contents"]["tensors"] == {"encoder.patch": {"count": 1, "shapes": ["3 x 2"]}}
    assert "encoder.patch" in facts_text(facts)
    with pytest.raises(UserError, match=r"none.pth: no such file"):
        inspect_file("none.pth")


@pytest.mark.parametrize("words", [["models", "--help"], ["models", "show", "--help"], ["models", "list", "-h"]])
def test_help_has_examples(swav: Run, words: list[str]) -> None:
    text = swav(*words).stdout
    assert "swav models" in text
    assert max(map(len, text.splitlines())) <= 80


def test_listing_loads_no_torch() -> None:
    code = (
        "import sys; from swav_cli.commands.models import list_models, show; list_models(''); show('swav-800e');"
        "print('torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert told.stdout.endswith("False\n"), told.stderr
