"""What is known of pictures, kept in the folder of clusters: of a folder that grew, only new pictures are computed.

    clusters/kept/
      made.json          by which model and how precisely
      space.npz          where pictures are compared
      centres.npz        the clusters, and the group of each
      layout.npz         the map of the pictures, where one was asked for
      part-00000.npz     some thousand pictures, a row each; parts are never changed

A part is written whole or not at all, so that stopped work goes on behind the last one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.pictures import Pictures
from swav_cli.errors import UserError
from swav_cli.evaluate.clustering.space import Space
from swav_cli.files import write_json, write_whole

KEPT_FORMAT = "swav-clusters-1"
END = b"\0"  # of each text: in no name of a file


class Stamp(NamedTuple):
    """By which a changed file is told: its length and when it was written."""

    length: int
    written: int  # nanoseconds


class Row(NamedTuple):
    """All that is known of some pictures, a row each; also as files hold it."""

    points: NDArray[np.float32]  # (N, D)
    assigned: NDArray[np.float32]  # (N, 4) see `nearest_of`; (N, 0) where the model has no prototypes
    digest: NDArray[np.uint8]  # (N, 16) of the decoded pixels
    size: NDArray[np.int32]  # (N, 2) height and width in pixels
    shrunk: NDArray[np.uint8]  # (N, 192) the pixels, shrunk to 8 by 8
    errors: list[str]  # why a picture can't be read; empty where it can


class Places(NamedTuple):
    """Where pictures are kept."""

    at: NDArray[np.int32]  # (N, 2) part and row; -1 where a picture is not known
    changed: int  # of those that are not known: whose files were others before
    gone: int  # pictures that are kept, and not among those asked for


ARRAYS = tuple(name for name in Row._fields if name != "errors")


class Kept:
    """The rows in a folder of clusters.

    Args:
        made: what they depend on.
    """

    def __init__(self, folder: Path, made: dict[str, Any]) -> None:
        self.folder, self.made = folder, {"format": KEPT_FORMAT, **made}
        names = ("made.json", "space.npz", "centres.npz", "layout.npz")
        self._described, self._space, self._centres, self._layout = (folder / name for name in names)

    def before(self) -> dict[str, Any] | None:
        """What the rows that are there depend on; None where there are none."""
        try:
            found = json.loads(self._described.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or found.get("format") != KEPT_FORMAT:
            raise UserError(f"{self._described}: was not written by this version of swav clusters; give another --out")
        return found

    def clear(self) -> None:
        """Remove what is kept, and nothing else."""
        for path in (self._described, self._space, self._centres, self._layout, *self.parts()):
            path.unlink(missing_ok=True)

    def beside(self, name: str) -> Kept:
        """The same of other pictures, which are compared with these: in a folder below, in the same space."""
        space = self.space()
        assert space is not None
        made = {**self.made, "space": hashlib.sha256(space.mean.tobytes() + space.axes.tobytes()).hexdigest()[:16]}
        other = Kept(self.folder / name, made)
        if other.before() != other.made:
            other.clear()
            other.begin()
            other.keep_space(space)
        return other

    def begin(self) -> None:
        write_json(self._described, self.made)

    def parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-[0-9]*.npz"))

    def space(self) -> Space | None:
        return Space(**arrays_in(self._space)) if self._space.exists() else None

    def keep_space(self, space: Space) -> None:
        _save(self._space, space._asdict())

    def centres(self) -> dict[str, NDArray[Any]] | None:
        return arrays_in(self._centres) if self._centres.exists() else None

    def keep_centres(self, arrays: dict[str, NDArray[Any]]) -> None:
        _save(self._centres, arrays)

    def layout(self) -> dict[str, NDArray[Any]] | None:
        return arrays_in(self._layout) if self._layout.exists() else None

    def keep_layout(self, arrays: dict[str, NDArray[Any]]) -> None:
        _save(self._layout, arrays)

    def add(self, keys: Sequence[str], stamps: Sequence[Stamp], row: Row) -> None:
        """A further part."""
        parts = self.parts()
        number = int(parts[-1].stem.partition("-")[2]) + 1 if parts else 0
        arrays = {**row._asdict(), "errors": _as_bytes(row.errors), "keys": _as_bytes(keys)}
        arrays["stamps"] = np.array(stamps, dtype=np.int64).reshape(len(keys), 2)
        _save(self.folder / f"part-{number:05d}.npz", arrays)

    def places(self, keys: Sequence[str], stamps: Sequence[Stamp]) -> Places:
        """Where each of the pictures is; the last part that knows it counts."""
        at = {key: number for number, key in enumerate(keys)}
        found = np.full((len(keys), 2), -1, dtype=np.int32)
        changed, gone = np.zeros(len(keys), dtype=bool), set()
        for part, path in enumerate(self.parts()):
            arrays = arrays_in(path, ("keys", "stamps"))
            for row, (key, stamp) in enumerate(zip(_as_texts(arrays["keys"]), arrays["stamps"].tolist(), strict=True)):
                number = at.get(key)
                if number is None:
                    gone.add(key)
                elif tuple(stamp) == tuple(stamps[number]):
                    found[number] = part, row
                else:
                    changed[number] = True
        return Places(found, int((changed & (found[:, 0] < 0)).sum()), len(gone))

    def rows(self, places: NDArray[np.int32]) -> Row:
        """What is known of pictures at these places, in their order."""
        whole: Row | None = None
        for part, path in enumerate(self.parts()):
            own = np.flatnonzero(places[:, 0] == part)
            if not len(own):
                continue
            arrays = arrays_in(path)
            texts = _as_texts(arrays["errors"])
            if whole is None:
                shapes = {name: arrays[name] for name in ARRAYS}
                empty = {n: np.zeros((len(places), *a.shape[1:]), dtype=a.dtype) for n, a in shapes.items()}
                whole = Row(**empty, errors=[""] * len(places))
            rows = places[own, 1]
            for name in ARRAYS:
                getattr(whole, name)[own] = arrays[name][rows]
            for number, row in zip(own.tolist(), rows.tolist(), strict=True):
                if texts[row]:
                    whole.errors[number] = texts[row]
        assert whole is not None
        return whole


def keys_of(pictures: Pictures) -> tuple[list[str], list[Stamp]]:
    """By what each picture is known again, and what changes with its file; of a picture in a tar that is the tar."""
    stamps: dict[str, Stamp] = {}

    def stamp(path: str) -> Stamp:
        try:
            status = os.stat(path)
            return Stamp(status.st_size, status.st_mtime_ns)
        except NotADirectoryError:
            above = os.path.dirname(path)
            if above not in stamps:
                stamps[above] = stamp(above)
            return stamps[above]
        except (OSError, ValueError):  # in no file, or not there
            return Stamp(0, 0)

    keys = [pictures.identity(index) for index in range(len(pictures))]
    keys = [os.path.abspath(key) if os.path.lexists(key) else key for key in keys]
    return keys, [stamp(key) for key in keys]


def arrays_in(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """
    Raises:
        UserError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in (names or file.files)}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{path}: can't be read ({error}); begin anew with --overwrite") from None


def _save(path: Path, arrays: dict[str, Any]) -> None:
    def write(part: Path) -> None:
        with open(part, "wb") as file:
            np.savez(file, **arrays)

    write_whole(path, write)


def _as_bytes(texts: Sequence[str]) -> NDArray[np.uint8]:
    joined = END.join(os.fsencode(text) for text in texts)
    return np.frombuffer(joined, dtype=np.uint8)


def _as_texts(joined: NDArray[np.uint8]) -> list[str]:
    return [os.fsdecode(text) for text in joined.tobytes().split(END)]
