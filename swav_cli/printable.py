"""Text on any terminal: names of files with whatever characters they hold, and characters that it has not."""

from __future__ import annotations

import codecs
import io
import os
from typing import TextIO

PLAIN = str.maketrans({"–": "-", "—": "-", "…": "...", "×": "x", "±": "+-", "→": "->", "µ": "u", "’": "'", "•": "*"})


def printable(text: str) -> str:
    r"""A name that can't move the cursor of a terminal, or fail to be encoded.

    >>> printable("a\x1b[2Jb.png")
    'a\\x1b[2Jb.png'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """The same for lines in which names occur."""
    return "\n".join(printable(line) for line in text.split("\n"))


def write_any_character(stream: TextIO | None) -> None:
    r"""Let a stream write what its encoding has not with other characters, in place of an error.

    >>> terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    >>> write_any_character(terminal)
    >>> print("5 × 5 – Zürich", file=terminal, flush=True)
    >>> terminal.buffer.getvalue()
    b'5 x 5 - Z\\xfcrich\n'
    """
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="swav.plain")


def stop_writing(stream: TextIO) -> None:
    """Let what a stream holds, and whatever else is written to it, go nowhere: nobody reads it, or a disk is full."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def _in_plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("swav.plain", _in_plain)
