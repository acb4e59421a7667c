"""What a recipe says in one place and denies in another, as far as it shows without the pictures."""

from __future__ import annotations

from swav_cli.data.shards.names import is_stream
from swav_cli.recipe.sections import Sections


def contradictions(recipe: Sections) -> list[str]:
    """What can't be meant, as far as it shows without the data; each names both values."""
    return [
        *_in_model(recipe),
        *_in_crops(recipe),
        *_in_loss(recipe),
        *_in_schedule(recipe),
        *_in_batches(recipe),
        *_in_pictures(recipe),
        *_in_stream(recipe),
        *_in_objective(recipe),
    ]


def _in_model(recipe: Sections) -> list[str]:
    """What shapes a ResNet does nothing to a network of timm."""
    model, plain = recipe.model, type(recipe.model)()
    if not model.backbone.startswith("timm:"):
        return []
    return [
        f"model.{name} ({getattr(model, name)}) is of ResNets, and model.backbone is {model.backbone}; "
        f"set it to {str(getattr(plain, name)).lower()}"
        for name in ("width", "stem", "zero_init_residual")
        if getattr(model, name) != getattr(plain, name)
    ]


def _in_crops(recipe: Sections) -> list[str]:
    found = []
    if not recipe.assigned_crops:
        found.append("no crops have assign: true, so there is nothing to compute codes from; set it on the large ones")
    if recipe.crop_count < 2:
        found.append(
            f"crops make {recipe.crop_count} crop a picture; swapped prediction needs 2 or more, so raise crops.0.count"
        )
    return found


def _in_loss(recipe: Sections) -> list[str]:
    loss = recipe.loss
    if loss.epsilon_of_spread is None or loss.epsilon_least <= loss.epsilon:
        return []
    return [
        f"loss.epsilon_least ({loss.epsilon_least:g}) is above loss.epsilon ({loss.epsilon:g}), which is the most that "
        "an epsilon of the spread can be; lower the one or raise the other"
    ]


def _in_schedule(recipe: Sections) -> list[str]:
    found = []
    epochs, lr, schedule, queue = recipe.training.epochs, recipe.optimizer.lr, recipe.schedule, recipe.loss.queue
    if epochs != "auto":
        if schedule.warmup_epochs > epochs:
            found.append(
                f"schedule.warmup_epochs ({schedule.warmup_epochs:g}) is longer than training.epochs ({epochs})"
            )
        if queue.length and queue.start_epoch != "auto" and queue.start_epoch >= epochs:
            found.append(
                f"loss.queue.start_epoch ({queue.start_epoch}) is not within training.epochs ({epochs}), "
                "counted from 0; start it earlier or set loss.queue.length to 0"
            )
    if lr != "auto":
        if schedule.warmup_epochs and schedule.warmup_lr > lr:
            found.append(
                f"schedule.warmup_lr ({schedule.warmup_lr:g}) is above optimizer.lr ({lr:g}), to which it rises"
            )
        if schedule.final_lr > lr:
            found.append(
                f"schedule.final_lr ({schedule.final_lr:g}) is above optimizer.lr ({lr:g}), from which it falls"
            )
    return found


def _in_batches(recipe: Sections) -> list[str]:
    batch, parts, queue = recipe.training.batch_size, recipe.training.accumulate, recipe.loss.queue.length
    if batch == "auto":
        return []
    found = []
    if batch % parts:
        found.append(f"training.batch_size ({batch}) does not divide into training.accumulate ({parts}) equal parts")
    elif batch // parts < 2:
        found.append(
            f"training.batch_size ({batch}) over training.accumulate ({parts}) leaves 1 picture a part; "
            "batch normalisation needs 2"
        )
    if recipe.training.sync_batchnorm is not False and parts > 1:
        found.append(
            f"training.sync_batchnorm ({recipe.training.sync_batchnorm}) and training.accumulate ({parts}) exclude "
            "each other: processes would share statistics of a part and never see the other parts; "
            "add --set training.sync_batchnorm=false"
        )
    if queue != "auto" and 0 < queue < batch:
        found.append(
            f"loss.queue.length ({queue}) is shorter than training.batch_size ({batch}); "
            "it would hold a part of one batch"
        )
    return found


def _in_stream(recipe: Sections) -> list[str]:
    data = recipe.data
    if not is_stream(data.train):
        return (
            [f"data.stream_pictures ({data.stream_pictures}) is of streams, and data.train is none; set it to null"]
            if data.stream_pictures
            else []
        )
    found = []
    if data.stream_pictures is None:
        found.append(
            "data.train is a stream, whose pictures can't be counted; say about how many they are with "
            "--set data.stream_pictures=N"
        )
    if data.limit is not None:
        found.append(
            f"data.limit ({data.limit}) chooses among pictures that are known, and data.train is a stream; set it to "
            "null and name fewer shards"
        )
    if data.cache in (True, "device"):
        found.append(
            f"data.cache ({str(data.cache).lower()}) keeps pictures that are read once, and data.train is a stream; "
            "set it to auto"
        )
    return found


def _in_objective(recipe: Sections) -> list[str]:
    """What only the other objective has; epsilon and rounds of Sinkhorn always have a value, and are passed over."""
    loss, usual = recipe.loss, type(recipe.loss.clusters)()
    if recipe.objective == "swav":
        return [
            f"loss.clusters.{name} ({value}) is of objective deepcluster2, and objective is swav; set it to "
            f"{getattr(usual, name)}"
            for name, value in dict(loss.clusters).items()
            if value != getattr(usual, name)
        ]
    found = []
    if is_stream(recipe.data.train):
        found.append(
            "objective deepcluster2 knows each picture again in the next epoch, and data.train is a stream, whose "
            "pictures have no numbers; name files, or set objective to swav"
        )
    if loss.queue.length not in (0, "auto"):
        found.append(
            f"loss.queue.length ({loss.queue.length}) is of objective swav: deepcluster2 remembers a whole epoch; set "
            "it to 0"
        )
    if loss.freeze_prototypes_steps not in (0, "auto"):
        found.append(
            f"loss.freeze_prototypes_steps ({loss.freeze_prototypes_steps}) is of objective swav: prototypes of "
            "deepcluster2 are centroids and never trained; set it to 0"
        )
    return found


def _in_pictures(recipe: Sections) -> list[str]:
    found = []
    least, most = recipe.augment.blur_sigma
    if least > most:
        found.append(f"augment.blur_sigma runs from small to large, got {least:g} to {most:g}")
    for name, values in (("mean", recipe.data.mean), ("std", recipe.data.std)):
        if values != "auto" and len(values) != recipe.data.channels:
            found.append(
                f"data.{name} has {len(values)} values for data.channels ({recipe.data.channels}); "
                f"--set data.{name}=auto measures them"
            )
    return found
