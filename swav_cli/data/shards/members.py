"""What is in a tar: its members' headers, and its pictures and classes by the convention of webdataset.

Members of one key are one sample: `dog/0001.jpg`, `dog/0001.cls` and `dog/0001.json` have the key `dog/0001`, the path
up to the first dot of its last part. A `.cls`, else a `.json` with `label` or `class`, tells the sample's class. Where
nothing but pictures have a key, each is a sample of its own, so that a folder's a.1.jpg and a.2.jpg stay two.

Nothing is ever unpacked: names are names, wherever they point to.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from swav_cli.data.decoding.formats import SUFFIXES
from swav_cli.data.shards.names import refuse_compressed
from swav_cli.data.shards.tar_members import (
    Damaged,
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

PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstandard
LONGEST_CLASS = 1_000  # bytes; what is longer is no name of a class
LONGEST_JSON = 1 << 24
TOLD_EVERY = 1_000  # members between two words on how far it is
WHOLE = re.compile(r"-?[0-9]{1,18}")

Extent = tuple[int, int]  # where in the tar a member's data begin, and their bytes
NOWHERE = (0, 0)  # of a link before it is followed


class Samples:
    """Takes members one after another, in any order, and tells the pictures among them."""

    def __init__(self) -> None:
        # A name that comes again counts as the later member, as it would where a tar is unpacked.
        self._places: dict[str, Extent] = {}
        self._files: dict[str, Extent] = {}  # all, by one way to write their names
        self._links: dict[str, str] = {}  # of files and folders, in the same way
        self._linked: dict[str, None] = {}  # those that may be pictures or tell classes, by their own names
        self.lost: list[str] = []  # links to what is not in the tar, and files with holes
        self.again = 0  # pictures whose name was there before
        self._accompanied: set[str] = set()  # keys of samples that are more than a picture
        self._classes: dict[str, str | None] = {}  # of keys, from .cls
        self._described: dict[str, str | None] = {}  # of keys, from .json

    def take(self, name: str, place: Extent, read: Callable[[], bytes]) -> None:
        """A file among the members; `read` gives its data and is called for classes alone."""
        self.note(name, place)
        self._linked.pop(name, None)
        self._take(name, place, read)

    def note(self, name: str, place: Extent) -> None:
        """A file that is nothing but what links may lead to."""
        key = key_of(name)
        self._files[key] = place
        self._links.pop(key, None)

    def take_link(self, name: str, target: str) -> None:
        """A link, which has the place of what it leads to, before it or behind; see `follow_links`."""
        self._links[key_of(name)] = target
        if not is_hidden(name):
            self._linked[name] = None
            self._take(name, NOWHERE, bytes)

    def follow_links(self, read: Callable[[Extent], bytes]) -> None:
        """Once all members are known: pictures by link get their places; those that lead out of the tar are `lost`."""
        for name in self._linked:
            place = self._files.get(resolve(key_of(name), self._links))
            if place is not None:
                self._take(name, place, lambda: read(place))  # noqa: B023
            elif self._places.pop(name, None) is not None:
                self.lost.append(name)

    def _take(self, name: str, place: Extent, read: Callable[[], bytes]) -> None:
        if os.path.splitext(name)[1].lower() in SUFFIXES:
            self.again += self._places.get(name, NOWHERE) != NOWHERE
            self._places[name] = place
            return
        key, extension = split_key(name)
        self._accompanied.add(key)
        if extension == "cls" and place[1] <= LONGEST_CLASS:
            self._classes[key] = class_in_text(read())
        elif extension == "json" and place[1] <= LONGEST_JSON:
            self._described[key] = class_in_json(read())

    def pictures(self) -> dict[str, Extent]:
        """A sample's picture is the one with nothing but its suffix behind the key, else its first."""
        chosen: dict[str, str] = {}
        drawn = {split_key(name)[0] for name in self._places if not _is_array(name)}
        for name in self._places:
            key, extension = split_key(name)
            if _is_array(name) and key in drawn:
                continue  # an embedding beside its picture
            alone = key not in self._accompanied
            sample = name if alone else f"{key}."  # with a dot at the end, which no picture's name has
            if sample not in chosen or ("." in split_key(chosen[sample])[1] and "." not in extension):
                chosen[sample] = name
        return {name: self._places[name] for name in chosen.values()}

    def __len__(self) -> int:
        """All pictures, also those that are not their sample's."""
        return len(self._places)

    def class_of(self, name: str) -> str | None:
        key = split_key(name)[0]
        found = self._classes.get(key)
        return found if found is not None else self._described.get(key)


def is_picture(name: str) -> bool:
    """By its ending, and no hidden one."""
    return os.path.splitext(name)[1].lower() in SUFFIXES and not is_hidden(name)


def split_key(name: str) -> tuple[str, str]:
    """A member's key, and what follows its first dot, in small letters.

    >>> split_key("dog/0001.seg.PNG")
    ('dog/0001', 'seg.png')
    """
    folder, slash, last = name.rpartition("/")
    stem, _, extension = last.partition(".")
    return folder + slash + stem, extension.lower()


def _is_array(name: str) -> bool:
    return name.lower().endswith(".npy")


def class_in_text(content: bytes) -> str | None:
    return _as_class(content.decode("utf-8", errors="replace"))


def class_in_json(content: bytes) -> str | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    told = (_as_class(found[word]) for word in ("label", "class") if word in found)
    return next((name for name in told if name is not None), None)


def _as_class(value: Any) -> str | None:
    """A class's name on one line; None for nothing, and for a number below 0, which marks what has no label.

    3.0 is class 3: tables that hold a gap somewhere keep whole numbers so.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    name = " ".join(str(value).replace("\0", " ").split())
    if not name or len(name) > LONGEST_CLASS or (WHOLE.fullmatch(name) and int(name) < 0):
        return None
    return name


def read_samples(path: str, advance: Callable[[int], None]) -> Samples:
    """All samples of a tar, from its headers; data are read of classes alone.

    Args:
        advance: is told now and then how many bytes of the file have been passed since.

    Raises:
        UserError: no tar, compressed, or damaged.
        OSError: it can't be read.
    """
    samples = Samples()
    told = 0
    with open(path, "rb") as file:
        if file.read(8).startswith(PACKED):
            raise refuse_compressed(path)
        file.seek(0)
        for number, member in enumerate(members(path, file)):
            name, place = plain_name(member.name), (member.offset_data, member.size)
            if is_link(member):
                samples.take_link(name, target_of(member))
            elif is_file(member) and is_hidden(name):
                samples.note(name, place)
            elif is_file(member):
                samples.take(name, place, lambda: _data(file, place))  # noqa: B023
            elif member.issparse() and is_picture(name):
                samples.lost.append(name)
            if number % TOLD_EVERY == 0:
                advance(member.offset - told)
                told = member.offset
        samples.follow_links(lambda place: _data(file, place))
        advance(os.fstat(file.fileno()).st_size - told)
    return samples


def _data(file: BinaryIO, place: Extent) -> bytes:
    file.seek(place[0])
    return file.read(place[1])


def _perhaps_weights(file: BinaryIO) -> str:
    """Checkpoints are called .pth.tar by an old habit, and hold no tar."""
    file.seek(0)
    is_torchs = file.read(2) in (b"PK", b"\x80\x02")  # its zip container, and its pickle
    return "; it looks like weights, and a model is named with --model" if is_torchs else ""


def members(path: str, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The headers of a tar to its end.

    Raises:
        UserError: it is damaged, ends too early, or something else lies behind its end.
    """
    try:
        yield from walk(file, os.fstat(file.fileno()).st_size)
    except Damaged as error:
        if not error.count:
            raise UserError(f"{path}: is no tar file ({error}){_perhaps_weights(file)}") from None
        raise UserError(
            f"{path}: is damaged after {error.count:,} members ({error}); fetch it anew, or leave it out"
        ) from None
