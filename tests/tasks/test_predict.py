"""Answers from Python, written, drawn and sorted as the command does."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch

import swav_cli as swav
from swav_cli.core.weights import About, Model, save_model


def test_python_does_what_the_command_does(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    described = About("resnet18", width=4, stem="small", size=32, classes=("cat", "dog"))
    save_model(tmp_path / "m.safetensors", Model(described.build(), described))
    monkeypatch.chdir(tmp_path)
    seen: list[tuple[int, int]] = []
    facts = swav.write_predictions(
        photos, "m.safetensors", out="a.json", sort_into="sorted", show="sheet.png", top_k=1,
        progress=lambda done, count: seen.append((done, count)),
    )  # fmt: skip
    content = json.loads(Path("a.json").read_text(encoding="utf-8"))
    assert len(content.pop("answers")) == 40
    assert content == facts
    assert (facts["kind"], facts["pictures"], facts["unread"]) == ("class", 40, 0)
    assert sum(facts["sorted"]["folders"].values()) == 40
    assert Path("sheet.png").exists()
    assert seen == [(done, 40) for done in range(1, 41)]
    stream = io.StringIO()
    assert swav.write_predictions([photos], "m.safetensors", stream=stream, written="jsonl")["pictures"] == 40
    assert len(stream.getvalue().splitlines()) == 40
    assert swav.write_predictions(photos, "m.safetensors", sort_into="sorted")["sorted"]["already_there"] == 40
