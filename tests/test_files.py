from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from swav_cli.errors import UserError
from swav_cli.files import (
    clear_left_behind,
    held,
    is_held,
    part_beside,
    replacing,
    write_as_text,
    write_json,
    write_text,
    write_whole,
)
from swav_cli.writable import check_place, is_pipe_or_device

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes, devices and locks of POSIX")


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


# --- whole or not at all --------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "before")

    def fails(beside: Path) -> None:
        beside.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"file.txt: can't be written \(No space left on device\)"):
        write_whole(path, fails)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_signal_leaves_nothing_half_made(tmp_path: Path) -> None:
    def ended(stream: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_as_text(tmp_path / "answers.csv", ended)
    assert list(tmp_path.iterdir()) == []


def test_two_that_write_one_file_at_once_each_leave_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with replacing(path) as first:
        first.write_text("first " * 10)
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        assert first.read_text() == "first " * 10
    assert path.read_text() == "first " * 10
    assert hidden(tmp_path) == []


def test_what_is_there_meanwhile_can_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"

    def late() -> None:
        with replacing(path, keep=True) as part:
            part.write_text("late")
            path.write_text("early")

    with pytest.raises(FileExistsError):
        late()
    assert path.read_text() == "early"
    assert hidden(tmp_path) == []


@POSIX
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_files_have_the_rights_that_the_user_gives_to_new_ones(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "text")
        # safetensors makes files that nobody else may read
        write_whole(tmp_path / "a.safetensors", lambda part: save_file({"x": torch.zeros(2)}, part))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {mode}


@POSIX
def test_what_is_replaced_keeps_its_rights(tmp_path: Path) -> None:
    for name, mode in (("mine.txt", 0o600), ("ours.txt", 0o664), ("kept.txt", 0o444)):
        (tmp_path / name).write_text("before")
        (tmp_path / name).chmod(mode)
        write_text(tmp_path / name, "after")
        assert (tmp_path / name).read_text() == "after"
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


@pytest.mark.parametrize("name", ["y" * 255, "y" * 250 + ".csv", "é" * 127, "日" * 85])
def test_a_name_as_long_as_any_can_be_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be written"):
        write_text(tmp_path / ("y" * 300), "text")
    with pytest.raises(UserError, match=r"--out y+: can't be written .*; give another name"):
        check_place(Path("y" * 300), "--out")
    with pytest.raises(UserError, match="--out"):
        check_place(tmp_path / ("y" * 300) / "answers.csv", "--out")


def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    old, fresh, stage, others = part_beside(path), part_beside(path), part_beside(path), part_beside(tmp_path / "b.txt")
    mine = tmp_path / ".file.txt.mine.part"
    for part in (old, fresh, others, mine):
        part.write_text("half")
    (stage / "below").mkdir(parents=True)
    for part in (old, others, mine, stage):
        os.utime(part, (time.time() - 100_000,) * 2)
    write_text(path, "text")
    assert sorted(tmp_path.iterdir()) == sorted([path, fresh, others, mine])
    clear_left_behind(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([path, fresh, mine])


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": float("-inf")}})
    assert "NaN" not in (tmp_path / "r.json").read_text()
    assert (tmp_path / "r.json").read_text().count("null") == 3


# --- what stands at the place ---------------------------------------------------------------------------------------


@POSIX
def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "target.txt").write_text("before")
    for name, target in (("link.txt", "elsewhere/target.txt"), ("to-come.txt", "elsewhere/new.txt")):
        (tmp_path / name).symlink_to(target)
        check_place(tmp_path / name, "--out")
        write_text(tmp_path / name, "after")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / target).read_text() == "after"
    assert hidden(tmp_path) == hidden(tmp_path / "elsewhere") == []


@POSIX
def test_links_in_a_ring_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UserError, match="can't be written"):
        write_text(tmp_path / "a", "text")
    with pytest.raises(UserError, match="can't be written"):
        check_place(tmp_path / "a", "--out")


def whole(path: Path, content: str) -> None:
    write_whole(path, lambda part: part.write_text(content) and None)


@POSIX
@pytest.mark.parametrize("write", [write_text, whole])
def test_a_pipe_is_written_into(tmp_path: Path, write: object) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text()))
    reader.start()
    check_place(tmp_path / "pipe", "--out")
    write(tmp_path / "pipe", "a,b\n" * 30_000)  # type: ignore[operator]  # more than a pipe holds
    reader.join()
    assert received == ["a,b\n" * 30_000]
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


@POSIX
@pytest.mark.parametrize("write", [write_text, whole])
def test_an_open_file_of_this_process_is_written_into_where_it_stands(tmp_path: Path, write: object) -> None:
    with open(tmp_path / "all.csv", "w+") as file:
        file.write("before\n")
        file.flush()
        place = Path(f"/dev/fd/{file.fileno()}")
        assert is_pipe_or_device(place)
        write(place, "between\n")  # type: ignore[operator]
        file.seek(0, os.SEEK_END)
        file.write("after\n")
    assert (tmp_path / "all.csv").read_text() == "before\nbetween\nafter\n"


@POSIX
def test_standard_output_by_its_name_is_no_file(tmp_path: Path) -> None:
    code = "from pathlib import Path; from swav_cli.files import *; write_text(Path('/dev/stdout'), 'text')"
    (tmp_path / "link").symlink_to("/dev/stdout")
    for place in ("/dev/stdout", str(tmp_path / "link")):
        command = [sys.executable, "-c", code.replace("/dev/stdout", place)]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "text"
        with open(tmp_path / "file", "w") as file:
            subprocess.run(command, stdout=file, check=True)
        assert (tmp_path / "file").read_text() == "text"


@POSIX
def test_a_device_stays_one(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.read_bytes()
    except OSError:
        pytest.skip("no right to make a device")
    check_place(device, "--out")
    write_text(device, "text")
    whole(device, "text")
    assert stat.S_ISCHR(os.stat(device).st_mode)
    assert hidden(tmp_path) == []


@POSIX
def test_what_is_neither_file_nor_stream_is_refused(tmp_path: Path) -> None:
    import socket

    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening, pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)  # names of sockets are short
        listening.bind("socket")
        for name in ("folder", "socket"):
            with pytest.raises(UserError, match=f"{name}: can't be written"):
                write_text(Path(name), "text")
            with pytest.raises(UserError, match=f"--out {name}: is "):
                check_place(Path(name), "--out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "socket"]


# --- the lock -------------------------------------------------------------------------------------------------------


def refuse() -> None:
    raise UserError("held")


@POSIX
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path, kind: str) -> None:
    place = tmp_path if kind == "folder" else tmp_path / ".lock"
    with held(place), pytest.raises(UserError, match="held"), held(place, refuse):
        pass
    with held(place, refuse):
        pass
    assert hidden(tmp_path) == ([] if kind == "folder" else [".lock"])


@POSIX
def test_who_looks_whether_a_lock_is_held_keeps_nobody_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    place, lock = tmp_path / ".lock", fcntl.flock
    assert is_held(place) is False
    assert hidden(tmp_path) == []  # none is made
    with held(place):
        assert is_held(place) is True
    assert is_held(place) is False
    looking = os.open(place, os.O_RDONLY)
    lock(looking, fcntl.LOCK_SH)
    tries = []

    def after_a_look(handle: int, how: int) -> None:
        tries.append(how)
        if len(tries) == 3:  # to hold it, to see who has it, and to leave that again
            os.close(looking)
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", after_a_look)
    with held(place, refuse):
        assert len(tries) >= 4


@POSIX
def test_whether_a_lock_is_held_that_cannot_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refused(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / ".lock").touch()
    monkeypatch.setattr(fcntl, "flock", refused)
    assert is_held(tmp_path / ".lock") is None


@POSIX
def test_a_folder_on_a_disk_that_locks_only_what_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS does."""
    import fcntl

    lock = fcntl.flock

    def of_nfs(handle: int, how: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", of_nfs)
    with held(tmp_path), pytest.raises(UserError, match="held"), held(tmp_path, refuse):
        pass


@POSIX
def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    waits, order = threading.Event(), []

    def second() -> None:
        with held(tmp_path, waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with held(tmp_path):
        thread.start()
        assert waits.wait(60)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@POSIX
def test_a_lock_that_was_removed_while_it_was_waited_for_is_taken_anew(tmp_path: Path) -> None:
    lock, waits, found = tmp_path / ".lock", threading.Event(), []

    def second() -> None:
        with held(lock, waits.set):
            found.append(lock.exists())

    thread = threading.Thread(target=second)
    with held(lock):
        thread.start()
        assert waits.wait(60)
        lock.unlink()
    thread.join()
    assert found == [True]
