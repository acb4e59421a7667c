"""A finished run is finished for all of its processes, whatever a slow shared disk shows to one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.test_linear_eval import home
from tests.processes import share, start_together

__all__ = ["home"]
# The second process does not see yet what the first one's machine has written.
SLOW_DISK = """
import os
import sys
from swav_cli.run import results

if os.environ["RANK"] == "1":
    results.read_results = lambda folder: {}
sys.argv[0] = "swav"

from swav_cli.app import main

main()
"""


@pytest.mark.parametrize("command", [("linear-eval",), ("linear-eval", "--cached"), ("pretrain",)])
def test_all_processes_take_a_run_for_finished_where_the_first_one_does(command: tuple[str, ...], home: Path) -> None:
    if command[0] == "pretrain":
        words = [*command, "runs/tiny/recipe.yaml", "--out", "runs/tiny", "--device", "cpu"]
    else:
        words = [*command, "--epochs", "1", "--batch-size", "8", "--workers", "0", "--out", "run", "--device", "cpu"]
        share(1, *words, cwd=home)
    processes = start_together(2, SLOW_DISK, *words, cwd=home, module="-c")
    said = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert f"{'runs/tiny' if command == ('pretrain',) else 'run'} is finished; run it again" in said[0]
