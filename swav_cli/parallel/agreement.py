"""Processes that work on one thing must see the same of it: compared before anything is trained or written.

A run's folder on each machine's own disk, a listing of yesterday, a file that one machine lacks: without a comparison
the processes would train a mixture, and save it over what was good.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

from swav_cli.errors import UserError
from swav_cli.parallel import distributed

NAMED = 3  # processes that are named of those that see one thing


def refuse_disagreement(look: Callable[[], Mapping[str, object]]) -> None:
    """Compare what every process sees with what the others do.

    Args:
        look: what is looked at to what this process finds there, in words that differ where it does. One process
            alone has nobody to compare with, and does not look.

    Raises:
        UserError: in all processes, where they see different things: which, and who sees what.
    """
    if distributed.world_size() == 1:
        return
    found = distributed.objects_of_all((socket.gethostname(), {key: str(value) for key, value in look().items()}))
    hosts, told = [host for host, _ in found], [words for _, words in found]
    for key in dict.fromkeys(key for words in told for key in words):
        values = [words.get(key, "none") for words in told]
        if len(set(values)) > 1:
            raise UserError(
                f"the processes do not see the same {key}: {_who_sees_what(values, hosts)}; give all of them the same "
                "files, such as those of a disk that all machines share"
            )


def _who_sees_what(values: list[str], hosts: list[str]) -> str:
    return ", ".join(
        f"{value} ({named([rank for rank, other in enumerate(values) if other == value], hosts)})"
        for value in dict.fromkeys(values)
    )


def named(ranks: list[int], hosts: list[str]) -> str:
    """Some processes, each with its machine.

    >>> named([1, 3, 4, 5], ["a", "a", "a", "b", "b", "b"])
    'process 1 on a, 3 on b, 4 on b and 1 more'
    """
    shown = ", ".join(f"{rank} on {hosts[rank]}" for rank in ranks[:NAMED])
    return f"process {shown}" + (f" and {len(ranks) - NAMED} more" if len(ranks) > NAMED else "")
