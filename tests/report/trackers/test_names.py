from __future__ import annotations

import pytest

from swav_cli.errors import UserError
from swav_cli.report.trackers import names as module
from swav_cli.report.trackers.names import tracker_names


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    assert tracker_names(" WandB, tensorboard,wandb", "--track") == ["wandb", "tensorboard"]
    assert tracker_names("none", "--track") == []
    assert tracker_names(None, "--track") is None


@pytest.mark.parametrize(
    ("written", "there", "said"),
    [
        (
            "wanbd",
            [],
            r"--track wanbd: no such tracker. Did you mean 'wandb'\? There are tensorboard, wandb, trackio, mlf",
        ),
        ("", [], "--track '': name trackers, such as tensorboard, or none"),
        ("tensorboard", [], r"--track tensorboard: needs tensorboard; pip install 'swav-cli\[track\]'$"),
        ("trackio", ["accelerate"], r"--track trackio: needs trackio; pip install 'swav-cli\[track\]' trackio"),
        ("none,wandb", ["wandb", "accelerate"], "none: no such tracker"),
        ("wandb", [], "needs wandb and accelerate; pip install"),
    ],
)
def test_what_can_not_be_told(monkeypatch: pytest.MonkeyPatch, written: str, there: list[str], said: str) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: name if name in there else None)
    with pytest.raises(UserError, match=said):
        tracker_names(written, "--track")
