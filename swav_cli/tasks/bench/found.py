"""All that was measured; what could not be is None, with the reason beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from swav_cli.evaluate.inference import Inference
from swav_cli.planning.pace import Reading
from swav_cli.recipe.schema import Recipe
from swav_cli.tasks.bench.inference import Extraction
from swav_cli.tasks.bench.subject import Subject
from swav_cli.tasks.bench.training import Compiled, Eager, EndToEnd


@dataclass
class Found:
    """Rates are pictures a second."""

    given: Subject
    wanted: frozenset[str]  # what was to be measured, by the names of `measure.SUBJECTS`
    reading: Reading | None = None  # on one core
    loader: float | None = None  # by all processes that read
    product: float | None = None  # floating-point operations a second
    copy: float | None = None  # bytes a second
    eager: Eager | None = None
    end_to_end: EndToEnd | None = None
    network: float | None = None
    how: Inference | None = None  # the network was run
    extraction: Extraction | None = None
    compiled: Compiled | None = None
    failed: dict[str, str] = field(default_factory=dict)  # why something was not measured, by its key

    @property
    def recipe(self) -> Recipe:
        """With the batch whose steps were timed."""
        return self.eager.steps.recipe if self.eager else self.given.recipe

    @property
    def share_of_product(self) -> float | None:
        """Of the operations that a matrix product does in the time of a step."""
        if self.eager is None or self.product is None:
            return None
        return self.eager.counts.flops / self.eager.steps.seconds / self.product

    @property
    def share_of_copy(self) -> float | None:
        """Of the bytes that a copy moves in the time of a step."""
        if self.eager is None or self.copy is None:
            return None
        return self.eager.counts.bytes / self.eager.steps.seconds / self.copy
