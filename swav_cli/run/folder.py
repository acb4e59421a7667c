"""A run's folder: what lies where, where a new run goes, one process at a time, what is removed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from swav_cli.data.paths import expanded
from swav_cli.errors import UserError
from swav_cli.files import held
from swav_cli.parallel.place import was_restarted
from swav_cli.writable import check_place, check_utf8


class RunFolder(NamedTuple):
    """Where the files of a run are."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def prototypes(self) -> Path:
        return self.path / "prototypes.png"

    @property
    def bad_pictures(self) -> Path:
        return self.path / "bad-pictures.txt"

    @property
    def labelled(self) -> Path:
        return self.path / "labelled.txt"

    @property
    def confusion(self) -> Path:
        return self.path / "confusion.csv"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tracking(self) -> Path:
        return self.path / "tracking"

    @property
    def flight(self) -> Path:
        """What torch's flight recorder left after a time-out."""
        return self.path / "flight"

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.pt"

    @property
    def previous(self) -> Path:
        return self.checkpoints / "previous.pt"


@contextmanager
def only_process_in(folder: RunFolder) -> Iterator[None]:
    """Hold the folder, so that the same command typed twice does not train twice into it; ends with the process.

    Raises:
        UserError: another process holds it, or it can't be written.
    """

    def busy() -> None:
        raise UserError(f"{folder.path}: another process is training here; wait for it, or give --out")

    with ExitStack() as lock:
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            lock.enter_context(held(folder.lock, busy))
            for part in folder.checkpoints.glob(".*.part"):  # a killed process left it
                part.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder.path}: can't be written ({error.strerror}); give another folder with --out"
            ) from None
        yield


@contextmanager
def only_run_in(folder: RunFolder) -> Iterator[None]:
    """`only_process_in` for all processes of a run: the first one holds the folder, and what it meets, all meet."""
    from swav_cli.parallel.flight import leave_traces_in  # torch, which who only looks at runs need not wait for
    from swav_cli.parallel.processes import first_decides

    with ExitStack() as held:
        first_decides(lambda: held.enter_context(only_process_in(folder)))
        leave_traces_in(folder.flight)
        yield


def choose_folder(out: Path, resume: bool, overwrite: bool) -> Path:
    """The run's folder.

    Raises:
        UserError: it holds something else.
    """
    out = expanded(out)
    if not resume and not overwrite:
        out = _newest(out) if was_restarted() else _next_free(out)
    check_utf8(out, "--out")
    # A run that is there may be finished, and nothing is written. Unlike the path's own method of a name of any length.
    if overwrite or not os.path.exists(RunFolder(out).recipe):
        check_place(out, "--out", is_folder=True)
    if out.is_dir() and any(out.iterdir()) and not RunFolder(out).recipe.exists():
        raise UserError(f"{out}: holds other files and no run; give another folder with --out")
    return out


def _next_free(out: Path) -> Path:
    number, free = 2, out
    while os.path.exists(free):
        free = out.with_name(f"{out.name}-{number}")
        number += 1
    return free


def _newest(out: Path) -> Path:
    """The folder that `_next_free` gave before processes died and torchrun started them again."""
    number = 2
    while os.path.exists(out.with_name(f"{out.name}-{number}")):
        number += 1
    return out if number == 2 else out.with_name(f"{out.name}-{number - 1}")


def clear(folder: RunFolder) -> None:
    """Remove what a run writes, and nothing else."""
    for path in (
        folder.metrics,
        folder.results,
        folder.model,
        folder.prototypes,
        folder.bad_pictures,
        folder.labelled,
        folder.confusion,
        *folder.checkpoints.glob("*.pt"),
    ):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder.tracking, ignore_errors=True)
    shutil.rmtree(folder.flight, ignore_errors=True)
