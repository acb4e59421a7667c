"""Tar files for tests: small pictures, and whatever else a shard may hold."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image


def png(level: int, size: tuple[int, int] = (5, 4)) -> bytes:
    """A picture of one gray level."""
    stream = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(stream, format="PNG")
    return stream.getvalue()


def make_tar(path: Path, members: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    """Members in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def sample_tar(path: Path, count: int, first: int = 0, classes: int = 3) -> Path:
    """Samples 0000.png with 0000.cls, the n-th of gray level n."""
    members = {}
    for number in range(first, first + count):
        members[f"{number:04d}.png"] = png(number)
        members[f"{number:04d}.cls"] = str(number % classes).encode()
    return make_tar(path, members)


def make_links(path: Path) -> Path:
    """Three pictures by names of their own and one that is hidden, and links to them, in the order of their names.

    Hard and symbolic links, back and forward, through a folder, to a link, out of the tar, and in a circle.
    """
    with tarfile.open(path, "w") as tar:

        def add(name: str, content: bytes | str, kind: bytes = tarfile.SYMTYPE) -> None:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = kind, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))

        add("./a.png", png(1))
        add("before.png", "z/c.png")
        add("b.png", png(2))
        add("chain.png", "deep/up.png")
        add("deep/up.png", "../a.png")
        add("hard.png", "./a.png", tarfile.LNKTYPE)
        add("loop.png", "loop.png")
        add("out.png", "../out.png")
        add("root.png", "/etc/x.png")
        add("soft.png", "b.png")
        add("of/a", "../.kept")
        add(".kept/folder.png", png(4))
        add("via.png", "of/a/folder.png")
        add("z/c.png", png(3))
        add("late.png", "before.png")
    return path
