"""What training a classifier on a model is: the typed schemas of the recipes of `swav linear-eval` and `swav finetune`.

They are recipes like those of pretraining: one YAML file, complete, in which unknown keys are refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from swav_cli.recipe.part import (
    Accumulate,
    Area,
    Auto,
    BatchSize,
    ContradictionError,
    Count,
    InMemory,
    LogEvery,
    MostBad,
    NotNegative,
    OptimizerName,
    Part,
    Positive,
    Precision,
    Reference,
    RunName,
    Seed,
    Share,
    Workers,
)
from swav_cli.recipe.sections import CheckpointRecipe, OptimizerRecipe


class LabelledRecipe(Part):
    train: str | None = Field(
        default=None, description="labelled pictures, in the same forms as everywhere; null: those of the model's run"
    )
    val: str | None = Field(
        default=None,
        description="labelled pictures to judge by; null: those of the model's run, else a fifth held out of train",
    )
    labels: str = Field(
        default="all", description="which are used: all, a share such as 10%, a number a class, or a list of files"
    )
    cache: InMemory = "auto"
    max_bad: MostBad = 0.01


class TrainingCropRecipe(Part):
    size: Annotated[int, Field(ge=4)] | Auto = Field(
        default="auto", description="height and width, pixels; auto: the size at which the model is judged"
    )
    scale: Area = (0.08, 1.0)
    flip: Share = Field(default=0.5, description="probability of a horizontal flip")


class ClassifierScheduleRecipe(Part):
    drop_epochs: list[Count] = Field(
        default=[], description="epochs at which the rate drops; none: half a cosine to 0, an epoch at a time"
    )
    drop_factor: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.2, description="what is left of it at a drop")


class ClassifierTrainingRecipe(Part):
    epochs: Count = Field(description="passes over the pictures")
    batch_size: BatchSize
    accumulate: Accumulate = 1
    precision: Precision = "auto"
    workers: Workers = "auto"
    seed: Seed = Field(
        default=0, description="of the new layer, of which pictures keep their labels, of order and crops"
    )
    log_every: LogEvery = 10


class ClassifierEvaluationRecipe(Part):
    every: Count = Field(default=1, description="epochs between looks at the held-out pictures; always after the last")


class ProbeOptimizerRecipe(OptimizerRecipe):
    name: OptimizerName = "sgd"
    lr: Positive = Field(description="learning rate of the classifier, per 256 pictures")
    weight_decay: NotNegative = Field(default=0.0, description="on every trained parameter")


class FinetuneOptimizerRecipe(ProbeOptimizerRecipe):
    backbone_lr: Positive = Field(description="learning rate of the backbone, per 256 pictures")


class CachedRecipe(Part):
    """`--cached`: features are computed once, and a grid of settings is trained on them at once."""

    lrs: Annotated[list[Positive], Field(min_length=1)] = Field(description="learning rates tried, per 256 pictures")
    weight_decays: Annotated[list[NotNegative], Field(min_length=1)] = Field(description="weight decays tried")
    epochs: Count = Field(description="passes over the features")
    batch_size: Count = Field(description="features a step")
    holdout: Annotated[float, Field(gt=0, le=0.5)] = Field(
        description="share of the training pictures by which the best pair is chosen"
    )


class _BothKinds(Part):
    """What both kinds share."""

    name: RunName
    reference: Reference = None
    model: str | None = Field(default=None, description="what it is trained on; null: the newest run")
    data: LabelledRecipe = Field(default=LabelledRecipe())
    crop: TrainingCropRecipe = Field(default=TrainingCropRecipe())
    optimizer: ProbeOptimizerRecipe
    schedule: ClassifierScheduleRecipe = Field(default=ClassifierScheduleRecipe())
    training: ClassifierTrainingRecipe
    evaluation: ClassifierEvaluationRecipe = Field(default=ClassifierEvaluationRecipe())
    checkpoint: CheckpointRecipe = Field(default=CheckpointRecipe())

    @model_validator(mode="after")
    def _no_contradictions(self) -> _BothKinds:
        problems = [*_in_schedule(self), *_in_batch(self)]
        if problems:
            raise ContradictionError(problems)
        return self


class LinearRecipe(_BothKinds):
    """A linear classifier on frozen features.

    >>> from swav_cli import load_as
    >>> load_as(LinearRecipe, "linear-small", ["layers=[layer2]"]).layers
    ['layer2']
    """

    task: Literal["linear"] = Field(default="linear", description="linear: a classifier on frozen features")
    layers: list[str] = Field(
        default=[], description="feature maps judged beside the pooled features, each by a classifier of its own"
    )
    cached: CachedRecipe


class FinetuneRecipe(_BothKinds):
    """The whole network trained further with labels.

    >>> from swav_cli import load_as
    >>> load_as(FinetuneRecipe, "finetune-in1k-1pct").data.labels
    '1%'
    """

    task: Literal["finetune"] = Field(default="finetune", description="finetune: the backbone is trained too")
    optimizer: FinetuneOptimizerRecipe
    sync_batchnorm: bool = Field(default=True, description="batch normalisation over all processes")


ClassifierRecipe = LinearRecipe | FinetuneRecipe


def _in_schedule(recipe: _BothKinds) -> list[str]:
    late = [epoch for epoch in recipe.schedule.drop_epochs if epoch >= recipe.training.epochs]
    if late:
        return [f"schedule.drop_epochs ({late[0]}) is not within training.epochs ({recipe.training.epochs})"]
    return []


def _in_batch(recipe: _BothKinds) -> list[str]:
    batch, parts = recipe.training.batch_size, recipe.training.accumulate
    if batch != "auto" and batch % parts:
        return [f"training.batch_size ({batch}) does not divide into training.accumulate ({parts}) equal parts"]
    return []
