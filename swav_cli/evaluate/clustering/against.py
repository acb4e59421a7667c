"""What of some pictures is among others: of a training set in a test set, for example."""

from __future__ import annotations

import numpy as np

from swav_cli.evaluate.clustering.copies import Looks
from swav_cli.evaluate.clustering.found import Match
from swav_cli.evaluate.clustering.kept import Row
from swav_cli.evaluate.clustering.near import nearest

ASKED = 5  # of the others that are nearest to a picture; one of them may be it


def matches(own: Row, others: Row, names: list[str], near: float) -> list[Match]:
    """Pictures that are among the others, in their order; each with the one that is most like it, exact before near.

    Args:
        names: of the others.
        near: cosine from which on pictures that look alike are the same; see `copies`.
    """
    read = np.flatnonzero([not error for error in own.errors])
    other = np.flatnonzero([not error for error in others.errors])
    if not len(read) or not len(other):
        return []
    same: dict[bytes, int] = {}
    for number in other.tolist():
        same.setdefault(others.digest[number].tobytes(), number)
    found: dict[int, Match] = {}
    for number in read.tolist():
        twin = same.get(own.digest[number].tobytes())
        if twin is not None:
            found[number] = Match(number, names[twin], 1.0, True)
    if near <= 1:
        asked = nearest(others.points[other], ASKED, own.points[read])
        row, column = np.nonzero((asked.cosines >= near) & (asked.ids >= 0))
        ids = other[asked.ids[row, column]]
        both = Looks(
            *(np.concatenate([getattr(a, n)[i] for a, i in ((own, read[row]), (others, ids))]) for n in Looks._fields)
        )
        count = len(row)
        alike = both.alike(np.arange(count), np.arange(count, 2 * count))
        for at in np.flatnonzero(alike).tolist():  # the nearest first
            number = int(read[row[at]])
            cosine = float(min(1.0, asked.cosines[row[at], column[at]]))
            found.setdefault(number, Match(number, names[int(ids[at])], cosine, False))
    return [found[number] for number in sorted(found)]
