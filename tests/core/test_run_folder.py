from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from swav_cli.core.checkpoint import RunFolder
from swav_cli.core.run_folder import add_results, read_results
from swav_cli.errors import UserError

ADD = """
import sys
from pathlib import Path
from swav_cli.core.checkpoint import RunFolder
from swav_cli.core.run_folder import add_results
for number in range(100):
    add_results(RunFolder(Path(sys.argv[1])), f"{sys.argv[2]} {number}", {"top1": number})
"""


def test_of_two_commands_that_end_at_once_both_results_are_kept(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", ADD, str(tmp_path), name]) for name in ("eval", "svm")]
    assert [writer.wait(300) for writer in writers] == [0, 0]
    found = json.loads((tmp_path / "results.json").read_text())
    assert len(found) == 200
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_results_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "gone")
    with pytest.raises(UserError, match=r"results.json: can't be written"):
        add_results(folder, "eval", {})
    assert read_results(folder) == {}
