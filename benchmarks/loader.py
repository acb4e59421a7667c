"""Pictures a second on one core: our crops against plain torchvision transforms on PIL pictures.

    python benchmarks/loader.py [FOLDER] [--pictures 100] [--rounds 5]

Both make SwAV's eight crops of every picture (two of 224 pixels, six of 96) from its file. Ours end as uint8 with
colours left to the training device; torchvision's end coloured and normalised. What the colours cost where the device
is the same core is a line of its own. The ways take turns, so that other work on the machine slows all of them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image, ImageFilter
from torchvision import transforms

from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.photometric import recolour
from swav_cli.data.decoding.images import read_picture
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Batch, Crops
from swav_cli.data.sources import open_pictures
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe
from swav_cli.tasks.bench.made_up import PHOTO, Clouds, as_files

SIZES = [CropRecipe(count=2, size=224, scale=(0.14, 1.0)), CropRecipe(count=6, size=96, scale=(0.05, 0.14))]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BATCH = 16


def blur(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def torchvision_crops() -> Callable[[Image.Image], list[torch.Tensor]]:
    """The published augmentation, as its parts are found in torchvision and PIL."""
    ways = [
        transforms.Compose(
            [
                transforms.RandomResizedCrop(size.size, scale=size.scale),
                transforms.RandomHorizontalFlip(0.5),
                transforms.RandomApply([transforms.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
                transforms.RandomGrayscale(0.2),
                transforms.RandomApply([transforms.Lambda(blur)], p=0.5),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )
        for size in SIZES
        for _ in range(size.count)
    ]
    return lambda picture: [way(picture) for way in ways]


def with_torchvision(paths: list[str]) -> None:
    crops = torchvision_crops()
    for path in paths:
        with Image.open(path) as opened:
            crops(opened.convert("RGB"))


def with_ours(pictures: Pictures) -> Iterator[Batch]:
    crops = Crops(pictures, MultiCrop(SIZES, AugmentRecipe(), 0))
    for first in range(0, len(pictures), BATCH):
        yield crops.__getitems__([(0, index) for index in range(first, min(first + BATCH, len(pictures)))])


def colours(batches: list[Batch]) -> None:
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    for batch in batches:
        first = 0
        for crops in batch.crops:
            numbers = batch.numbers[:, first : first + crops.shape[1]]
            recolour(crops.flatten(0, 1), numbers.flatten(0, 1), mean, std)
            first += crops.shape[1]


def compare(pictures: Pictures, rounds: int) -> None:
    torch.set_num_threads(1)
    count = len(pictures)
    paths = [pictures.name(index) for index in range(count)]
    batches = list(with_ours(pictures))
    ways: dict[str, Callable[[], object]] = {
        "torchvision transforms on PIL": lambda: with_torchvision(paths),
        "ours, colours left out": lambda: deque(with_ours(pictures), maxlen=0),
        "  of which decoding": lambda: [read_picture(path) for path in paths],
        "our colours, on the CPU": lambda: colours(batches),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)

    print(f"{count} pictures, {rounds} rounds after one to warm up, one core; medians")
    print(f"{'':32}{'ms a picture':>14}{'pictures/s':>12}{'times torchvision':>19}")
    median = {name: statistics.median(taken[1:]) / count for name, taken in seconds.items()}
    both = median["ours, colours left out"] + median["our colours, on the CPU"]
    for name, each in {**median, "ours with colours, on the CPU": both}.items():
        ratio = median["torchvision transforms on PIL"] / each
        print(f"{name:32}{1000 * each:14.2f}{1 / each:12.1f}{ratio:19.1f}")
    pairs = zip(seconds["torchvision transforms on PIL"], seconds["ours, colours left out"], strict=True)
    ratios = [theirs / ours for theirs, ours in list(pairs)[1:]]
    print(f"round by round, ours with colours left out is {min(ratios):.1f} to {max(ratios):.1f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="some hundred of ImageNet's; made up where none is named")
    parser.add_argument("--pictures", type=int, default=100, help="how many of them")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    with TemporaryDirectory() as made:
        if options.folder is None:
            files = as_files(Clouds(options.pictures, PHOTO), options.pictures, Path(made))
        else:
            files = open_pictures(str(options.folder), limit=options.pictures)
        compare(files, options.rounds)


if __name__ == "__main__":
    main()
