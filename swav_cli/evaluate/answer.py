"""What a model says of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["class", "cluster"]


@dataclass(frozen=True)
class Guess:
    """One class or cluster that a picture may belong to."""

    number: int  # of the class in the classifier's order, or of the prototype
    name: str | None  # of the class; clusters have none
    probability: float  # 0 to 1


@dataclass(frozen=True)
class Answer:
    """What is said of one picture: guesses with the likeliest first, or why there are none."""

    index: int  # of the picture
    path: str
    top: tuple[Guess, ...]
    margin: float | None = None  # cosine with the nearest prototype less that with the second; clusters only
    error: str | None = None


def kind_of(classes: tuple[str, ...]) -> Kind:
    """A model with a classifier answers with its classes, another with its clusters."""
    return "class" if classes else "cluster"
