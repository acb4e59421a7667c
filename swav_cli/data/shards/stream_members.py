"""One shard from its beginning on, as an address or a command gives it: its pictures one after another.

webdataset opens addresses and commands, and does nothing else here: of a tar's members pictures alone are looked at, so
that nothing in it can be taken for code.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from importlib.metadata import version
from itertools import groupby
from typing import Any, NamedTuple

from torch import Tensor

from swav_cli.data.decoding.formats import SUFFIXES, BadPicture, Reduce
from swav_cli.data.decoding.images import decode_picture
from swav_cli.data.shards.members import Samples, is_picture, split_key
from swav_cli.data.shards.names import runs_command
from swav_cli.data.shards.tar_members import (
    Forward,
    is_file,
    is_hidden,
    is_link,
    key_of,
    plain_name,
    resolve,
    target_of,
    walk,
)
from swav_cli.errors import UserError

OLDEST = 1  # of webdataset; before, it handed addresses to a shell
PACKED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream), b"BZh": bz2.BZ2File, b"\xfd7zXZ\0": lzma.LZMAFile,
}  # fmt: skip
PAUSES = (0.5, 2.0, 8.0)  # seconds before each further try
TO_END = 1.0  # seconds that a command gets to end by itself once what it has written is no longer read
# How a command ends whose output is no longer wanted, by itself, by a shell's account, and curl: that is no failure.
NOT_READ = (0, -13, 141, 23)
CURL = {
    6: "no such host", 7: "no connection", 18: "the connection was cut", 22: "the server refuses it", 28: "it took too "
    "long", 35: "no safe connection", 56: "the connection was cut", 60: "the server's certificate is not trusted",
}  # fmt: skip


class Sample(NamedTuple):
    name: str  # of the picture in its tar
    content: bytes  # of its file
    fault: str = ""  # why there is none

    def decoded(self, channels: int, reduce: Reduce | None = None) -> Tensor:
        """
        Raises:
            BadPicture: it can't be read, or there is nothing to read.
        """
        if self.fault:
            raise BadPicture(self.fault)
        return decode_picture(self.content, channels, reduce)


class BrokenShard(Exception):
    """A shard that can't be read to its end; the message says why."""


def find_opener(shards: Iterable[str]) -> Callable[[str], Any]:
    """What opens such shards.

    Raises:
        UserError: something that it takes is not installed.
    """
    install = "pip install 'swav-cli[shards]'"
    try:
        from webdataset.gopen import gopen
    except ImportError:
        raise UserError(f"a stream of shards needs webdataset; install it with: {install}") from None
    found = version("webdataset")
    if int(found.split(".")[0]) < OLDEST:
        raise UserError(
            f"a stream of shards needs webdataset {OLDEST}.0 or later, and this is {found}, which hands addresses to a "
            f"shell; install it with: {install} -U"
        )
    if not all(map(runs_command, shards)) and shutil.which("curl") is None:
        raise UserError("a stream of shards over http needs the program curl; install it, or name pipe:COMMAND")
    return gopen  # type: ignore[no-any-return]


def read_shard(url: str) -> Generator[Sample, None, None]:
    """All pictures of a shard, each once: where it breaks off, it is read again, and what was given is passed over.

    Raises:
        BrokenShard: it broke off each time.
    """
    given = 0
    for pause in (*PAUSES, None):
        try:
            with closing(samples_of(url)) as samples:
                for number, sample in enumerate(samples):
                    if number >= given:
                        given += 1
                        yield sample
            return
        except BrokenShard:
            if pause is None:
                raise
        time.sleep(pause)


def samples_of(url: str) -> Generator[Sample, None, None]:
    """A shard's pictures, read once; and once more for those that are links, which may lead forward and back.

    Raises:
        BrokenShard: it is not there, breaks off, or is no tar.
    """
    found = Links({}, {}, [], [])
    yield from _passed(url, lambda file: _pictures(_members(file, found), found))
    wanted, lost = found.followed()
    yield from lost
    if wanted:
        yield from _passed(url, lambda file: _linked(file, wanted))


def _passed(url: str, read: Callable[[Forward], Iterator[Sample]]) -> Generator[Sample, None, None]:
    stream = None
    try:
        stream = find_opener([url])(url)
        yield from read(Forward(_unpacked(Forward(stream))))
        while stream.read(1 << 16):  # of a packed one; a command that can't write on would seem to have failed
            pass
        stream.close()  # which raises where the command has failed
    except UserError:
        raise
    except Exception as error:  # tarfile raises whatever a damaged header leads it to
        raise BrokenShard(_reason(url, _end(stream), error)) from None
    finally:
        _end(stream)


def _unpacked(stream: Forward) -> Any:
    """Packed ones are unpacked on the way, of as many parts as were joined."""
    start = stream.read(6)
    stream.seek(0)
    opener = next((opener for mark, opener in PACKED.items() if start.startswith(mark)), None)
    return opener(stream) if opener else stream


class Links(NamedTuple):
    """What a tar's links lead to, as far as it has been read."""

    files: dict[str, int]  # names and places of files, the last one of each
    targets: dict[str, str]
    pictures: list[str]  # links that are a sample's picture, by their own names
    holes: list[str]  # pictures whose data don't lie in the tar as they are

    def followed(self) -> tuple[dict[int, list[str]], list[Sample]]:
        """The names by which each member is wanted, and samples that say what leads nowhere."""
        wanted: dict[int, list[str]] = {}
        lost = [Sample(name, b"", "a file with holes") for name in self.holes]
        for name in self.pictures:
            target = resolve(key_of(name), self.targets)
            if target in self.files:
                wanted.setdefault(self.files[target], []).append(name)
            else:
                lost.append(Sample(name, b"", f"a link to {target}, which is not in its tar"))
        return wanted, lost


def _members(file: Forward, found: Links) -> Iterator[tuple[str, bytes | None]]:
    """Names and contents of files, None of links; content is read of pictures alone."""
    for number, member in enumerate(walk(file)):
        name = plain_name(member.name)
        if is_link(member):
            found.targets[key_of(name)] = target_of(member)
        elif is_file(member):
            found.files[key_of(name)] = number
            found.targets.pop(key_of(name), None)
        elif member.issparse() and is_picture(name):
            found.holes.append(name)
            continue
        else:
            continue
        if is_hidden(name):
            continue
        if is_link(member):
            yield name, None
        else:
            yield name, _content(file, member) if os.path.splitext(name)[1].lower() in SUFFIXES else b""


def _linked(file: Forward, wanted: dict[int, list[str]]) -> Iterator[Sample]:
    for number, member in enumerate(walk(file)):
        if number in wanted:
            content = _content(file, member)
            for name in wanted[number]:
                yield Sample(name, content)


def _content(file: Forward, member: tarfile.TarInfo) -> bytes:
    file.seek(member.offset_data)
    content = file.read(member.size)
    if len(content) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    return content


def _pictures(members: Iterator[tuple[str, bytes | None]], found: Links) -> Iterator[Sample]:
    """What `Samples` takes for pictures, where members of one key follow one another, as webdataset has it."""
    for _, group in groupby(members, key=lambda member: split_key(member[0])[0]):
        samples = Samples()
        contents: list[bytes | None] = []
        for name, content in group:
            samples.take(name, (len(contents), len(content or b"")), bytes)
            contents.append(content)
        for name, (place, _) in samples.pictures().items():
            content = contents[place]
            if content is None:
                found.pictures.append(name)
            else:
                yield Sample(name, content)


def _end(stream: Any) -> int | None:
    """No longer read: the exit code of the command behind it, where that has ended by itself."""
    process: subprocess.Popen[bytes] | None = getattr(stream, "proc", None)
    if process is None:
        if stream is not None:
            stream.close()
        return None
    assert process.stdout is not None
    process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        return process.wait(TO_END)
    process.kill()
    process.wait()
    return None


def _reason(url: str, code: int | None, error: Exception) -> str:
    if code is None or code in NOT_READ:
        return str(error) or type(error).__name__
    if runs_command(url):
        return f"its command ended with exit code {code}"
    return CURL.get(code, f"curl ended with exit code {code}")
