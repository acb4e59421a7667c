"""What is measured: a settled recipe and pictures for it, those named, the recipe's own, or made-up ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from swav_cli.core.multicrop import decode_for_crops
from swav_cli.data.paths import keeping_nothing
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.cache import CachedPictures, is_kept
from swav_cli.data.reading.limits import own_processors
from swav_cli.data.reading.loader import pick_workers
from swav_cli.data.shards.names import is_stream
from swav_cli.errors import Told, UserError
from swav_cli.planning.derive import derive
from swav_cli.planning.pace import sample_in_memory
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.recipe.usual import SMALL
from swav_cli.report.words import size
from swav_cli.run.pictures import training_pictures
from swav_cli.tasks.bench.made_up import Clouds, Repeated, as_files, bytes_a_file, usual_size

FILES, SMALL_FILES = 64, 512  # that are made up; the second where they are small
LOOKED_AT = 8  # pictures, to tell how large they are in memory
STEPS = 100  # of an epoch of made-up pictures
USUAL_BATCH = 256  # of those where a recipe says auto
EPOCHS = 100_000  # so that no measurement comes to a run's end


class Lying(NamedTuple):
    """Where a run's pictures lie, for another process to open."""

    source: str
    pictures: int  # that a run has
    in_memory: bool  # a run keeps all of them decoded
    workers: int = 0  # processes that read in a run

    def some(self, pictures: Pictures, recipe: Recipe) -> Pictures:
        """Those that stand for all of them, decoded where a run keeps them so."""
        return sample_in_memory(pictures, recipe.training.seed) if self.in_memory else pictures

    def opened(self, recipe: Recipe) -> Pictures:
        """As a run reads them."""
        return self.repeated(self.some(self.decoded_as_in_a_run(recipe), recipe), recipe)

    def repeated(self, some: Pictures, recipe: Recipe) -> Pictures:
        """As many as a run has; in a block of their own where a run keeps them on its device."""
        many = Repeated(some, self.pictures)
        return CachedPictures(many, max(1, own_processors())) if recipe.data.cache == "device" else many

    def decoded_as_in_a_run(self, recipe: Recipe) -> Pictures:
        """Opened anew: at another scale, where the recipe allows it, than those for other ends."""
        data = recipe.data.model_copy(update={"train": self.source, "stream_pictures": None})
        with keeping_nothing():
            own = training_pictures(recipe.model_copy(update={"data": data}))
        decode_for_crops(own, recipe)
        return own


class Subject(NamedTuple):
    """What is measured, and where."""

    recipe: Recipe  # settled, but for its epochs, which have no end
    pictures: Pictures  # as a run reads them, as many as it has
    files: Pictures  # as they lie, for `extract`
    lying: Lying
    told: str  # which pictures these are
    device: torch.device


def subject(recipe: Recipe, device: torch.device, are_named: bool, folder: Path, progress: Told) -> Subject:
    """
    Args:
        are_named: pictures were named for this; others than the recipe's own.
        folder: an empty one, where pictures may be made up.

    Raises:
        UserError: the pictures that are named are not there, or contradict the recipe.
    """
    own, why = _own(recipe, are_named, progress)
    if own is None:
        return _made_up(recipe, device, folder, why)
    recipe, _ = derive(recipe, own, device)
    lying = Lying(recipe.data.train, len(own), False)
    lying = lying._replace(in_memory=is_kept(lying.decoded_as_in_a_run(recipe), recipe.data.cache))
    files, told = own, f"{len(own):,} of {own.source}"
    if own.source.startswith("shapes"):
        files = as_files(own, SMALL_FILES, folder)
        told = f"{own.source}, drawn; extract reads {SMALL_FILES} of them from JPEG files"
    return _subject(recipe, own, files, lying, told, device)


def _own(recipe: Recipe, are_named: bool, progress: Told) -> tuple[Pictures | None, str]:
    """The pictures that a run of the recipe would read; else None, and why there are none."""
    if is_stream(recipe.data.train) and not are_named:
        return None, f"{recipe.data.train} is a stream, which is as quick as its network"
    if recipe.data.train.startswith("torchvision:") and not are_named:  # it would be fetched where it is not there
        return None, f"name {recipe.data.train} with --data to measure with it"
    try:
        with keeping_nothing():
            return training_pictures(recipe, progress), ""
    except UserError as error:
        if are_named:
            raise
        return None, str(error).partition(".")[0]


def _made_up(recipe: Recipe, device: torch.device, folder: Path, why: str) -> Subject:
    """JPEG files of the size that the recipe's crops are usually cut from."""
    crop = max(each.size for each in recipe.crops)
    height, width = usual_size(crop)
    is_small = crop <= SMALL
    some = SMALL_FILES if is_small else FILES
    files = as_files(Clouds(some, (height, width), recipe.data.channels), some, folder)
    batch = recipe.training.batch_size
    count = max(some, STEPS * (USUAL_BATCH if batch == "auto" else batch))
    known = recipe.model_copy(update={"data": recipe.data.model_copy(update={"stream_pictures": None})})
    recipe, _ = derive(known, Repeated(files, count), device)
    in_memory = recipe.data.cache in (True, "device") or (recipe.data.cache == "auto" and is_small)
    told = f"made up ({why}): {some} JPEG files of {width}x{height} pixels, {size(bytes_a_file(folder))} each"
    return _subject(recipe, files, files, Lying(str(folder), count, in_memory), told, device)


def _subject(recipe: Recipe, own: Pictures, files: Pictures, lying: Lying, told: str, device: torch.device) -> Subject:
    some = lying.some(lying.decoded_as_in_a_run(recipe) if recipe.data.scaled_decoding else own, recipe)
    lying = lying._replace(workers=pick_workers(recipe.training.workers, some, device))
    endless = with_training(recipe, epochs=EPOCHS)
    return Subject(endless, lying.repeated(some, recipe), files, lying, told, device)


def with_training(recipe: Recipe, **values: Any) -> Recipe:
    """The recipe with other values of its training, which nothing is derived from any more."""
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=values)})


def crops_told(recipe: Recipe) -> str:
    """
    >>> from swav_cli import load_recipe
    >>> crops_told(load_recipe("in1k-200e"))
    '2x224 + 6x96'
    """
    return " + ".join(f"{crop.count}x{crop.size}" for crop in recipe.crops)


def batch_of(recipe: Recipe) -> int:
    return settled(recipe.training.batch_size)
