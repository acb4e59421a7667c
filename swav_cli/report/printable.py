"""Names of files on a terminal: as text, whatever characters they hold."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""A name that can't move the cursor of a terminal, or fail to be encoded.

    >>> printable("a\x1b[2Jb.png")
    'a\\x1b[2Jb.png'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """The same for lines in which names occur."""
    return "\n".join(printable(line) for line in text.split("\n"))
