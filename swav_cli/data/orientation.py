"""Pictures turned upright, by the tag Orientation that EXIF data and TIFFs have in common."""

from __future__ import annotations

from torch import Tensor

ORIENTATION = 0x0112

# Whether rows become columns first, and the axes that are flipped then (EXIF 2.32, 4.6.4 A; 1 is upright).
TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    2: (False, (2,)), 3: (False, (1, 2)), 4: (False, (1,)),
    5: (True, ()), 6: (True, (2,)), 7: (True, (1, 2)), 8: (True, (1,)),
}  # fmt: skip


def turned(picture: Tensor, orientation: int) -> Tensor:  # (C, H, W) -> (C, H, W) or (C, W, H)
    """The picture upright; as it is where the number means nothing."""
    if orientation not in TURNS:
        return picture
    transposed, flipped = TURNS[orientation]
    return (picture.transpose(1, 2) if transposed else picture).flip(flipped)
