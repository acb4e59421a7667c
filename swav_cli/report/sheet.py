"""A sheet of crops, as a picture file."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from swav_cli.core.checkpoint import write_whole

GAP = 2  # pixels between crops
LEAST = 64  # pixels; smaller crops are shown larger


def save_sheet(path: Path, views: list[Tensor], mean: Tensor, std: Tensor, rows: int = 8) -> None:
    """A row a picture, a column a crop, as the network sees them with the normalisation undone.

    Args:
        views: V tensors (B, C, size, size).
    """
    rows = min(rows, len(views[0]))
    tall = max(LEAST, *(view.shape[-1] for view in views))
    columns = [_as_column(view[:rows].float(), mean, std, tall) for view in views]
    sheet = torch.cat(columns, dim=2).permute(1, 2, 0).mul(255).round().to(torch.uint8).cpu().numpy()
    picture = Image.fromarray(sheet)
    write_whole(path, lambda beside: picture.save(beside, format="PNG"))


def _as_column(view: Tensor, mean: Tensor, std: Tensor, tall: int) -> Tensor:  # (R, C, s, s) -> (3, H, W)
    shown = (view * std[:, None, None] + mean[:, None, None]).clamp(0, 1)
    shown = shown[:, :3] if shown.shape[1] >= 3 else shown[:, :1].expand(-1, 3, -1, -1)
    times = max(1, LEAST // shown.shape[-1])
    shown = F.interpolate(shown, scale_factor=times, mode="nearest") if times > 1 else shown
    below, right = tall - shown.shape[-2], 0
    padded = F.pad(shown, (GAP, GAP + right, GAP, GAP + below), value=1.0)
    return torch.cat(list(padded), dim=1)
