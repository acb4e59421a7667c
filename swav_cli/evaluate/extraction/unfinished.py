"""Rows that are still being computed, in a folder beside the file that they will become.

    feats.npy.part/
      settings.json      what the rows depend on; there from the beginning
      rows.npy           the rows, each in its place
      done               a byte a row: 1 once the row is on the disk
      failures-0.jsonl   rows of pictures that can't be read, a file a process
      final/             all other files, once they are complete: from here on they are only moved

Rows are written to the file and not to mapped memory: a full disk is an error then, and no crash.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from swav_cli.errors import UserError
from swav_cli.evaluate.extraction.writers import Output, Table
from swav_cli.files import held, write_json

OURS = re.compile(r"rows\.npy|done|failures-\d+\.jsonl|final(\.part)?|\.lock|\.settings\.json(\.[0-9a-f]{8})?\.part")
SAVE_SECONDS = 2.0  # between moments at which rows count as done; a kill loses no more


class Unfinished:
    """The rows of one output on their way."""

    def __init__(self, output: Output) -> None:
        self.output, self.folder = output, output.unfinished
        self._settings, self._rows, self._done = (self.folder / name for name in ("settings.json", "rows.npy", "done"))
        self._final, self._lock_file = self.folder / "final", self.folder / ".lock"
        self._lock = ExitStack()

    def settings(self) -> dict[str, Any] | None:
        """What the rows depend on; None where no work was begun.

        Raises:
            UserError: something else has this name.
        """
        try:
            return dict(json.loads(self._settings.read_text(encoding="utf-8")))
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            raise UserError(
                f"{self.folder}: is no unfinished work of swav; move it away, or give another --out"
            ) from None
        strange = [path for path in self.folder.glob("*") if not OURS.fullmatch(path.name)]
        if strange:
            raise UserError(f"{strange[0]}: is in the way; move it away, or give another --out")
        return None

    def hold(self) -> None:
        """Keep other commands out; ends with the process.

        Raises:
            UserError: another one is at work here.
        """

        def busy() -> None:
            raise UserError(f"{self.output.path}: another process is writing it; wait for it, or give --out")

        self.folder.mkdir(exist_ok=True)
        self._lock.enter_context(held(self._lock_file, busy))

    def release(self) -> None:
        self._lock.close()

    def begin(self, settings: dict[str, Any], shape: Sequence[int]) -> None:
        """Make the files anew; earlier work in this folder is lost."""
        self._settings.unlink(missing_ok=True)  # first, since they vouch for the rest
        for path in self.folder.iterdir():
            if path != self._lock_file:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        header = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
        with open(self._rows, "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + 4 * int(np.prod(shape, dtype=np.int64)))
        self._done.write_bytes(bytes(shape[0]))
        write_json(self._settings, settings)

    def is_complete(self) -> bool:
        """All files are made and need only be moved."""
        return self._final.exists()

    def to_do(self) -> NDArray[np.int64]:
        """Rows that are not there yet."""
        return np.flatnonzero(np.fromfile(self._done, dtype=np.uint8) == 0)

    def occupied(self) -> int:
        """Bytes on the disk; a file with holes takes less than its length."""
        if not self._rows.exists():
            return 0
        status = self._rows.stat()
        return min(status.st_size, 512 * getattr(status, "st_blocks", 0))

    def rows(self) -> NDArray[np.float32]:
        """All rows, read from the disk as they are needed."""
        # Copied where written to: nobody writes, and torch warns of arrays that can't be.
        return np.load(self._rows, mmap_mode="c")  # type: ignore[no-any-return]

    def failures(self) -> list[tuple[int, str]]:
        """Rows of pictures that can't be read, in order, and why."""
        found: dict[int, str] = {}
        for path in sorted(self.folder.glob("failures-*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    row, reason = json.loads(line)
                except ValueError:
                    continue  # half a line, where the process was killed: its row was not marked as done
                found[row] = reason
        return sorted(found.items())

    def finish(self, table: Table) -> None:
        """Make all files, then move them to their places, the description last. Can be called again after a kill."""
        if not self.is_complete():
            making = self.folder / "final.part"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            self.output.write_into(making, table)
            write_json(making / self.output.description.name, table.description)
            for path in making.iterdir():
                shutil.copymode(self._settings, path)  # safetensors makes files that nobody else may read
            os.replace(making, self._final)
        if self.output.format.write is None and self._rows.exists():
            os.replace(self._rows, self.output.path)
        for path in self.output.files():
            if (self._final / path.name).exists():
                os.replace(self._final / path.name, path)
            elif path == self.output.labels and table.labels is None:
                path.unlink(missing_ok=True)  # of what is replaced
        shutil.rmtree(self.folder)  # while it is held, so that no other command has begun work in it
        self.release()


class RowWriter:
    """Writes rows to their places for one process, and marks them as done now and then."""

    def __init__(self, unfinished: Unfinished, rank: int) -> None:
        folder = unfinished.folder
        rows = np.load(folder / "rows.npy", mmap_mode="r")
        self._offset, self._row_bytes = int(rows.offset), 4 * int(np.prod(rows.shape[1:], dtype=np.int64))
        self._rows = open(folder / "rows.npy", "r+b", buffering=0)  # noqa: SIM115  (closed by `close`)
        self._done = open(folder / "done", "r+b", buffering=0)  # noqa: SIM115
        self._failures = open(folder / f"failures-{rank}.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        self._failures.write("\n" if self._failures.tell() else "")  # ends half a line that a kill left
        self._unmarked: list[NDArray[np.int64]] = []
        self._saved_at = time.monotonic()

    def write(
        self, indices: NDArray[np.int64], values: NDArray[np.float32], failures: Iterable[tuple[int, str]]
    ) -> None:
        """Rows with ascending numbers."""
        for own in _runs(indices):
            self._rows.seek(self._offset + int(indices[own.start]) * self._row_bytes)
            _write_all(self._rows, np.ascontiguousarray(values[own], dtype="<f4"))
        for row, reason in failures:
            self._failures.write(json.dumps([row, reason]) + "\n")
        self._unmarked.append(indices)
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """First the rows, then their marks: what is marked is there, whatever happens."""
        self._failures.flush()
        for file in (self._rows.fileno(), self._failures.fileno()):
            os.fsync(file)
        for indices in self._unmarked:
            for own in _runs(indices):
                self._done.seek(int(indices[own.start]))
                self._done.write(b"\1" * (own.stop - own.start))
        os.fsync(self._done.fileno())
        self._unmarked.clear()
        self._saved_at = time.monotonic()

    def close(self) -> None:
        for file in (self._rows, self._done, self._failures):
            file.close()


def _runs(indices: NDArray[np.int64]) -> list[slice]:
    """Where neighbours follow each other."""
    ends = [*(np.flatnonzero(np.diff(indices) != 1) + 1).tolist(), len(indices)]
    return [slice(first, last) for first, last in zip([0, *ends[:-1]], ends, strict=True) if last > first]


def _write_all(file: IO[bytes], values: NDArray[np.float32]) -> None:
    """A write to a file without a buffer may take less than it is given."""
    rest = values.reshape(-1).view(np.uint8).data
    while rest:
        rest = rest[file.write(rest) :]
