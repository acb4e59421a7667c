"""Draws bird.JPEG, a robin on a branch, so that there is a picture which anyone may use for anything.

    python demo/draw_bird.py [FILE]

The same picture every time: all that looks random comes from fixed seeds.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

WIDTH, HEIGHT = 500, 375
TIMES = 3  # drawn that much larger and shrunk, for smooth edges

Point = tuple[float, float]
Colour = tuple[int, int, int]

BODY: list[Point] = [
    (196, 108), (207, 84), (230, 72), (255, 77), (272, 93), (282, 114), (300, 138), (322, 166), (341, 198), (350, 226),
    (338, 246), (312, 262), (280, 272), (246, 272), (214, 258), (192, 234), (182, 204), (183, 172), (190, 140),
]  # fmt: skip
BREAST: list[Point] = [
    (206, 116), (228, 118), (248, 136), (252, 168), (262, 196), (270, 224), (268, 244), (252, 256), (228, 254),
    (206, 244), (190, 226), (181, 202), (182, 172), (190, 138),
]  # fmt: skip
BELLY: list[Point] = [(222, 250), (250, 240), (284, 240), (316, 250), (306, 264), (280, 273), (246, 273), (224, 264)]
HEAD: list[Point] = [
    (194, 112), (205, 84), (230, 70), (256, 76), (273, 94), (280, 114), (268, 132), (246, 138), (222, 132), (204, 126),
]  # fmt: skip
WING: list[Point] = [
    (262, 142), (282, 138), (306, 152), (330, 180), (354, 216), (380, 252), (364, 258), (334, 256), (304, 246),
    (280, 228), (264, 200), (256, 168),
]  # fmt: skip
TAIL: list[Point] = [(326, 234), (352, 226), (392, 270), (424, 318), (412, 328), (388, 316), (350, 278), (322, 256)]
BILL_ABOVE: list[Point] = [(200, 98), (184, 101), (164, 111), (180, 112), (198, 112)]
BILL_BELOW: list[Point] = [(198, 112), (180, 112), (168, 113), (182, 119), (200, 119)]


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("bird.JPEG")
    draw_bird().save(path, format="JPEG", quality=90)


def draw_bird() -> Image.Image:
    """A robin looking to the left, on a branch in front of a wood out of focus."""
    picture = _background()
    _leaves(picture, random.Random(5), [(52, 300, -150), (84, 308, 62), (440, 262, -40), (462, 250, 20)])
    _branch(picture)
    _shape(picture, TAIL, (74, 66, 62), (48, 42, 40))
    _strokes(picture, TAIL, (104, 94, 88), random.Random(1), 26, angle=50, length=70)
    _legs(picture)
    _shape(picture, BODY, (126, 112, 102), (92, 80, 72))
    _strokes(picture, BODY, (146, 132, 120), random.Random(2), 260, angle=55, length=16)
    _shape(picture, BELLY, (238, 232, 222), (206, 196, 184), soft=6)
    _shape(picture, BREAST, (224, 108, 44), (186, 72, 26), soft=5)
    _strokes(picture, BREAST, (240, 142, 76), random.Random(3), 230, angle=78, length=14)
    _strokes(picture, BREAST, (168, 64, 24), random.Random(4), 120, angle=78, length=11)
    _strokes(picture, BELLY, (250, 247, 240), random.Random(6), 90, angle=30, length=14)
    _wing(picture)
    _shape(picture, HEAD, (70, 62, 60), (46, 40, 40), soft=3)
    _strokes(picture, HEAD, (98, 88, 84), random.Random(7), 130, angle=30, length=9)
    _face(picture)
    _toes(picture)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _background() -> Image.Image:
    """Light through leaves: a gradient with soft discs."""
    small = Image.new("RGB", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(small)
    for y in range(HEIGHT):
        draw.line((0, y, WIDTH, y), _mixed((186, 208, 190), (78, 112, 72), y / HEIGHT))
    rng = random.Random(11)
    for _ in range(70):
        x, y, radius = rng.uniform(-20, 520), rng.uniform(-20, 400), rng.uniform(12, 52)
        base = _mixed((226, 232, 190), (58, 94, 58), min(1, max(0, y / HEIGHT + rng.uniform(-0.35, 0.35))))
        disc = Image.new("L", small.size, 0)
        ImageDraw.Draw(disc).ellipse((x - radius, y - radius, x + radius, y + radius), fill=rng.randint(40, 110))
        small.paste(base, (0, 0), disc.filter(ImageFilter.GaussianBlur(rng.uniform(3, 9))))
    return small.filter(ImageFilter.GaussianBlur(7)).resize((WIDTH * TIMES, HEIGHT * TIMES), Image.Resampling.BICUBIC)


def _branch(picture: Image.Image) -> None:
    spine = [(-20, 312), (80, 300), (180, 288), (270, 284), (360, 276), (440, 256), (520, 232)]
    above = [(x, y - 13 + x / 90) for x, y in spine]
    below = [(x, y + 14 - x / 60) for x, y in reversed(spine)]
    outline = above + below
    _shape(picture, outline, (146, 118, 90), (70, 52, 40), rounded=False)
    _strokes(picture, outline, (186, 158, 124), random.Random(8), 260, angle=-7, length=34, rounded=False)
    _strokes(picture, outline, (64, 48, 38), random.Random(9), 200, angle=-7, length=28, rounded=False)


def _leaves(picture: Image.Image, rng: random.Random, places: Sequence[tuple[float, float, float]]) -> None:
    """Each at the end of a stalk, (x, y) and the direction in degrees."""
    for x, y, degrees in places:
        turn, length = math.radians(degrees), rng.uniform(58, 72)

        def at(along: float, across: float, x: float = x, y: float = y, turn: float = turn) -> Point:
            return (
                x + along * math.cos(turn) - across * math.sin(turn),
                y + along * math.sin(turn) + across * math.cos(turn),
            )

        half = length * 0.26
        outline = [at(0, 0), at(0.25 * length, -half), at(0.6 * length, -0.85 * half), at(length, 0)]
        outline += [at(0.6 * length, 0.85 * half), at(0.25 * length, half)]
        _shape(picture, outline, (124, 164, 74), (66, 108, 48))
        draw = ImageDraw.Draw(picture)
        draw.line(_large([at(-14, 0), at(0.92 * length, 0)]), fill=(176, 202, 122), width=4)
        for share in (0.25, 0.42, 0.6):
            for side in (-1, 1):
                vein = [at(share * length, 0), at((share + 0.16) * length, side * 0.62 * half)]
                draw.line(_large(vein), fill=(150, 184, 98), width=2)


def _wing(picture: Image.Image) -> None:
    _shadow(picture, WING, 60)
    _shape(picture, WING, (112, 98, 90), (72, 62, 56), soft=2)
    _strokes(picture, WING, (138, 124, 114), random.Random(10), 120, angle=52, length=12)
    painted = picture.copy()
    draw = ImageDraw.Draw(painted)
    for row in range(4):  # short feathers above, in rows
        for number in range(6 - row // 2):
            x, y = 270 + 10 * number + 4 * row, 152 + 9 * number + 13 * row
            arc = _curve([(x - 6, y + 2), (x - 2, y + 8), (x + 5, y + 8), (x + 9, y + 2)])
            draw.line(_large([(px, py - 1.2) for px, py in arc]), fill=(140, 126, 116), width=2)
            draw.line(_large(arc), fill=(64, 54, 49), width=3)
    for number in range(7):  # long ones below, side by side
        start, end = (276 + 7 * number, 222 - 6 * number), (344 + 6 * number, 256 - 2 * number)
        line = _curve([start, ((start[0] + end[0]) / 2 - 4, (start[1] + end[1]) / 2 + 8), end])
        draw.line(_large([(x + 0.4, y - 1.6) for x, y in line]), fill=(158, 144, 132), width=3)
        draw.line(_large(line), fill=(50, 42, 38), width=4)
    picture.paste(painted, (0, 0), _mask(picture, WING, rounded=True).filter(ImageFilter.GaussianBlur(4)))


def _face(picture: Image.Image) -> None:
    draw = ImageDraw.Draw(picture)
    _shape(picture, BILL_BELOW, (214, 160, 62), (176, 120, 40))
    _shape(picture, BILL_ABOVE, (244, 196, 84), (206, 148, 50))
    draw.line(_large([(166, 112), (184, 112.5), (199, 113)]), fill=(110, 74, 30), width=3)
    draw.ellipse(_large_box(186, 104, 2.2, 1.1), fill=(120, 84, 36))
    for box in ((214, 94, 15, 6), (230, 112, 10, 4)):  # the broken white ring around the eye
        x, y, wide, high = box
        patch = Image.new("L", picture.size, 0)
        ImageDraw.Draw(patch).ellipse(_large_box(x + 6, y, wide / 2, high / 2), fill=200)
        picture.paste((232, 228, 222), (0, 0), patch.filter(ImageFilter.GaussianBlur(3)))
    draw.ellipse(_large_box(224, 102, 8.6, 8.6), fill=(226, 222, 214))
    draw.ellipse(_large_box(224, 102, 7.2, 7.2), fill=(38, 26, 20))
    draw.ellipse(_large_box(224, 102, 4.8, 4.8), fill=(10, 8, 8))
    draw.ellipse(_large_box(221.4, 99.2, 2.0, 2.0), fill=(255, 255, 255))
    draw.ellipse(_large_box(226.4, 104.8, 0.9, 0.9), fill=(150, 150, 160))
    for number in range(5):  # white streaks of the throat
        x = 203 + 3.4 * number
        draw.line(_large([(x, 121 + number), (x - 2, 130 + number)]), fill=(222, 214, 204), width=3)


def _legs(picture: Image.Image) -> None:
    draw = ImageDraw.Draw(picture)
    for top, foot in (((238, 262), (232, 284)), ((270, 264), (268, 281))):
        draw.line(_large([top, foot]), fill=(112, 78, 50), width=5 * TIMES)
        draw.line(_large([(top[0] - 1, top[1]), (foot[0] - 1, foot[1])]), fill=(158, 116, 78), width=2 * TIMES)


def _toes(picture: Image.Image) -> None:
    """Around the branch, in front of it."""
    draw = ImageDraw.Draw(picture)
    for x, y in ((232, 281), (268, 278)):
        for spread in (-13, -4, 5):
            toe = _curve([(x, y), (x + spread * 0.7, y + 2), (x + spread, y + 12)])
            draw.line(_large(toe), fill=(104, 72, 46), width=4 * TIMES, joint="curve")
            draw.line(_large([(px - 0.8, py - 0.5) for px, py in toe]), fill=(154, 112, 74), width=2 * TIMES)
            tip = toe[-1]
            draw.line(_large([tip, (tip[0] - 1, tip[1] + 4)]), fill=(50, 38, 30), width=2 * TIMES)


def _shape(
    picture: Image.Image, outline: Sequence[Point], light: Colour, dark: Colour, soft: float = 1, rounded: bool = True
) -> None:
    """A shape lit from the upper left: light there, dark along its lower right edge."""
    mask = _mask(picture, outline, rounded)
    left, top, right, bottom = mask.getbbox() or (0, 0, 1, 1)
    span = Image.linear_gradient("L").resize((right - left, bottom - top))
    shade = Image.new("L", picture.size, 0)
    shade.paste(span, (left, top))
    distance = (right - left) // 12 + 4
    inner = ImageChops.offset(mask.filter(ImageFilter.GaussianBlur(distance)), -distance // 3, -distance // 3)
    edge = ImageChops.subtract(mask, inner)
    shade = ImageChops.add(shade.point(lambda v: int(0.55 * v)), edge.point(lambda v: int(0.8 * v)))
    painted = Image.composite(Image.new("RGB", picture.size, dark), Image.new("RGB", picture.size, light), shade)
    picture.paste(painted, (0, 0), mask.filter(ImageFilter.GaussianBlur(soft)))


def _shadow(picture: Image.Image, outline: Sequence[Point], strength: int) -> None:
    mask = _mask(picture, [(x - 3, y + 5) for x, y in outline], rounded=True).filter(ImageFilter.GaussianBlur(12))
    body = _mask(picture, BODY, rounded=True)
    picture.paste((20, 14, 10), (0, 0), ImageChops.multiply(mask.point(lambda v: v * strength // 255), body))


def _strokes(
    picture: Image.Image, outline: Sequence[Point], colour: Colour, rng: random.Random, count: int, *,
    angle: float, length: float, rounded: bool = True,
) -> None:  # fmt: skip
    """Fine lines within a shape: feathers, or bark."""
    layer = Image.new("L", picture.size, 0)
    draw = ImageDraw.Draw(layer)
    xs, ys = [x for x, _ in outline], [y for _, y in outline]
    for _ in range(count):
        x, y = rng.uniform(min(xs), max(xs)), rng.uniform(min(ys), max(ys))
        turn, reach = math.radians(angle + rng.gauss(0, 10)), length * rng.uniform(0.5, 1.2)
        middle = (x + reach / 2 * math.cos(turn) + rng.gauss(0, 1), y + reach / 2 * math.sin(turn))
        end = (x + reach * math.cos(turn + 0.15), y + reach * math.sin(turn + 0.15))
        draw.line(_large([(x, y), middle, end]), fill=rng.randint(50, 150), width=rng.choice((1, 2, 3)))
    inside = _mask(picture, outline, rounded).filter(ImageFilter.GaussianBlur(4))
    picture.paste(colour, (0, 0), ImageChops.multiply(layer.filter(ImageFilter.GaussianBlur(0.8)), inside))


def _mask(picture: Image.Image, outline: Sequence[Point], rounded: bool) -> Image.Image:
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).polygon(_large(list(_closed(outline)) if rounded else outline), fill=255)
    return mask


def _closed(points: Sequence[Point]) -> Iterator[Point]:
    """A smooth closed line through the points (Catmull-Rom)."""
    count = len(points)
    for i in range(count):
        yield from _between(*(points[(i + offset) % count] for offset in (-1, 0, 1, 2)))


def _curve(points: Sequence[Point]) -> list[Point]:
    """A smooth open line through them."""
    padded = [points[0], *points, points[-1]]
    return [p for i in range(len(points) - 1) for p in _between(*padded[i : i + 4])] + [points[-1]]


def _between(a: Point, b: Point, c: Point, d: Point) -> Iterator[Point]:
    for step in range(10):
        t = step / 10
        x, y = (
            0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3)
            for p, q, r, s in zip(a, b, c, d, strict=True)
        )
        yield x, y


def _large(points: Sequence[Point]) -> list[Point]:
    return [(x * TIMES, y * TIMES) for x, y in points]


def _large_box(x: float, y: float, wide: float, high: float) -> list[float]:
    return [TIMES * value for value in (x - wide, y - high, x + wide, y + high)]


def _mixed(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (round(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return red, green, blue


if __name__ == "__main__":
    main()
