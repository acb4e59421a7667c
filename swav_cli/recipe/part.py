"""What recipes are made of: frozen parts that refuse unknown keys, ranges of numbers, and values that several say."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Auto = Literal["auto"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Deviation = Annotated[float, Field(gt=0, le=1)]


def _in_order(scale: tuple[float, float]) -> tuple[float, float]:
    if not scale[0] <= scale[1] <= 1:
        raise ValueError(f"scale runs from small to large within (0, 1], got {scale[0]} to {scale[1]}")
    return scale


# What recipes of pretraining and of classifiers say alike, each in its own place.
RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the run's folder")]
Reference = Annotated[str | None, Field(description="the published result or what was measured, for `swav recipes`")]
InMemory = Annotated[bool | Auto, Field(description="keep decoded pictures in memory; auto: where they fit")]
MostBad = Annotated[
    Share, Field(description="share of unreadable pictures that a run bears, as whole ones, rounded up")
]
Area = Annotated[
    tuple[Positive, Positive],
    AfterValidator(_in_order),
    Field(description="least and most of the picture's area in a crop"),
]
OptimizerName = Annotated[Literal["lars", "sgd", "adamw"], Field(description="lars, sgd or adamw")]
BatchSize = Annotated[Count | Auto, Field(description="pictures a step, over all processes and accumulated parts")]
Accumulate = Annotated[
    Count, Field(description="parts in which a step's batch goes through the network, to save memory")
]
Precision = Annotated[
    Literal["auto", "float32", "bf16", "float64"],
    Field(description="auto: bf16 where the hardware is good at it, else float32"),
]
Workers = Annotated[Annotated[int, Field(ge=0)] | Auto, Field(description="processes that read pictures")]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
LogEvery = Annotated[Count, Field(description="steps between lines of metrics.jsonl")]


class Part(BaseModel):
    """A part of a recipe: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic would take `epochs: true` for 1."""
        given = value if isinstance(value, list) else [value]
        if any(isinstance(item, bool) for item in given) and not _takes_truth(cls, info.field_name or ""):
            raise ValueError("true or false is no number")
        return value


def _takes_truth(part: type[BaseModel], name: str) -> bool:
    annotation = part.model_fields[name].annotation
    return bool in (annotation, *get_args(annotation))


class ContradictionError(ValueError):
    """What a recipe says in one place is denied by another; `problems` holds a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def borne(most: float, count: int) -> int:
    """How many unreadable pictures of so many a run bears: one of a few is no reason to stop.

    >>> borne(0.01, 60), borne(0.01, 5000), borne(0.07, 100), borne(0.0, 60)
    (1, 50, 7, 0)
    """
    return math.ceil(round(most * count, 6))
