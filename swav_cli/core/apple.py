"""Whether Apple's GPU computes what the processor does: asked before `--device auto` takes it.

torch's kernels for it are younger than those for CUDA, and differ by release and by system; some gave wrong numbers in
silence. The forced `--device mps` is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from swav_cli.core.model import SwAV
from swav_cli.core.multicrop import draw_colours
from swav_cli.core.objective import assign_codes, swapped_prediction
from swav_cli.core.photometric import recolour
from swav_cli.errors import first_line
from swav_cli.recipe.sections import AugmentRecipe

PICTURES, SIZE = 6, 32
APART = 0.02  # of the values' norm; a grey level here and there, which rounding may turn over, is far less


def difference_from_cpu(device: torch.device) -> str | None:
    """What a small step of training gives on the device that it does not on the processor; None where they agree."""
    try:
        found = [(what, values.cpu()) for what, values in _small_step(device)]
    except Exception as error:  # whatever a young back-end raises
        reason = first_line(error)
        return f"a small step of training fails there ({reason})"
    for (what, expected), (_, values) in zip(_small_step(torch.device("cpu")), found, strict=True):
        apart = (values - expected).norm() / expected.norm().clamp(min=1e-12)
        if not bool(apart <= APART):
            return f"{what} differ from the processor's by {100 * float(apart):.0f} %"
    return None


def _small_step(device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """Colours, embeddings, codes, loss and gradients of the same small network and pictures."""
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (PICTURES, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    numbers = torch.from_numpy(draw_colours(np.random.Generator(np.random.Philox(key=0)), PICTURES, AugmentRecipe()))
    mean, std = (torch.tensor(values, device=device) for values in ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
    yield "colours", recolour(crops.to(device), numbers, mean, std)
    # The same pictures for every device, so that each part is compared by itself.
    pictures = recolour(crops, numbers, mean.cpu(), std.cpu()).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SwAV("resnet18", width=8, stem="small", hidden_dim=32, embedding_dim=16, prototypes=10)
    model = model.to(device).train()
    embeddings, scores = (rows.unflatten(0, (2, -1)) for rows in model(torch.cat([pictures, pictures.flip(-1)])))
    yield "embeddings", embeddings.detach()
    codes = assign_codes(embeddings.detach(), model.prototypes.weight.detach(), None, 0.05, 3)
    yield "codes", codes
    loss = swapped_prediction(scores, codes, [0, 1], 0.1)
    loss.backward()
    yield "losses", loss.detach()
    for name in ("conv1.weight", "layer4.1.conv2.weight", "prototypes.weight"):
        gradient = model.get_parameter(name).grad
        assert gradient is not None
        yield "gradients", gradient
