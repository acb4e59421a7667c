from __future__ import annotations

import platform
from pathlib import Path

import torch

from swav_cli.core.environment import environment


def test_it_tells_of_the_machine_and_not_of_who_uses_it() -> None:
    found = environment(torch.device("cpu"), processes=2)
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"] == torch.__version__
    assert found["python"] == platform.python_version()
    assert found["processes"] == "2"
    assert found["device"].startswith("cpu: ")
    told = " ".join(found.values())
    assert str(Path.home()) not in told
