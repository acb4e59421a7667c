"""Sheets of pictures carry a mark, so that no other command takes them for pictures of the user's."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from swav_cli.data.folders.own_results import SHEET
from swav_cli.files import write_whole

SOFTWARE = {"Software": SHEET}  # a text of PNG, for other writers of it


def save_sheet(path: Path, sheet: Image.Image) -> None:
    """As PNG, whole or not at all.

    Raises:
        UserError: the file can't be written.
    """
    mark = PngInfo()
    for key, text in SOFTWARE.items():
        mark.add_text(key, text)
    write_whole(path, lambda beside: sheet.save(beside, format="PNG", pnginfo=mark))
