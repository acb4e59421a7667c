"""Shards that are read as a stream, from their beginning on, where no picture can be reached by itself.

An epoch is as many pictures as the recipe says that there are. Its shards come in an order of their own, are divided
over processes and then over the workers of each, and every worker draws from a buffer of the pictures that it has read.
One that has no shard left before the epoch ends begins with the next order, and at its end nothing more is read: not
every picture comes exactly once an epoch, but over the epochs all come alike. What is drawn depends on the seed and on
how many processes and workers there are; how a picture is cut depends on the seed, the epoch and the picture alone.

A run that is resumed reads no shard again of which every picture has come in its epoch. Those that were in progress are
read from their beginning, so that some of their pictures come twice; they are divided anew, over any number of workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import closing
from itertools import count, groupby, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import REPLACEMENTS, Batch, MakeCrops, Order, read_batches, stacked
from swav_cli.data.shards.names import expand_braces
from swav_cli.data.shards.stream_members import BrokenShard, Sample, find_opener, read_shard
from swav_cli.errors import Notice, UserError
from swav_cli.progress import say

SHARD_BITS = 20  # a picture's number is its place in its shard, and above these bits its shard's
ROUND_BITS = 16  # above the epoch's: how often its shards have been gone through
TRIED = 3  # shards, for a few pictures to look at
EMPTY_ROUNDS = 3  # orders of shards without a picture, after which there is none to be hoped for


class StreamPictures(Pictures):
    """Pictures that come one after another, about so many.

    Args:
        buffer: pictures among which each worker draws.
        max_bad: share of shards that can't be read at which a run stops.
    """

    def __init__(self, shards: list[str], number: int, buffer: int, channels: int, source: str, max_bad: float) -> None:
        self.shards, self.number, self.buffer, self.channels, self.source = shards, number, buffer, channels, source
        self.max_bad = max_bad

    def __len__(self) -> int:
        return self.number

    def read(self, index: int) -> Tensor:
        raise UserError(
            f"{self.source}: pictures of a stream can't be read one by one; fetch its shards, and give their paths"
        )

    def name(self, index: int) -> str:
        shard, place = divmod(index, 1 << SHARD_BITS)
        return f"{self.shards[shard]}, picture {place + 1:,}"

    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(self.shards).encode(errors="surrogateescape")).hexdigest()[:16]

    def some(self, count: int) -> Pictures:
        """The first of the first shard that can be read.

        Raises:
            UserError: none can.
        """
        failed = []
        for url in self.shards[:TRIED]:
            try:
                with closing(read_shard(url)) as samples:
                    found = list(islice(samples, count))
            except BrokenShard as error:
                failed.append(f"{url}: can't be read ({error})")
                continue
            if found:
                return _Held(self, found)
        raise UserError(failed[0] if failed else f"{self.shards[0]}: holds no pictures")


class _Held(Pictures):
    """Some of a stream's pictures, in memory."""

    def __init__(self, stream: StreamPictures, samples: list[Sample]) -> None:
        self.source, self.channels, self.samples = stream.source, stream.channels, samples

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> Tensor:
        return self.samples[index].decoded(self.channels, self.reduce)

    def name(self, index: int) -> str:
        return self.samples[index].name


def open_stream(
    source: str, number: int, buffer: int, channels: int = 3, processes: int = 1, max_bad: float = 0.01
) -> StreamPictures:
    """The shards of a stream, of which one has been looked into.

    Args:
        number: how many pictures they hold, about.
        buffer: pictures among which each worker draws.
        processes: over which the shards are divided.
        max_bad: share of shards that can't be read at which a run stops.

    Raises:
        UserError: there are fewer shards than processes, none can be read, or what reads them is not installed.
    """
    shards = list(dict.fromkeys(expand_braces(source)))
    find_opener(shards)
    if len(shards) < processes:
        raise UserError(
            f"{source}: {len(shards)} shards can't be divided over {processes} processes; start no more than "
            f"{len(shards)}, or make more and smaller shards"
        )
    pictures = StreamPictures(shards, number, buffer, channels, source, max_bad)
    pictures.some(1)
    return pictures


class ShardShare(NamedTuple):
    """What part of a stream is this process's, and what of it need not be read again."""

    rank: int = 0
    processes: int = 1
    before: frozenset[int] = frozenset()  # shards that were finished in the epoch in which the run went on
    finished: Collection[int] = ()  # those, and by now this process's own in the epoch it has come to


class Drawn(NamedTuple):
    """A picture in a worker's hands."""

    number: int
    shard: int
    round: int
    sample: Sample


class Epoch:
    """One worker's pictures of one epoch, without end.

    Args:
        shards_of: a round to the shards that the worker reads in it; the first round is the epoch proper.
        key: what the buffer's random numbers depend on.
    """

    def __init__(self, pictures: StreamPictures, shards_of: Callable[[int], list[int]], key: list[int]) -> None:
        self.pictures, self.shards_of, self.key = pictures, shards_of, key
        self._open: dict[int, int] = {}  # shards to what is still to come of them, of which their end is one
        self._finished: list[int] = []
        self._failed: dict[int, str] = {}
        self._told = 0

    def __iter__(self) -> Generator[Drawn, None, None]:
        empty = 0
        for number in count():
            found = False
            for drawn in self._shuffled(self._read(number), np.random.default_rng([*self.key, number])):
                found = True
                self._one_less(drawn.shard)
                yield drawn
            empty = 0 if found else empty + 1
            if empty > EMPTY_ROUNDS:
                why = next((f" ({why})" for why in self._failed.values()), "")
                raise UserError(f"{self.pictures.source}: no picture can be found in the stream{why}")

    def _read(self, round_number: int) -> Iterator[Drawn]:
        for shard in self.shards_of(round_number):
            self._open[shard] = 1
            try:
                for place, sample in enumerate(read_shard(self.pictures.shards[shard])):
                    self._open[shard] += 1
                    number = (shard << SHARD_BITS) + place % (1 << SHARD_BITS)
                    yield Drawn(number, shard, round_number, sample)
            except BrokenShard as error:
                self._failed[shard] = str(error)
                refuse_failed(self.pictures, self._failed)
            self._one_less(shard)

    def _shuffled(self, stream: Iterable[Drawn], random: np.random.Generator) -> Iterator[Drawn]:
        buffer: list[Drawn] = []
        for drawn in stream:
            if len(buffer) < self.pictures.buffer:
                buffer.append(drawn)
                continue
            place = int(random.integers(len(buffer)))
            yield buffer[place]
            buffer[place] = drawn
        for place in random.permutation(len(buffer)):
            yield buffer[place]

    def _one_less(self, shard: int) -> None:
        self._open[shard] -= 1
        if not self._open[shard]:
            self._finished.append(shard)

    def news(self) -> tuple[tuple[int, ...], tuple[tuple[int, str], ...]]:
        """Shards that have been finished, and those that have failed, since it was last asked."""
        finished, failed = tuple(self._finished), tuple(self._failed.items())[self._told :]
        self._finished.clear()
        self._told += len(failed)
        return finished, failed


class Stream(IterableDataset[Batch]):
    """A process's batches from the order's first step on; runs in the workers, each of which makes its own of them."""

    def __init__(
        self, pictures: StreamPictures, make_crops: MakeCrops, order: Order, first_epoch: int, share: ShardShare,
    ) -> None:  # fmt: skip
        self.pictures, self.make_crops, self.order = pictures, make_crops, order
        self.first_epoch, self.share = first_epoch, share

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        # The loader takes the batches of its workers in turns.
        own = range(worker, len(self.order), workers)
        for epoch, numbers in groupby(own, key=self._epoch_of):
            reading = self._reading(epoch, worker, workers)
            with closing(iter(reading)) as drawn:
                for _ in numbers:
                    yield self._batch(reading, drawn, epoch)

    def _epoch_of(self, batch: int) -> int:
        order = self.order
        return (order.first_step * order.parts + order.first_part + batch) // (order.steps_per_epoch * order.parts)

    def _reading(self, epoch: int, worker: int, workers: int) -> Epoch:
        seed, share = self.order.seed, self.share

        def shards_of(round_number: int) -> list[int]:
            random = np.random.default_rng([seed, epoch, round_number])
            order: list[int] = random.permutation(len(self.pictures.shards)).tolist()
            if round_number or epoch != self.first_epoch:
                own = order[share.rank :: share.processes]
            else:
                own = [shard for shard in order if shard not in share.before][share.rank :: share.processes]
            if not round_number and epoch == self._epoch_of(0):
                own = [shard for shard in own if shard not in share.finished]
            return own[worker::workers]

        key = [seed, epoch, share.rank, worker]
        return Epoch(self.pictures, shards_of, key)

    def _batch(self, reading: Epoch, drawn: Iterator[Drawn], epoch: int) -> Batch:
        indices: list[int] = []
        bad: list[tuple[int, str]] = []

        def cut() -> Iterator[tuple[list[Tensor], Tensor]]:
            while len(indices) < size:
                number, _, round_number, sample = next(drawn)
                try:
                    picture = sample.decoded(self.pictures.channels, self.pictures.reduce)
                except BadPicture as error:
                    bad.append((number, f"{sample.name}: {error}"))
                    if len(bad) > len(indices) + REPLACEMENTS:
                        raise UserError(
                            f"{self.pictures.name(number)}: {bad[-1][1]}, nor can {REPLACEMENTS} others be read; are "
                            "these shards of pictures?"
                        ) from None
                    continue
                indices.append(number)
                yield self.make_crops(picture, epoch + (round_number % 256 << ROUND_BITS), number)

        size = self.order.largest()
        crops, numbers = stacked(cut(), size)
        return Batch(crops, numbers, torch.tensor(indices), bad, *reading.news())


def refuse_failed(pictures: StreamPictures, failed: dict[int, str]) -> None:
    """
    Raises:
        UserError: more shards than the recipe bears can't be read.
    """
    if len(failed) > pictures.max_bad * len(pictures.shards):
        shard, why = next(iter(failed.items()))
        raise UserError(
            f"{len(failed)} of {len(pictures.shards)} shards can't be read, more than data.max_bad "
            f"({pictures.max_bad:g}), first {pictures.shards[shard]} ({why}); go on with the same command once they can"
        )


def load_stream(
    pictures: StreamPictures,
    make_crops: MakeCrops,
    order: Order,
    share: ShardShare,
    workers: int,
    pin_memory: bool = False,
    notice: Notice = say,
) -> Generator[Batch, None, None]:
    """All batches of a process from the order's first step on; see `load_batches`.

    Args:
        order: how many pictures each step takes; which ones is the stream's to say.
        share: what part of the stream is this process's. Its finished shards are those of the epoch so far, of all
            processes when the run went on, and then of this one: who takes the batches adds what they say, and empties
            them at an epoch's end.
    """
    most = len(pictures.shards) // share.processes
    if workers > most:
        if share.rank == 0:
            notice(f"{len(pictures.shards)} shards keep no more than {most} workers busy, so {workers} are too many")
        workers = most
    before, first_epoch = frozenset(share.finished), order.first_step // order.steps_per_epoch

    def rest(batches: int) -> dict[str, Any]:
        now = share._replace(before=before, finished=frozenset(share.finished))
        stream = Stream(pictures, make_crops, order.after(batches), first_epoch, now)
        return {"dataset": stream, "batch_size": None}

    blank = torch.zeros(pictures.channels, 64, 64, dtype=torch.uint8)
    sample = Batch(*stacked([make_crops(blank, 0, 0)], 1), torch.zeros(1, dtype=torch.long), [])
    batches = read_batches(rest, len(order), order.largest(), [sample], workers, pin_memory, notice)
    return _watched(batches, pictures, notice)


def _watched(
    batches: Generator[Batch, None, None], pictures: StreamPictures, notice: Notice
) -> Generator[Batch, None, None]:
    """The batches, where what they say of shards that failed is told, and is not too much."""
    failed: dict[int, str] = {}
    with closing(batches):
        for batch in batches:
            for shard, why in batch.failed:
                if shard not in failed:
                    notice(f"{pictures.shards[shard]}: can't be read ({why}), and is left out")
                failed[shard] = why
            refuse_failed(pictures, failed)
            yield batch
