"""What a recipe consists of: its values by section, each with its type, range and meaning.

A recipe is one YAML file, complete and without inheritance. Values that depend on the data may say `auto`;
`swav_cli.planning.derive` replaces them before a run starts, and the run's own `recipe.yaml` holds the result.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from swav_cli.errors import nearest
from swav_cli.recipe.architectures import ARCHITECTURES, Stem
from swav_cli.recipe.part import (
    Accumulate,
    Area,
    Auto,
    BatchSize,
    Count,
    Deviation,
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


class ModelRecipe(Part):
    backbone: str = Field(
        default="resnet50", description=f"architecture: {', '.join(ARCHITECTURES)}, or timm:NAME for one of timm's"
    )
    width: Count = Field(default=64, description="channels of the stem; 64 is the usual one")
    stem: Stem = Field(
        default="imagenet",
        description="imagenet: 7x7, stride 2, pooling; small: 3x3, for pictures up to about 64 pixels; small_pad2: 3x3 "
        "with solo-learn's padding of 2",
    )
    hidden_dim: Annotated[int, Field(ge=0)] = Field(
        default=2048, description="width of the projection head's hidden layer; 0: one linear layer"
    )
    embedding_dim: Count = Field(default=128, description="size of an embedding")
    prototypes: Count | Auto = Field(
        default=3000, description="how many prototypes; about ten for each kind in the pictures"
    )
    zero_init_residual: bool = Field(default=False, description="start each residual block as the identity")
    init_from: str | None = Field(
        default=None,
        description="weights to start from: a run, a file, a published model; auto: published ones that are on this "
        "machine, where they fit; null: none",
    )

    @field_validator("backbone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ARCHITECTURES and not name.startswith("timm:"):
            raise ValueError(
                f"no backbone '{name}'.{nearest(name, ARCHITECTURES)} Known: {', '.join(ARCHITECTURES)}, timm:NAME"
            )
        return name


class DataRecipe(Part):
    train: Annotated[str, Field(min_length=1)] = Field(
        description="folder, list of files (.txt, .csv, .jsonl), shards (.tar), .parquet, torchvision:NAME, "
        "shapes:COUNT, or a stream of shards: https://HOST/NAME-{000..146}.tar or pipe:COMMAND, which has to be typed "
        "and can't come from a file"
    )
    val: str | None = Field(default=None, description="labelled pictures for k-NN, in the same forms but no stream")
    bank: str | None = Field(
        default=None, description="labelled pictures that k-NN learns from; the training pictures where nothing is said"
    )
    cache: bool | Literal["auto", "device"] = Field(
        default="auto",
        description="keep decoded pictures in memory; auto: where they fit; device: on the GPU too, where crops are "
        "cut from them, the same ones level for level",
    )
    scaled_decoding: bool = Field(
        default=False,
        description="decode JPEGs at a half, a quarter or an eighth of their size where even so the smallest crop has "
        "twice its pixels: several times faster for photographs, and within a grey level in the mean",
    )
    limit: Count | None = Field(default=None, description="the first N pictures of a shuffle fixed by the seed")
    stream_pictures: Count | None = Field(
        default=None, description="pictures of a stream, which can't be counted; an epoch is so many"
    )
    shuffle_buffer: Count = Field(
        default=1000, description="pictures of a stream among which each worker draws the next one"
    )
    channels: Count = Field(
        default=3, description="channels of a picture: 1 gray, 3 colour, others for TIFF or .npy stacks"
    )
    mean: list[Share] | Auto = Field(
        default=[0.485, 0.456, 0.406], description="mean of each channel, 0 to 1; auto: measured"
    )
    std: list[Deviation] | Auto = Field(
        default=[0.229, 0.224, 0.225], description="deviation of each channel, of pictures from 0 to 1; auto: measured"
    )
    max_bad: MostBad = 0.01


class CropRecipe(Part):
    count: Count = Field(description="how many crops of this kind a picture")
    size: Annotated[int, Field(ge=4)] = Field(description="height and width, pixels")
    scale: Area
    assign: bool = Field(default=False, description="codes are computed from these crops")


class AugmentRecipe(Part):
    flip: Share = Field(default=0.5, description="probability of a horizontal flip")
    jitter: Share = Field(default=0.8, description="probability of colour jitter")
    brightness: NotNegative = Field(default=0.8, description="jitter: factor from 1 - x to 1 + x")
    contrast: NotNegative = Field(default=0.8, description="jitter: factor from 1 - x to 1 + x")
    saturation: NotNegative = Field(default=0.8, description="jitter: factor from 1 - x to 1 + x")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.2, description="jitter: turn of the colour circle, -x to x"
    )
    grayscale: Share = Field(default=0.2, description="probability of dropping colour")
    blur: Share = Field(default=0.5, description="probability of Gaussian blur")
    blur_sigma: tuple[Positive, Positive] = Field(default=(0.1, 2.0), description="least and most blur, pixels")


class QueueRecipe(Part):
    length: Annotated[int, Field(ge=0)] | Auto = Field(
        default=0, description="embeddings kept, over all processes; 0: none"
    )
    start_epoch: Annotated[int, Field(ge=0)] | Auto = Field(
        default=15, description="epoch, from 0, at which it begins to fill"
    )


class ClustersRecipe(Part):
    heads: Count = Field(
        default=3,
        description="of deepcluster2: so many clusterings, each with model.prototypes; the first one's are the model's",
    )
    iterations: Count = Field(default=10, description="of deepcluster2: rounds of k-means, at each epoch's start")


class LossRecipe(Part):
    temperature: Positive = Field(default=0.1, description="of the prediction's softmax")
    epsilon: Annotated[float, Field(ge=0.01)] = Field(
        default=0.05, description="of Sinkhorn; smaller makes codes sharper"
    )
    epsilon_of_spread: Positive | None = Field(
        default=None,
        description="epsilon follows the scores: this share of their spread, at most epsilon; null: epsilon throughout",
    )
    epsilon_least: Annotated[float, Field(ge=0.001)] = Field(
        default=0.01, description="least epsilon, where it follows the scores' spread"
    )
    sinkhorn_iterations: Count = Field(default=3, description="rounds of normalisation")
    freeze_prototypes_steps: Annotated[int, Field(ge=0)] | Auto = Field(
        default=0,
        description="first steps, in which prototypes stay as they are; auto: one epoch of large data, else none",
    )
    queue: QueueRecipe = Field(default=QueueRecipe())
    clusters: ClustersRecipe = Field(default=ClustersRecipe())


class OptimizerRecipe(Part):
    name: OptimizerName = "lars"
    lr: Positive | Auto = Field(description="learning rate per 256 pictures; scaled linearly with batch_size")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.9, description="momentum; adamw's first beta")
    weight_decay: NotNegative = Field(default=1e-6, description="on every parameter")
    trust_coefficient: Positive = Field(default=0.001, description="of lars: a step's part of a tensor's size")


class ScheduleRecipe(Part):
    warmup_epochs: NotNegative = Field(default=0, description="epochs of linear warm-up")
    warmup_lr: NotNegative = Field(
        default=0.0, description="learning rate at the start of the warm-up, per 256 pictures"
    )
    final_lr: NotNegative = Field(default=0.0, description="learning rate at the end of the cosine, per 256 pictures")


class TrainingRecipe(Part):
    epochs: Count | Auto = Field(description="passes over the pictures")
    batch_size: BatchSize
    accumulate: Accumulate = 1
    precision: Precision = "auto"
    compile: bool | Auto = Field(
        default=False,
        description="torch.compile the network: minutes to start, then faster; auto: on a GPU, in a long run",
    )
    checkpoint_activations: bool = Field(
        default=False,
        description="compute each residual block anew in the backward pass, which saves memory and takes longer",
    )
    workers: Workers = "auto"
    seed: Seed = Field(default=0, description="of weights, order of pictures, and crops")
    sync_batchnorm: bool | Count = Field(
        default=False,
        description="batch normalisation over all processes, or in groups of so many; not with accumulate",
    )
    timeout_minutes: Positive = Field(
        default=30.0, description="after which processes no longer wait for one that does not come"
    )
    minutes: Positive | None = Field(
        default=None,
        description="that --minutes planned the run to: network, crops, epochs, batch; null: it was not planned",
    )
    on_collapse: Literal["warn", "stop"] = Field(
        default="warn",
        description="where nothing is learnt any more: warn and train on, or save all and end",
    )
    log_every: LogEvery = 10


class EvaluationRecipe(Part):
    knn_every: Annotated[int, Field(ge=0)] = Field(
        default=0, description="epochs between k-NN checks; 0: at the end alone"
    )
    knn_k: Count = Field(default=20, description="neighbours that vote")
    knn_temperature: Positive = Field(default=0.07, description="of a vote's weight, exp(cosine / T)")


class CheckpointRecipe(Part):
    every_minutes: Positive = Field(
        default=10.0, description="minutes between checkpoints; one is written at each epoch's end"
    )
    keep_epochs: Annotated[int, Field(ge=0)] = Field(
        default=0, description="keep one for good every so many epochs; 0: none"
    )


class Sections(Part):
    """All that a recipe of pretraining says, whether or not it contradicts itself."""

    name: RunName
    reference: Reference = None
    objective: Literal["swav", "deepcluster2"] = Field(
        default="swav",
        description="swav: crops predict each other's codes; deepcluster2: clusters of the epoch before, by k-means",
    )
    model: ModelRecipe = Field(default=ModelRecipe())
    data: DataRecipe
    crops: Annotated[list[CropRecipe], Field(min_length=1)]
    augment: AugmentRecipe = Field(default=AugmentRecipe())
    loss: LossRecipe = Field(default=LossRecipe())
    optimizer: OptimizerRecipe
    schedule: ScheduleRecipe = Field(default=ScheduleRecipe())
    training: TrainingRecipe
    evaluation: EvaluationRecipe = Field(default=EvaluationRecipe())
    checkpoint: CheckpointRecipe = Field(default=CheckpointRecipe())

    @property
    def crop_count(self) -> int:
        """V, how many crops of each picture a step has."""
        return sum(crop.count for crop in self.crops)

    @property
    def assigned_crops(self) -> list[int]:
        """Positions of the crops that give codes, in the order in which crops are made."""
        flags = [crop.assign for crop in self.crops for _ in range(crop.count)]
        return [position for position, assign in enumerate(flags) if assign]
