"""The page of clusters, made of pictures whose colours tell which one is shown where."""

from __future__ import annotations

import io
import json
import re
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

pytest.importorskip("jinja2")
pytest.importorskip("bokeh")

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.evaluate.clustering.found import Found, Group
from swav_cli.evaluate.clustering.near import Neighbours
from swav_cli.report.pages import clusters as module
from swav_cli.report.pages.clusters import Sections, clusters_page, clusters_sections, pointed_at, tile_side
from swav_cli.report.pages.page import shown
from swav_cli.report.pages.thumbnails import thumbnails
from tests.report.pages.test_page import HOSTILE, check_page

COUNT, UNREAD = 40, 7


class Plain(Pictures):
    """Pictures of one colour each; one of them can't be read."""

    source, channels = "plain/", 3

    def __init__(self) -> None:
        self.labels = np.arange(COUNT) % 2
        self.classes = ["even", "<odd>"]

    def __len__(self) -> int:
        return COUNT

    def read(self, index: int) -> Tensor:
        if index == UNREAD:
            raise BadPicture("it is empty")
        return torch.tensor(colour(index), dtype=torch.uint8)[:, None, None].expand(3, 20, 30).contiguous()

    def name(self, index: int) -> str:
        return HOSTILE[index] if index < len(HOSTILE) else f"plain/{index}.png"


def colour(index: int) -> tuple[int, int, int]:
    return 6 * index, 255 - 6 * index, 40 * (index % 4)


def found() -> Found:
    """Two groups and some of none; 1 and 3 are copies of 0, and 9 is odd."""
    read = np.arange(COUNT) != UNREAD
    group = np.where(np.arange(COUNT) % 5 == 4, -1, np.arange(COUNT) % 5 // 2)
    copy_of = np.full(COUNT, -1)
    copy_of[[1, 3]] = 0
    ones = np.ones(COUNT, np.float32)
    value = Found(
        pictures=Plain(), model="runs/<b>", kind="prototypes", clusters=9,
        paths=[Plain().name(index) for index in range(COUNT)], margin=ones,
        errors=["" if ok else "it is empty" for ok in read], size=np.full((COUNT, 2), 20, np.int32),
        points=np.zeros((COUNT, 2), np.float32), cluster=group + 3, probability=0.5 * ones, second=group + 4,
        group=np.where(read, group, -1), outlier=ones, is_outlier=np.arange(COUNT) == 9, copy_of=copy_of,
        similarity=np.where(copy_of < 0, np.nan, 0.97).astype(np.float32), exact=np.arange(COUNT) == 1,
        neighbours=Neighbours(np.zeros((COUNT, 1), np.int32), np.zeros((COUNT, 1), np.float32)),
    )  # fmt: skip
    for number in (0, 1, -1):
        own = np.flatnonzero((value.group == number) & read)
        value.groups.append(Group(number, own, own[:4].tolist(), own[-3:].tolist(), "<odd>", 0.625))
    value.judged["groups"] = {
        "groups": 2, "accuracy": 0.75, "nmi": 0.5, "adjusted_rand": 0.25, "purity": 0.8,
        "weakest": [{"first": "even", "second": "<odd>", "together": 0.4}],
    }  # fmt: skip
    return value


def places() -> Any:
    return np.stack([np.arange(COUNT), np.arange(COUNT) % 7], axis=1).astype(np.float32)


def told_in(text: str) -> dict[str, Any]:
    script = re.search(r'<script type="application/json" id="told">(.*?)</script>', text, re.DOTALL)
    assert script is not None
    return dict(json.loads(script[1]))


def image_of(address: str) -> Image.Image:
    return Image.open(io.BytesIO(b64decode(address.partition(",")[2]))).convert("RGB")


def is_of(pixel: Any, index: int) -> bool:
    return bool(np.abs(np.array(pixel, dtype=int) - colour(index)).max() < 12)


def test_all_that_was_found_is_there() -> None:
    text = clusters_page(clusters_sections(found(), places(), "Laid out by hand."))
    page = check_page(text)
    told = " ".join(" ".join(page.words).split())
    for words in (
        "40 pictures in 2 groups", "plain/, by the model runs/<b>: 9 clusters (prototypes)", "Laid out by hand.",
        "Group 0 16 pictures, 41.0%; 62.5% of them <odd>", "In no group 8 pictures", "Groups (2) 75.0 0.500 0.250 80.0",
        "even and <odd> 40 %", "2 pictures that others stand for, 1 of them exact, in 1 set.",
        "1 picture that no others are near to", f"plain/{UNREAD}.png: it is empty",
    ):  # fmt: skip
        assert words in told, words
    images = dict(
        zip(
            [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")],
            [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")],
            strict=True,
        )
    )
    for index in (*range(len(HOSTILE)), 9):
        words, address = next(pair for pair in images.items() if pair[0].startswith(f"{shown(found().paths[index])}\n"))
        assert is_of(image_of(address).getpixel((48, 48)), index), words
    assert any(words.endswith("the same pixels") for words in images)
    assert any(words.endswith("cosine 0.970") for words in images)


def test_each_dot_of_the_map_shows_its_own_picture() -> None:
    told = told_in(clusters_page(clusters_sections(found(), places(), "")))
    read = [index for index in range(COUNT) if index != UNREAD]
    assert told["names"] == [shown(found().paths[index]) for index in read]
    assert [["group 0", "group 1", None][place] for place in told["of"]] == [
        [None, "group 0", "group 1"][found().group[index] + 1] for index in read
    ]
    assert told["tiles"] == list(range(COUNT - 1))
    sheet, side = image_of(told["sheets"][0]), told["side"]
    for tile, dot in enumerate(told["tiles"]):
        down, across = divmod(tile, told["across"])
        assert is_of(sheet.getpixel((across * side + side // 2, down * side + side // 2)), read[dot])


def test_very_many_dots_share_what_room_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POINTED_AT", 20)
    on_map = np.arange(0, 1000, 2)
    chosen = pointed_at(on_map, [2, 4, 8])
    assert len(chosen) <= 20
    assert {0, 2, 4, 8, 998} <= {*chosen}
    assert pointed_at(on_map[:20], []) == on_map[:20].tolist()
    assert [tile_side(count) for count in (10, 5_000, 20_000, 20_001)] == [96, 64, 48, 40]


def test_sheets_follow_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swav_cli.report.pages.thumbnails.ACROSS", 3)
    some = [index for index in range(20) if index != UNREAD]
    made = thumbnails(Plain(), [5], some, side=16)
    assert [image_of(sheet).size for sheet in made.sheets] == [(48, 48), (48, 48), (48, 16)]
    assert made.tiles == some
    assert is_of(image_of(made.sheets[1]).getpixel((8, 8)), some[9])
    assert [*made.shown] == [5]


def test_sections_are_plain_values() -> None:
    sections = clusters_sections(found(), places(), "")
    again = Sections(**json.loads(json.dumps(sections._asdict())))
    both = [check_page(clusters_page(each)) for each in (sections, again)]
    images = [[each for each in page.attributes if each[0] == "img"] for page in both]
    assert images[0] == images[1] != []
    assert both[0].words[:-2] == both[1].words[:-2]  # the last ones tell when it was made
