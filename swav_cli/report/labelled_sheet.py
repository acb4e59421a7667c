"""Pictures with what a model says of each below it, as a PNG file."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.evaluate.answer import Answer
from swav_cli.printable import printable
from swav_cli.report.marked import save_sheet

MOST = 64  # pictures on a sheet
GAP = 12
PAPER, INK, FAINT, BAR, BAD = "#ffffff", "#202428", "#6b7280", "#bfd7ea", "#b3261e"


def save_labelled(path: Path, pictures: Pictures, answers: Sequence[Answer]) -> None:
    """A tile for each answer, the first `MOST`: the picture, its name, and bars as long as guesses are likely.

    Raises:
        UserError: the file can't be written.
    """
    shown = answers[:MOST]
    across = min(8, math.ceil(math.sqrt(len(shown) * 1.3)))
    side, size, most = (480, 20, 5) if len(shown) == 1 else (256, 15, 3) if across <= 4 else (170, 12, 2)
    guesses = max(1, min(most, max(len(answer.top) for answer in shown)))
    lines = [
        _line(pictures, shown[start : start + across], side, size, guesses) for start in range(0, len(shown), across)
    ]
    heights = [line[0].height + GAP for line in lines]
    sheet = Image.new("RGB", (GAP + len(lines[0]) * (side + GAP), GAP + sum(heights)), PAPER)
    top = GAP
    for line, height in zip(lines, heights, strict=True):
        for column, tile in enumerate(line):
            sheet.paste(tile, (GAP + column * (side + GAP), top))
        top += height
    save_sheet(path, sheet)


def _line(pictures: Pictures, answers: Sequence[Answer], side: int, size: int, guesses: int) -> list[Image.Image]:
    """Tiles that stand side by side, with their texts at one height."""
    fitted = [_fitted(pictures, answer, side) for answer in answers]
    height = max(picture.height for picture in fitted)
    return [
        _tile(picture, answer, side, height, size, guesses) for picture, answer in zip(fitted, answers, strict=True)
    ]


def _tile(picture: Image.Image, answer: Answer, side: int, height: int, size: int, guesses: int) -> Image.Image:
    lines = answer.top[:guesses]
    step = round(size * 1.6)
    tile = Image.new("RGB", (side, height + step * (1 + guesses) + 4), PAPER)
    tile.paste(picture, ((side - picture.width) // 2, height - picture.height))
    draw = ImageDraw.Draw(tile)
    font = ImageFont.load_default(size)
    top = height + 4
    draw.text((0, top), _end(_plain(answer.path), font, side), FAINT, font)
    if answer.error is not None:
        draw.text((0, top + step), _start(_plain(answer.error), font, side), BAD, font)
    for guess in lines:
        top += step
        share = f"{100 * guess.probability:.1f} %"
        label = f"cluster {guess.number}" if guess.name is None else _plain(guess.name)
        draw.rounded_rectangle((0, top, max(3, round(side * guess.probability)), top + step - 4), 3, BAR)
        room = side - 12 - font.getlength(share)
        draw.text((4, top + (step - 4 - size) // 2 - 1), _start(label, font, room - 6), INK, font)
        draw.text((side - font.getlength(share) - 2, top + (step - 4 - size) // 2 - 1), share, INK, font)
    return tile


def _fitted(pictures: Pictures, answer: Answer, side: int) -> Image.Image:
    """The whole picture within the tile; a small one is enlarged without smoothing. A crossed box for a bad one."""
    try:
        pixels = pictures.read(answer.index)
    except BadPicture:
        box = Image.new("RGB", (side, side // 2), "#f1f1f1")
        draw = ImageDraw.Draw(box)
        draw.line((0, 0, box.width, box.height), "#d0d0d0", 2)
        draw.line((0, box.height, box.width, 0), "#d0d0d0", 2)
        return box
    three = pixels[:3] if pixels.shape[0] >= 3 else pixels[:1].expand(3, -1, -1)
    picture = Image.fromarray(np.ascontiguousarray(three.permute(1, 2, 0).numpy()))
    times = side / max(picture.size)
    new = (max(1, round(picture.width * times)), max(1, round(picture.height * times)))
    return picture.resize(new, Image.Resampling.NEAREST if times >= 2 else Image.Resampling.LANCZOS)


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _plain(text: str) -> str:
    """Without accents, which the font that Pillow brings does not have."""
    return "".join(c for c in unicodedata.normalize("NFKD", printable(text)) if not unicodedata.combining(c))


def _start(text: str, font: Font, room: float) -> str:
    """As much of the text's beginning as there is room for."""
    length = len(text)
    while length and font.getlength(text[:length] + ("" if length == len(text) else "…")) > room:
        length -= 1
    return text if length == len(text) else text[:length] + "…"


def _end(text: str, font: Font, room: float) -> str:
    """As much of its end: of a path the name says most."""
    return _start(text[::-1], font, room)[::-1]
