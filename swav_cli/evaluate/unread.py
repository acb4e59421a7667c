"""Which pictures could not be read, and why: the first few are named where their number is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from swav_cli.data.pictures import Pictures
from swav_cli.errors import Notice
from swav_cli.parallel import distributed
from swav_cli.printable import printable

FEW = 3


def unread_in_words(unread: Sequence[tuple[str, str]], count: int, pictures: int) -> str:
    """How many of so many pictures could not be read, and why the first of them; of a single picture only why.

    >>> unread_in_words([("a.png", "is empty"), ("b.png", "is text")], 2, 40)
    '2 of 40 pictures could not be read; first a.png: is empty; b.png: is text'
    >>> unread_in_words([("a.png", "is empty"), ("b.png", "is text")], 2, 2)
    'none of 2 pictures could be read; first a.png: is empty; b.png: is text'
    >>> unread_in_words([("a.png", "is empty")], 1, 1)
    'a.png: is empty'

    Args:
        unread: the first of them, by name and reason.
        count: how many there are.
    """
    first = "; ".join(printable(f"{name}: {why}") for name, why in unread[:FEW])
    if pictures == 1:
        return first
    if count == pictures:
        return f"none of {pictures:,} pictures could be read; first {first}"
    return f"{count:,} of {pictures:,} pictures could not be read; first {first}"


class Unread:
    """The first pictures that could not be read in one pass; of all processes where these share it."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self._found: dict[int, str] = {}

    def add(self, bad: Iterable[tuple[int, str]]) -> None:
        for index, why in bad:
            if len(self._found) < FEW:
                self._found[index] = why

    def tell(self, notice: Notice) -> None:
        """A line each. All processes have to call it."""
        found: dict[int, str] = {}
        for of_one in distributed.objects_of_all(self._found):
            found |= of_one
        for index, why in sorted(found.items())[:FEW]:
            notice(f"can't be read: {self.pictures.name(index)}: {why}")
