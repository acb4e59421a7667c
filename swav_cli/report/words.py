"""Numbers as one says them: how long, how large."""

from __future__ import annotations

import math

DAY = 24 * 3600


def duration(seconds: float) -> str:
    """`1 h 02 min`, `3 min 05 s` or `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def age(seconds: float) -> str:
    """How long ago something was, in a column's few letters.

    >>> [age(each) for each in (9, 200, 7200, 3 * DAY)]
    ['9 s', '3 min', '2 h', '3 d']
    """
    for unit, length in (("d", DAY), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def size(count: float) -> str:
    """Bytes, in two digits or three.

    >>> size(999), size(45_300_000), size(1_200_000_000)
    ('1 kB', '45 MB', '1.2 GB')
    """
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= length:
            return f"{count / length:.{1 if count < 10 * length else 0}f} {unit}"
    return f"{math.ceil(count / 1000)} kB"
