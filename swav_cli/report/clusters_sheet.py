"""Groups of pictures, and pictures near to one, as PNG files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.evaluate.answer import Answer, Guess
from swav_cli.evaluate.clustering.found import Found
from swav_cli.report.labelled_sheet import save_labelled
from swav_cli.report.sheet import save_rows

LINES, ACROSS = 30, 12  # groups, and pictures of each


def save_groups(path: Path, found: Found) -> int:
    """A line for each group, the largest first: its most typical pictures. Returns how many groups are shown."""
    shown = [group for group in found.groups if group.typical][:LINES]
    blank = torch.full((found.pictures.channels, 8, 8), 255, dtype=torch.uint8)
    most = max(len(group.typical[:ACROSS]) for group in shown)
    rows = []
    for group in shown:
        row = [_read(found.pictures, index) for index in group.typical[:ACROSS]]
        rows.append([*row, *[blank] * (most - len(row))])
    save_rows(path, rows)
    return len(shown)


def save_near(path: Path, pictures: Pictures, near: list[tuple[int, float]], asked: Pictures) -> None:
    """The picture that was asked for, and those near it with their cosines."""
    both = _Both(asked, pictures)
    answers = [Answer(0, asked.name(0), (Guess(0, "asked for", 1.0),))]
    answers += [
        Answer(1 + index, pictures.name(index), (Guess(0, "cosine", max(0.0, min(1.0, cosine))),))
        for index, cosine in near
    ]
    save_labelled(path, both, answers)


class _Both(Pictures):
    """One picture, and behind it others."""

    def __init__(self, one: Pictures, others: Pictures) -> None:
        self.one, self.others, self.source, self.channels = one, others, others.source, others.channels

    def __len__(self) -> int:
        return 1 + len(self.others)

    def read(self, index: int) -> Tensor:
        return self.others.read(index - 1) if index else self.one.read(0)

    def name(self, index: int) -> str:
        return self.others.name(index - 1) if index else self.one.name(0)


def _read(pictures: Pictures, index: int) -> Tensor:
    try:
        return pictures.read(index)
    except BadPicture:  # it could be read a moment ago
        return torch.zeros(pictures.channels, 8, 8, dtype=torch.uint8)
