"""One process's work on a folder of parts: it claims files of pictures, and makes a part of each.

It needs nothing of the other processes but the folder, whether torchrun, Ray, a scheduler or a person has started them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from typing import Any, NamedTuple

from swav_cli.core.layers import layer_function
from swav_cli.core.weights import Model, weights_digest
from swav_cli.data.pictures import Pictures
from swav_cli.data.shard_files import Joined, open_shard_file
from swav_cli.errors import UserError
from swav_cli.evaluate.extraction.claims import Claim, Lost
from swav_cli.evaluate.extraction.extract import ExtractRequest, row_shape
from swav_cli.evaluate.extraction.part_file import PartFile, PartRows
from swav_cli.evaluate.extraction.parts import Parts
from swav_cli.evaluate.features import Rows, stream_features
from swav_cli.evaluate.inference import Inference
from swav_cli.files import replacing

AT_ONCE = 128  # batches of pictures that are claimed together, so that those who read them are started once
A_ROUND = 4  # rounds in which each process takes its part of what is left, for the last ones to be small
LOOKED_EVERY = 2.0  # seconds between looks at what others have made, where nothing is left to claim


class Taken(NamedTuple):
    """A part that this process makes."""

    number: int
    claim: Claim
    pictures: Pictures


class Hearer(NamedTuple):
    """Who is told how the work gets on, and asked whether it is to end."""

    bytes_done: Callable[[int], None]  # of files whose parts are there, as far as they are
    is_stopped: Callable[[], bool]


class _Stopped(Exception):
    """The work is to end; what is half-made goes."""


class PartMaker:
    """A model whose features go into parts.

    Args:
        model: is moved to the device that the request names.

    Raises:
        UserError: no such layer, device or precision.
    """

    def __init__(self, model: Model, request: ExtractRequest) -> None:
        self.model, self.how = model, Inference.wanted(
            request.device, request.precision, request.batch_size, request.workers
        )  # fmt: skip
        options = {"normalize": request.normalize, "multi_scale": request.multi_scale}
        self._function = layer_function(model.network, request.layer, **options)
        model.to(self.how.device)
        shape = row_shape(self._function, model.about, self.how)
        self.settings: dict[str, Any] = {
            "model": weights_digest(model), "layer": request.layer, **options, "precision": self.how.precision,
            "shape": list(shape),
        }  # fmt: skip
        self.unreadable: dict[int, str] = {}  # files of which no part can be made, by number, and why

    def work(self, parts: Parts, place: tuple[int, int], hearer: Hearer) -> None:
        """Make parts until all of this job are there; also those whose owners are gone meanwhile.

        Args:
            place: which of the job's processes this is, and how many there are.

        Raises:
            OSError: the folder can't be written.
        """
        rank, world = place
        first = len(parts.numbers) * rank // world  # each begins elsewhere, and then helps the others
        order = [*parts.numbers[first:], *parts.numbers[:first]]
        while not hearer.is_stopped():
            there = parts.there()
            left = [number for number in order if number not in there and number not in self.unreadable]
            done = sum(parts.shards[number].size for number in order if number in there)
            hearer.bytes_done(done)
            if not left:
                return
            with ExitStack() as claimed:
                taken = self._take(parts, left, max(1, len(left) // (A_ROUND * world)), claimed)
                if taken:
                    with suppress(Lost, _Stopped):
                        self._make(parts, taken, done, hearer)
                    continue
            _rest(hearer)

    def _take(self, parts: Parts, left: Sequence[int], most: int, claimed: ExitStack) -> list[Taken]:
        """Claim some of what is left, which are let go of at the end of `claimed`."""
        taken: list[Taken] = []
        count = 0
        for number in left:
            claim = parts.claims.take(parts.claim_name(number))
            if claim is None:
                continue
            claimed.callback(claim.release)
            if parts.path(number).exists():  # made since we looked
                claim.release()
                continue
            try:
                pictures = open_shard_file(parts.shards[number].path, self.model.about.channels)
            except UserError as error:
                self.unreadable[number] = str(error)
                claim.release()
                continue
            taken.append(Taken(number, claim, pictures))
            count += len(pictures)
            size = self.model.about.size
            reads_itself = self.how.device.type == "cpu" and not self.how.readers(pictures, size)
            if reads_itself or len(taken) == most or count >= AT_ONCE * self.how.batch(size):
                break
        return taken

    def _make(self, parts: Parts, taken: list[Taken], done: int, hearer: Hearer) -> None:
        """
        Raises:
            Lost: a claim is another's by now.
            _Stopped: the work is to end.
        """
        joined = Joined([each.pictures for each in taken])
        with closing(stream_features(self._function, joined, self.model.about, self.how)) as stream:
            cutter = _Cutter(stream)
            for position, each in enumerate(taken):
                size, count = parts.shards[each.number].size, max(1, len(each.pictures))
                # A part that is there after all, whoever has made it, is as good.
                with (
                    suppress(FileExistsError),
                    replacing(parts.path(each.number), keep=True) as aside,
                    PartFile(aside, each.pictures, self._described(parts, each.number)) as file,
                ):
                    for rows in cutter.take(len(each.pictures)):
                        file.write(rows)
                        for kept in taken[position:]:
                            kept.claim.renew()
                        hearer.bytes_done(done + size * file.rows // count)
                        if hearer.is_stopped():
                            raise _Stopped
                each.claim.release()
                done += size

    def _described(self, parts: Parts, number: int) -> dict[str, Any]:
        return {"format": "swav-part-1", **self.settings, "shard": parts.shards[number].name, "number": number}


def _rest(hearer: Hearer) -> None:
    until = time.monotonic() + LOOKED_EVERY
    while not hearer.is_stopped() and time.monotonic() < until:
        time.sleep(0.1)


class _Cutter:
    """Cuts a stream of rows where the pictures of one file end and those of the next begin."""

    def __init__(self, stream: Iterator[Rows]) -> None:
        self._stream = stream
        self._rest: Rows | None = None
        self._given = 0

    def take(self, count: int) -> Iterator[PartRows]:
        """The next so many rows, numbered from 0 on."""
        first, end = self._given, self._given + count
        while self._given < end:
            rows = self._rest if self._rest is not None else next(self._stream)
            fit = min(len(rows.indices), end - self._given)
            self._rest = (
                Rows(rows.indices[fit:], rows.values[fit:], rows.bad, rows.told) if fit < len(rows.indices) else None
            )
            own = range(self._given, self._given + fit)
            errors = {index - first: reason for index, reason in rows.bad if index in own}
            yield PartRows(self._given - first, rows.values[:fit].numpy(), errors)
            self._given += fit
