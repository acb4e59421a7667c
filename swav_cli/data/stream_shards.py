"""One shard from its beginning on, as an address or a command gives it: its pictures one after another.

webdataset opens addresses and commands, and does nothing else here: of a tar's members pictures alone are looked at, so
that nothing in it can be taken for code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from itertools import groupby
from typing import Any, NamedTuple

from swav_cli.data.formats import SUFFIXES
from swav_cli.data.shard_members import Samples, is_file, is_hidden, plain_name, split_key
from swav_cli.data.shard_names import runs_command
from swav_cli.errors import UserError

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


class BrokenShard(Exception):
    """A shard that can't be read to its end; the message says why."""


def find_opener(shards: Iterable[str]) -> Callable[[str], Any]:
    """What opens such shards.

    Raises:
        UserError: something that it takes is not installed.
    """
    try:
        from webdataset.gopen import gopen
    except ImportError:
        raise UserError(
            "a stream of shards needs webdataset; install it with: pip install 'swav-cli[shards]'"
        ) from None
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
    """A shard's pictures, read once.

    Raises:
        BrokenShard: it is not there, breaks off, or is no tar.
    """
    stream = None
    try:
        stream = find_opener([url])(url)
        yield from _pictures(_members(stream))
        while stream.read(1 << 16):  # zeros behind the end: a command that can't write them would seem to have failed
            pass
        stream.close()  # which raises where the command has failed
    except UserError:
        raise
    except Exception as error:  # tarfile raises whatever a damaged header leads it to
        raise BrokenShard(_reason(url, _end(stream), error)) from None
    finally:
        _end(stream)


class _Member(tarfile.TarInfo):
    """A header; a damaged one, and a part of one, tarfile takes for the end of the tar."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        try:
            return super().frombuf(buf, encoding, errors)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _members(stream: Any) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files; content is read of pictures alone."""
    with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Member, encoding="utf-8", errors="surrogateescape") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else all that were read are kept
            name = plain_name(member.name)
            if not is_file(member) or is_hidden(name):
                continue
            picture = tar.extractfile(member) if os.path.splitext(name)[1].lower() in SUFFIXES else None
            yield name, picture.read() if picture is not None else b""


def _pictures(members: Iterator[tuple[str, bytes]]) -> Iterator[Sample]:
    """What `Samples` takes for pictures, where members of one key follow one another, as webdataset has it."""
    for _, group in groupby(members, key=lambda member: split_key(member[0])[0]):
        samples = Samples()
        contents: list[bytes] = []
        for name, content in group:
            samples.take(name, (len(contents), len(content)), bytes)
            contents.append(content)
        for name, (place, _) in samples.pictures().items():
            yield Sample(name, contents[place])


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
