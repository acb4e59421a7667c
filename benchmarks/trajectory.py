"""Whether steps in float64 are on a GPU what they are on the processor: the largest difference of losses and weights.

python benchmarks/trajectory.py [--device cuda] [--steps 5] [--recipe quickstart] [--set KEY=VALUE]

Both begin with the same weights and take the same pictures, which are drawn; a queue and small crops take part.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from itertools import islice

import torch
from torch import Tensor

from swav_cli.core.device import own_device
from swav_cli.core.swav import Trainer
from swav_cli.data.sources import open_pictures
from swav_cli.planning.derive import derive
from swav_cli.recipe.file import load_recipe
from swav_cli.recipe.schema import Recipe

OURS = [
    "data.train=shapes:128", "data.val=null", "model.width=16", "training.batch_size=16", "training.precision=float64",
    "training.workers=0", "training.compile=false", "loss.queue.length=32", "loss.queue.start_epoch=0",
]  # fmt: skip


def taken(recipe: Recipe, device: torch.device, steps: int) -> tuple[list[float], dict[str, Tensor]]:
    """Losses of some steps, and the weights after them."""
    pictures = open_pictures(recipe.data.train)
    settled, _ = derive(recipe, pictures, device)
    trainer = Trainer(settled, pictures, device)
    with closing(trainer.steps(0)) as found:
        losses = [step.loss for step in islice(found, steps)]
    return losses, {name: value.cpu() for name, value in trainer.model.state_dict().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--recipe", default="quickstart")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, [*OURS, *options.overrides])
    here, weights = taken(recipe, torch.device("cpu"), options.steps)
    there, others = taken(recipe, own_device(options.device), options.steps)
    apart = max(abs(one - other) for one, other in zip(here, there, strict=True))
    largest = max(float((weights[name].double() - others[name].double()).abs().max()) for name in weights)
    print(f"cpu against {options.device}, {options.steps} steps in float64")
    print(f"losses apart  {apart:.1e}")
    print(f"weights apart {largest:.1e}")


if __name__ == "__main__":
    main()
