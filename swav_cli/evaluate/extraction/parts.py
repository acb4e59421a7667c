"""A folder of features in parts: a Parquet file for each file of pictures, made by any number of processes.

    feats/
      _parts.json            what the parts depend on, and which file of pictures each number stands for
      part-000000.parquet    whole, or not there
      .claims/part-000001    being made; see `claims.py`

Names that begin with _ or . are passed over by whatever reads the folder as one table.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from swav_cli.core.weights import Model
from swav_cli.data.shard_files import ShardFile
from swav_cli.errors import UserError, counted
from swav_cli.evaluate.extraction.claims import Claims
from swav_cli.evaluate.extraction.described import are_alike, differences, preprocessing
from swav_cli.files import held, json_ready, write_json

PARTS_FORMAT = "swav-parts-1"
NAME = re.compile(r"part-(\d{6,})\.parquet")
ASIDE = re.compile(r"\.part-(\d{6,})\.parquet\.[0-9a-f]{8}\.part")


class Share(NamedTuple):
    """Which of the parts one of several jobs makes: every `of`-th from number `own` on.

    >>> list(Share(1, 3).numbers(8))
    [1, 4, 7]
    """

    own: int = 0
    of: int = 1

    def numbers(self, count: int) -> range:
        return range(self.own, count, self.of)


def read_share(given: str | None) -> Share:
    """
    >>> read_share("2/16")
    Share(own=2, of=16)

    Raises:
        UserError: not I/N, or an I that is none of N.
    """
    if given is None:
        return Share()
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", given.strip())
    if found is None:
        raise UserError(f"--part {given}: is written I/N, such as 0/16 for the first of 16 jobs")
    share = Share(int(found[1]), int(found[2]))
    if share.own >= share.of:
        raise UserError(f"--part {given}: of {share.of} jobs the first is 0 and the last {share.of - 1}")
    return share


class Parts:
    """The parts in a folder, and the files of pictures that they are made of.

    Args:
        shards: in the order of their numbers, once `begin` has settled that.
    """

    def __init__(self, folder: Path, shards: Sequence[ShardFile], share: Share) -> None:
        self.folder, self.shards, self.share = folder, list(shards), share
        self.claims = Claims(folder / ".claims")
        self._plan = folder / "_parts.json"

    @property
    def numbers(self) -> range:
        """Those of this job."""
        return self.share.numbers(len(self.shards))

    def path(self, number: int) -> Path:
        return self.folder / f"{self.claim_name(number)}.parquet"

    def claim_name(self, number: int) -> str:
        """What a part is called where it is claimed."""
        return f"part-{number:06d}"

    def there(self) -> set[int]:
        """Numbers of the parts that are made, of all jobs."""
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            return {int(found[1]) for entry in entries if (found := NAME.fullmatch(entry.name))}
        return set()

    def description(self) -> dict[str, Any]:
        """What stands in `_parts.json`; nothing where there is none.

        Raises:
            UserError: it can't be read.
        """
        try:
            found = json.loads(self._plan.read_text(encoding="utf-8"))
            if found["format"] == PARTS_FORMAT and isinstance(found["settings"], dict):
                [(each["name"], each["bytes"]) for each in found["shards"]]
                return dict(found)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise UserError(f"{self._plan}: can't be read, or was made by a newer swav; give another --out")

    def begin(self, settings: dict[str, Any], model: Model, *, resume: bool, overwrite: bool) -> int:
        """Settle what the parts are, by all jobs alike; how many of this one's are there already.

        Raises:
            UserError: something else is there, or parts that are not to be gone on with; nothing was written.
        """
        self._check_folder()
        self.folder.mkdir(exist_ok=True)
        with held(self.folder):
            before = self.description()
            if overwrite:
                self._remove(settings, before)
                before = self.description()
            if before:
                self._take_up(before, settings)
            there = self.there() & set(self.numbers)
            if there and not resume:
                holds = f"{self.folder} holds {counted(len(there), 'part')}"
                raise UserError(f"{holds}; give another --out, or replace them with --overwrite")
            if not before or len(before["shards"]) < len(self.shards):
                write_json(self._plan, self._described(settings, model))
            self.clear_asides()
        return len(there)

    def join(self, settings: dict[str, Any]) -> None:
        """The same for a process that another has begun for.

        Raises:
            UserError: it sees no such folder, or computes something else.
        """
        before = self.description()
        if not before:
            raise UserError(f"{self.folder}: is not there; all machines must see the same disk under the same name")
        self._take_up(before, settings)

    def finish(self) -> None:
        if len(self.there()) >= len(self.shards):
            self.claims.clear_up()

    def clear_asides(self) -> bool:
        """Remove what killed processes had begun, whose claims are nobody's any more; whether none is left."""
        asides = {name: found for name in os.listdir(self.folder) if (found := ASIDE.fullmatch(name))}
        gone = [name for name, each in asides.items() if self.claims.owner(self.claim_name(int(each[1]))) is None]
        for name in gone:
            (self.folder / name).unlink(missing_ok=True)
        return len(gone) == len(asides)

    def _check_folder(self) -> None:
        if not os.path.isdir(self.folder):
            return
        strange = [
            name for name in os.listdir(self.folder) if not name.startswith((".", "_")) and not NAME.fullmatch(name)
        ]
        if strange and not self._plan.exists():
            raise UserError(f"--out {self.folder}: holds other files, such as {strange[0]}; name a new folder")

    def _take_up(self, before: dict[str, Any], settings: dict[str, Any]) -> None:
        """
        Raises:
            UserError: the parts there are of something else.
        """
        noted, wanted = before["settings"], json_ready(settings)
        if not are_alike(noted, wanted):
            raise UserError(
                f"{self.folder} holds parts of something else ({differences(noted, wanted)}); give another --out, or "
                "replace them with --overwrite"
            )
        known = {each["name"]: (number, each["bytes"]) for number, each in enumerate(before["shards"])}
        given = {shard.name: shard for shard in self.shards}
        missing = [name for name in known if name not in given]
        if missing:
            raise UserError(
                f"{self.folder} holds parts of other files ({counted(len(missing), 'file')} of {len(known):,} not "
                f"given, first {missing[0]}); name all of them, and new ones beside, or give another --out"
            )
        changed = next((name for name, (_, size) in known.items() if given[name].size != size), None)
        if changed is not None:
            raise UserError(
                f"{given[changed].path}: has changed since {self.folder} was begun; give another --out, or begin again "
                "with --overwrite"
            )
        # Who was there keeps the number; what is new comes behind.
        self.shards.sort(key=lambda shard: known.get(shard.name, (len(known), 0))[0])

    def _remove(self, settings: dict[str, Any], before: dict[str, Any]) -> None:
        """Clear the way for a new beginning: of one job of several its own parts, else all.

        Raises:
            UserError: some are being made, or this is one job of several and the others' parts are of something else.
        """
        if self.share.of > 1 and before:
            self._take_up(before, settings)
        doomed = self.there() & set(self.numbers) if self.share.of > 1 else self.there()
        for number in doomed | set(self.numbers):
            owner = self.claims.owner(self.claim_name(number))
            if owner is not None:
                raise UserError(f"{self.path(number)}: {owner} is making it; stop that first, or give another --out")
        for number in doomed:
            self.path(number).unlink(missing_ok=True)
        if self.share.of == 1:
            self._plan.unlink(missing_ok=True)

    def _described(self, settings: dict[str, Any], model: Model) -> dict[str, Any]:
        return {
            "format": PARTS_FORMAT,
            "columns": {
                "path": "file and picture", "label": "class, or null", "error": "why it can't be read, or null",
                "features": "float32; of such a picture NaN",
            },
            "layer": settings["layer"],
            "shape": settings["shape"],
            "model": model.name,
            "model_description": json.loads(model.about.to_json()),
            "preprocessing": preprocessing(model.about),
            "settings": json_ready(settings),
            "shards": [{"name": shard.name, "bytes": shard.size} for shard in self.shards],
        }  # fmt: skip


def count_rows(paths: Iterable[Path]) -> tuple[int, int]:
    """Rows of parts, and how many of them are of pictures that can't be read; from the files' ends alone."""
    from pyarrow import parquet

    rows = unread = 0
    for path in paths:
        with open(path, "rb") as file, parquet.ParquetFile(file) as opened:
            metadata, place = opened.metadata, opened.schema_arrow.get_field_index("error")
            rows += metadata.num_rows
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            unread += sum(group.num_rows - group.column(place).statistics.null_count for group in groups)
    return rows, unread
