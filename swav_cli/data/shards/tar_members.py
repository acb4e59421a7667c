"""A tar's members from its beginning to its true end, in a file or in a stream that can't go back.

Python's tarfile takes the first block of zeros for the end, and a damaged header as well. Here all that follows is
looked at: a tar that another was joined to (`cat a.tar b.tar`) goes on, and what is no tar is an error.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Protocol

MOST_PADDING = 1 << 20  # bytes of zeros that a writer may put behind the end
HOPS = 40  # from link to link, as many as a system goes


class Damaged(Exception):
    """The message says why; `count` members came before."""

    def __init__(self, reason: str, count: int) -> None:
        super().__init__(reason)
        self.count = count


class Readable(Protocol):
    """What is asked of a file."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, place: int, /) -> Any: ...
    def tell(self) -> int: ...


class Forward:
    """A stream as a file in which one can go forward only, or back into what was read last."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._place = stream, 0
        self._last = self._again = b""

    def read(self, size: int = -1, /) -> bytes:
        parts = []
        while size != 0:
            part = self._again[:size] if self._again and size > 0 else self._again or self._stream.read(size)
            self._again = self._again[len(part) :] if self._again else b""
            if not part:
                break
            parts.append(part)
            size -= len(part) if size > 0 else 0
        self._last = parts[0] if len(parts) == 1 else b"".join(parts)
        self._place += len(self._last)
        return self._last

    def seek(self, place: int, /) -> None:
        back = self._place - place
        if 0 < back <= len(self._last):
            self._again = self._last[-back:] + self._again
            self._last, self._place = self._last[:-back], place
        elif back > 0:
            raise OSError("a stream can't go back")
        while self._place < place and self.read(min(1 << 16, place - self._place)):
            pass

    def tell(self) -> int:
        return self._place


def walk(file: BinaryIO | Forward, size: int | None = None) -> Iterator[tarfile.TarInfo]:
    """The headers of a tar, and of those that are joined to it; between two, a member's data may be read from the file.

    Args:
        size: of the file in bytes, for messages.

    Raises:
        Damaged: it is no tar, is damaged, ends too early, or something else lies behind its end.
    """
    count = start = 0
    of = f" of {size:,}" if size is not None else ""
    while True:
        end = start
        for member, end in _one_tar(file, start, count):  # noqa: B007
            count += 1
            yield member
        found = _next_block(file, end, count, of)
        if found is None:
            return
        start = found


def _one_tar(file: Any, start: int, count: int) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Members to the first block that is no header, and where each one's data end."""
    tar, end = None, start
    while True:
        try:
            if tar is None:  # opening reads the first header
                tar = tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
                member = tar.next() if tar.firstmember is not None else None  # type: ignore[attr-defined]
            else:
                member = tar.next()
            tar.members.clear()  # type: ignore[attr-defined]  # else all that were read are kept
            if member is not None and (member.size < 0 or tar.offset <= end):
                raise tarfile.ReadError("a member that ends before it begins")
        except OSError:
            raise
        except Exception as error:  # tarfile raises whatever a damaged header leads it to
            raise Damaged(str(error) or type(error).__name__, count) from None
        if member is None:
            return
        count, end = count + 1, tar.offset
        yield member, end


def _next_block(file: Any, end: int, count: int, of: str) -> int | None:
    """Where something follows after blocks of zeros; None where nothing does.

    Raises:
        Damaged: what ended the tar was no block of zeros, or more of them follow than any writer puts there.
    """
    file.seek(end)
    place = end
    while block := file.read(tarfile.BLOCKSIZE):
        if block.strip(b"\0"):
            if place == end:
                raise Damaged(f"no header at byte {end:,}{of}", count)
            file.seek(place)
            return place
        place += len(block)
        if place - end > MOST_PADDING:
            raise Damaged(f"an end at byte {end:,}{of}", count)
    return None


# --- members and names --------------------------------------------------------------------------------------------


def is_link(member: tarfile.TarInfo) -> bool:
    return member.islnk() or member.issym()


def is_file(member: tarfile.TarInfo) -> bool:
    """No folder, link or device, and no file with holes, whose data don't lie together."""
    return member.isreg() and not member.issparse()


def plain_name(name: str) -> str:
    """Without the ./ that tar writes before all names when it is given the folder `.`"""
    return re.sub(r"^(\./+)+", "", name)


def is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def key_of(name: str) -> str:
    """One name for all ways to write it, by which links find it."""
    return posixpath.normpath(plain_name(name))


def target_of(member: tarfile.TarInfo) -> str:
    """The name of what a link leads to: a hard link's within the tar, a symbolic link's from its own folder on."""
    if member.islnk():
        return key_of(member.linkname)
    return posixpath.normpath(posixpath.join(posixpath.dirname(plain_name(member.name)), member.linkname))


def resolve(name: str, links: Mapping[str, str]) -> str:
    """Where a name leads by way of links, of folders as well, and of links to links; to itself where it is none."""
    for _ in range(HOPS):
        parts = name.split("/")
        heads = ("/".join(parts[: length + 1]) for length in range(len(parts)))
        head = next((head for head in heads if head in links), None)
        if head is None:
            break
        name = posixpath.normpath(posixpath.join(links[head], name[len(head) :].lstrip("/")))
    return name
