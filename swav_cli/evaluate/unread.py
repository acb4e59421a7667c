"""Which pictures could not be read, and why: the first few are named where their number is told."""

from __future__ import annotations

from collections.abc import Iterable

from swav_cli.data.pictures import Pictures
from swav_cli.errors import Notice
from swav_cli.parallel import distributed

FEW = 3


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
