"""Processes that read pictures: killed ones are replaced, and small shared memory does without it; nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from swav_cli.core.multicrop import MultiCrop
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading import loader
from swav_cli.data.reading.limits import Limits
from swav_cli.data.reading.loader import Batch, Order, load_batches
from swav_cli.data.reading.readers import Killed, Readers
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe

from .test_loader import same

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes of Unix")

KINDS = [CropRecipe(count=2, size=16, scale=(0.4, 1.0)), CropRecipe(count=1, size=8, scale=(0.2, 0.5))]
MAKE = MultiCrop(KINDS, AugmentRecipe(), seed=3)
COUNT, BATCH, EPOCHS = 22, 6, 6


def order(first_step: int = 0, parts: int = 1) -> Order:
    return Order(COUNT, BATCH, EPOCHS, 3, first_step, parts)


@pytest.fixture(scope="module")
def shapes() -> Pictures:
    return open_pictures(f"shapes:{COUNT}")


@pytest.fixture(scope="module")
def undisturbed(shapes: Pictures) -> list[Batch]:
    return list(load_batches(shapes, MAKE, order(), 0))


def kill_one(by: int = signal.SIGKILL) -> Any:
    child = multiprocessing.active_children()[0]
    os.kill(child.pid or 0, by)
    return child


def kill_during(batches: Generator[Batch, None, None], *at: int) -> list[Batch]:
    """All batches; one of the workers is killed after each of those numbers of them."""
    found: list[Batch] = []
    for batch in batches:
        found.append(batch)
        if len(found) in at:
            kill_one().join()  # a second one would else be the same
    return found


# --- the order, from any batch on ---------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("first", [0, 4])
def test_an_order_goes_on_after_any_batch(first: int, parts: int) -> None:
    whole = list(order(first, parts))
    for batches in range(len(whole) + 1):
        rest = order(first, parts).after(batches)
        assert list(rest) == whole[batches:]
        assert len(rest) == len(whole) - batches
        for more in range(0, len(rest) + 1, 2):
            assert list(rest.after(more)) == whole[batches + more :]


# --- killed workers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [(1,), (7,), (2, 3, 12)])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_replaced(
    workers: int, at: tuple[int, ...], shapes: Pictures, undisturbed: list[Batch], capsys: pytest.CaptureFixture[str]
) -> None:
    found = kill_during(load_batches(shapes, MAKE, order(), workers), *at)
    assert len(found) == len(undisturbed)
    assert all(map(same, found, undisturbed))
    said = capsys.readouterr().err.splitlines()
    assert said == ["a process that reads pictures was ended by SIGKILL; reading goes on with new ones"] * len(at)
    assert not multiprocessing.active_children()


def test_in_the_middle_of_a_step_of_several_parts(shapes: Pictures) -> None:
    whole = list(load_batches(shapes, MAKE, order(parts=3), 0))
    found = kill_during(load_batches(shapes, MAKE, order(parts=3), 2), 2, 13)
    assert len(found) == len(whole)
    assert all(map(same, found, whole))


def test_killed_while_the_run_waits_for_it(
    shapes: Pictures, undisturbed: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main process is inside `next`; it need not wait until torch looks at its processes, a while later."""
    look = _MultiProcessingDataLoaderIter._try_get_data
    assert look.__defaults__ == (5,)  # seconds
    monkeypatch.setattr(look, "__defaults__", (100,))
    stopped, notices = threading.Event(), []
    batches = load_batches(shapes, MAKE, order(), 1, notice=notices.append)
    found = [next(batches)]
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid or 0, signal.SIGSTOP)  # nothing comes any more

    def kill_soon() -> None:
        stopped.wait(0.5)
        kill_one()

    killer = threading.Thread(target=kill_soon)
    killer.start()
    began = time.monotonic()
    found += batches
    killer.join()
    assert time.monotonic() - began < 50
    assert len(notices) == 1
    assert all(map(same, found, undisturbed))


def test_killed_while_the_run_computes(shapes: Pictures) -> None:
    """What is raised at any moment could leave a training step half done: nothing is, before the next batch."""
    batches = load_batches(shapes, MAKE, order(), 2, notice=lambda message: None)
    next(batches)
    kill_one()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        sum(range(1000))
    assert signal.getsignal(signal.SIGCHLD) in (signal.SIG_DFL, signal.SIG_IGN)
    next(batches)
    batches.close()


def test_two_that_end_at_once_are_both_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes just when the system has told of one's end must not make it forgotten."""
    readers = Readers(loader.DataLoader(range(1000), num_workers=2, worker_init_fn=loader.start_worker))  # type: ignore[arg-type]
    next(readers)
    both = list(readers._processes)
    for each in both:
        os.kill(each.pid or 0, signal.SIGKILL)
        os.waitid(os.P_PID, each.pid or 0, os.WEXITED | os.WNOWAIT)
    plain = os.waitpid

    def told_and_signalled(pid: int, options: int) -> tuple[int, int]:
        found = plain(pid, options)
        if found[0]:
            signal.raise_signal(signal.SIGCHLD)
        return found

    monkeypatch.setattr(os, "waitpid", told_and_signalled)
    with pytest.raises(Killed):
        next(readers)
    assert [each.exitcode for each in both] == [-signal.SIGKILL, -signal.SIGKILL]
    readers.close()


def test_killed_too_often(shapes: Pictures) -> None:
    notices: list[str] = []
    with pytest.raises(UserError) as raised:
        kill_during(load_batches(shapes, MAKE, order(), 1, notice=notices.append), 1, 2, 3, 4)
    assert len(notices) == 3
    message = str(raised.value)
    assert "ended by SIGKILL (out of memory?); use fewer --workers, or give more memory" in message
    assert "\n" not in message
    assert not multiprocessing.active_children()


def test_killed_with_the_lock_in_hand_that_ends_the_others(shapes: Pictures) -> None:
    """Each worker takes it for a moment with each batch, and torch waits for it."""
    plain = loader.DataLoader(range(1000), num_workers=2, worker_init_fn=loader.start_worker)  # type: ignore[arg-type]
    readers = Readers(plain)
    next(readers)
    readers._batches._workers_done_event._cond.acquire()  # type: ignore[attr-defined]
    kill_one().join()
    with pytest.raises(Killed):
        list(readers)
    closing = threading.Thread(target=readers.close, daemon=True)
    closing.start()
    closing.join(60)
    assert not closing.is_alive()
    assert not multiprocessing.active_children()


def test_another_loader_says_it_in_one_line(shapes: Pictures) -> None:
    plain = loader.DataLoader(range(1000), num_workers=1, worker_init_fn=loader.start_worker)  # type: ignore[arg-type]
    readers = Readers(plain)
    next(readers)
    kill_one(signal.SIGBUS)
    with pytest.raises(Killed, match=r"ended by SIGBUS \(shared memory full\?\)"):
        list(readers)
    readers.close()


def test_shared_memory_that_becomes_full(shapes: Pictures, undisturbed: list[Batch]) -> None:
    """The system ends whoever writes to it by SIGBUS; what is left comes through pipes."""
    batches = load_batches(shapes, MAKE, order(), 1, notice=lambda message: None)
    found = [next(batches)]
    kill_one(signal.SIGBUS).join()
    found += batches
    assert all(map(same, found, undisturbed))
    assert found[0].crops[0].is_shared()
    assert not found[-1].crops[0].is_shared()


def test_a_batch_that_cannot_be_put_into_shared_memory(
    shapes: Pictures, undisturbed: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be lost, and the run would wait for it for ever."""

    def full(storage: Any, *_: Any) -> Any:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", full)
    notices: list[str] = []
    found = list(load_batches(shapes, MAKE, order(), 2, notice=notices.append))
    assert all(map(same, found, undisturbed))
    assert len(found) == len(undisturbed)
    assert notices == [
        "a process that reads pictures was ended by a lack of shared memory or of open files; reading goes on with new "
        "ones"
    ]


def test_a_mistake_of_ours_is_no_killed_worker(shapes: Pictures) -> None:
    def fail(*_: Any) -> Any:
        if multiprocessing.parent_process() is not None:
            raise ZeroDivisionError("ours")
        return MAKE(*_)

    with pytest.raises(ZeroDivisionError, match="ours"):
        list(load_batches(shapes, fail, order(), 1))


# --- pipes in place of shared memory ------------------------------------------------------------------------------


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "limits", lambda: Limits(1000, 20000))


@pytest.mark.usefixtures("no_room")
@pytest.mark.parametrize("workers", [1, 2])
def test_through_pipes(
    workers: int, shapes: Pictures, undisturbed: list[Batch], capsys: pytest.CaptureFixture[str]
) -> None:
    found = list(load_batches(shapes, MAKE, order(), workers))
    assert len(found) == len(undisturbed)
    assert all(map(same, found, undisturbed))
    for batch, plain in zip(found, undisturbed, strict=True):
        assert not any(tensor.is_shared() for tensor in (*batch.crops, batch.numbers, batch.indices))
        assert [crops.stride() for crops in batch.crops] == [crops.stride() for crops in plain.crops]
        batch.crops[0][0] = 0  # it may be written to
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("/dev/shm has 0 MB free of the ")
    assert said.endswith("; pictures come through pipes instead, which takes a little longer")


def test_in_shared_memory_where_there_is_room(
    shapes: Pictures, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loader, "limits", lambda: Limits(1e9, 20000))
    for batch in load_batches(shapes, MAKE, order(), 1):
        assert batch.crops[0].is_shared()
    assert capsys.readouterr().err == ""


def test_fewer_are_read_ahead_before_pipes_are_taken(
    shapes: Pictures, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Room for two batches in use and two ready: one of each worker."""
    (batch,) = list(load_batches(shapes, MAKE, order(), 0))[:1]
    size = sum(tensor.nbytes for tensor in (*batch.crops, batch.numbers, batch.indices))
    monkeypatch.setattr(loader, "limits", lambda: Limits(4.5 * size, 20000))
    taken = []
    start = loader._start
    monkeypatch.setattr(loader, "_start", lambda made: (taken.append(made.prefetch_factor), start(made))[1])
    assert all(each.crops[0].is_shared() for each in load_batches(shapes, MAKE, order(), 2))
    assert taken == [1]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("no_room")
def test_killed_halfway_through_a_message(shapes: Pictures) -> None:
    """A large batch fills the pipe, and its worker waits for room when it is killed; the rest of it never comes."""
    large = MultiCrop([CropRecipe(count=2, size=224, scale=(0.4, 1.0))], AugmentRecipe(), seed=3)
    whole = list(load_batches(shapes, large, order(), 0))
    notices: list[str] = []
    batches = load_batches(shapes, large, order(), 2, notice=notices.append)
    found = [next(batches)]
    time.sleep(0.5)  # the pipe is full by now
    for child in multiprocessing.active_children():
        os.kill(child.pid or 0, signal.SIGKILL)
    found += batches
    assert all(map(same, found, whole))
    assert len(found) == len(whole)
    assert len(notices) == 2  # that of pipes, and that of the killed


RUN = f"""
import resource
import torch
from swav_cli.core.multicrop import MultiCrop
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe
from swav_cli.data.reading.loader import Order, load_batches
from swav_cli.data.sources import open_pictures
kinds = [CropRecipe(count=2, size=16, scale=(0.4, 1.0)), CropRecipe(count=1, size=8, scale=(0.2, 0.5))]
make = MultiCrop(kinds, AugmentRecipe(), seed=3)
kept = list(load_batches(open_pictures("shapes:{COUNT}"), make, Order({COUNT}, {BATCH}, {EPOCHS}, 3), WORKERS))
torch.save([tuple(batch) for batch in kept], PATH)
"""


@pytest.mark.parametrize(("files", "workers"), [(48, 2), (256, 12)])
def test_few_open_files(files: int, workers: int, undisturbed: list[Batch], tmp_path: Path) -> None:
    """All batches of a run are kept, each of which would take a file for each of its tensors."""
    code = RUN.replace("WORKERS", str(workers)).replace("PATH", repr(str(tmp_path / "batches.pt")))
    shell = f'ulimit -n {files} && exec "$0" "$@"'
    said = subprocess.run(
        ["bash", "-c", shell, sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert said.returncode == 0, said.stderr
    assert f"{files} files may be open at once of the " in said.stderr
    found = [Batch(*batch) for batch in torch.load(tmp_path / "batches.pt")]
    assert all(map(same, found, undisturbed))
    assert len(found) == len(undisturbed)


def test_too_few_open_files_for_so_many_workers(tmp_path: Path) -> None:
    code = RUN.replace("WORKERS", "40").replace("PATH", repr(str(tmp_path / "batches.pt")))
    said = subprocess.run(
        ["bash", "-c", 'ulimit -n 64 && exec "$0" "$@"', sys.executable, "-c", code],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].endswith("raise its limit with ulimit -n, or use fewer --workers")
