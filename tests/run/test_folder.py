from __future__ import annotations

import json
from pathlib import Path

import pytest

from swav_cli.errors import UserError
from swav_cli.run.folder import RunFolder, choose_folder
from swav_cli.run.results import add_results, read_results
from tests.processes import start

ADD = """
import sys
from pathlib import Path
from swav_cli.run.folder import RunFolder
from swav_cli.run.results import add_results
for number in range(20):
    add_results(RunFolder(Path(sys.argv[1])), f"{sys.argv[2]} {number}", {"top1": number}, sys.exit)
"""


def test_of_two_commands_that_end_at_once_both_results_are_kept(tmp_path: Path) -> None:
    writers = [start(ADD, tmp_path, name, module="-c", cwd=tmp_path) for name in ("eval", "svm")]
    assert [writer.wait(300) for writer in writers] == [0, 0]
    found = json.loads((tmp_path / "results.json").read_text())
    assert len(found) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_folder_whose_name_is_no_utf8(tmp_path: Path) -> None:
    """Its model would be written, and read by nobody: safetensors takes no such path."""
    with pytest.raises(UserError, match=r"--out .*/f\udcff: is no UTF-8, .*; name another"):
        choose_folder(tmp_path / "f\udcff", resume=True, overwrite=False)


def test_results_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    folder, notices = RunFolder(tmp_path / "gone"), []
    folder.path.write_text("a file")
    add_results(folder, "eval", {}, notices.append)
    assert notices == [f"{folder.results}: can't be written (File exists); these numbers are only shown"]
    assert read_results(folder) == {}
