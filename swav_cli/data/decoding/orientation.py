"""Pictures turned upright, by the tag Orientation that EXIF data and TIFFs have in common."""

from __future__ import annotations

from PIL import Image
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


def orientation_in(exif: Image.Exif) -> int:
    """The number of the tag, of whatever type it is written; 1 where it is not there.

    Raises:
        Exception: of any kind, where it is no number.
    """
    found = exif.get(ORIENTATION, 1)
    return found[0] if isinstance(found, bytes) else int(found)  # bytes are what Pillow makes of the type BYTE
