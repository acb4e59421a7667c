from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest
import torch

from swav_cli.errors import UserError
from swav_cli.run.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from swav_cli.run.folder import RunFolder, only_process_in
from tests.processes import run


def state(step: int) -> dict[str, object]:
    return {"step": step, "model": {"weight": torch.arange(1000.0)}, "bad": {3: "empty"}}


def test_saved_and_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert newest_checkpoint(folder, pytest.fail) is None
    save_checkpoint(folder, state(1))
    save_checkpoint(folder, state(2))
    read = newest_checkpoint(folder, pytest.fail)
    assert read is not None
    assert read["step"] == 2
    assert torch.equal(read["model"]["weight"], torch.arange(1000.0))
    assert load_checkpoint(folder.previous)["step"] == 1


def flip_a_bit(path: Path, where: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["flip early", "flip in the tensor", "cut", "empty", "other file"])
def test_a_damaged_last_one_is_passed_over_with_a_notice(tmp_path: Path, damage: str) -> None:
    folder, notices = RunFolder(tmp_path), []
    save_checkpoint(folder, state(1))
    save_checkpoint(folder, state(2))
    if damage == "flip early":
        flip_a_bit(folder.last, 0.02)
    elif damage == "flip in the tensor":
        flip_a_bit(folder.last, 0.5)
    else:
        content = folder.last.read_bytes()
        folder.last.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "other file": b"hello"}[damage])
    read = newest_checkpoint(folder, notices.append)
    assert read is not None
    assert read["step"] == 1
    assert len(notices) == 1
    assert "last.pt" in notices[0]


def test_no_readable_one_is_an_error_and_not_a_new_beginning(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    save_checkpoint(folder, state(1))
    folder.last.write_bytes(b"")
    with pytest.raises(UserError, match="no checkpoint can be read; begin again with --overwrite"):
        newest_checkpoint(folder, lambda text: None)


def test_a_death_between_the_two_moves_loses_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    save_checkpoint(folder, state(1))
    save_checkpoint(folder, state(2))
    os.replace(folder.last, folder.checkpoints / "next.pt")
    read = newest_checkpoint(folder, pytest.fail)
    assert read is not None
    assert read["step"] == 2


NO_ROOM = """
import resource, signal, sys, torch
from pathlib import Path
from safetensors.torch import save_file
from swav_cli.run.folder import RunFolder
from swav_cli.run.checkpoint import newest_checkpoint, save_checkpoint
from swav_cli.errors import UserError
from swav_cli.files import write_whole
folder = RunFolder(Path(sys.argv[1]))
save_checkpoint(folder, {"step": 1})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
large = {"weight": torch.zeros(1_000_000)}
for write in (
    lambda: save_checkpoint(folder, {"step": 2, **large}),
    lambda: write_whole(folder.model, lambda beside: save_file(large, beside)),
    lambda: write_whole(folder.metrics, lambda beside: beside.write_bytes(bytes(1_000_000))),
):
    try:
        write()
    except UserError as error:
        print(error)
print(newest_checkpoint(folder, print)["step"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_no_room_on_the_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    done = run(NO_ROOM, tmp_path, module="-c", cwd=tmp_path)
    *lines, step = done.stdout.splitlines()
    assert [line.split(":")[1].split("(")[0] for line in lines] == [" can't be written "] * 3, done.stdout + done.stderr
    assert step == "1"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["last.pt"]


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch owned",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": "swav-run-1", "evil": Evil()}, tmp_path / "evil.pt")
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()


def test_a_file_of_another_tool_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="not a checkpoint of a swav run"):
        load_checkpoint(tmp_path / "other.pt")


def test_only_one_process_trains_in_a_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from swav_cli.run.folder import RunFolder, only_process_in\n"
        "with only_process_in(RunFolder(Path(sys.argv[1]))): print('held')"
    )
    command = (code, tmp_path)
    with only_process_in(RunFolder(tmp_path)):
        blocked = run(*command, module="-c", cwd=tmp_path)
        assert "another process is training here" in blocked.stderr
    assert run(*command, module="-c", cwd=tmp_path).stdout == "held\n"


def test_what_a_killed_process_left_is_removed_by_the_next_that_trains_there(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    save_checkpoint(folder, state(1))
    left = folder.checkpoints / ".next.pt.0a1b2c3d.part"
    left.write_bytes(b"half")
    with only_process_in(folder):
        assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["last.pt"]
