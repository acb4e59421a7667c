"""What stands in a page: text as it is, whatever it holds, and nothing that a browser would fetch."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("bokeh")

from swav_cli.data.folders.own_results import is_page
from swav_cli.errors import UserError
from swav_cli.report.pages.curves import COLOURS, Course, Curve, Panel, draw_panel, thinned
from swav_cli.report.pages.page import check_page_place, save_page, shown
from swav_cli.report.pages.report import Content, report_page

VOID = {"meta", "img", "br", "link", "input"}
HOSTILE = [
    '<script>alert("x")</script>',
    "\"'><b onclick=x>",
    "ümläut – 猫.jpg",
    "half\udc80.jpg",
    "</script><!--",
    "{{ 7 * 7 }}",
]


class Elements(HTMLParser):
    """Those of a page, all of which have to be closed; attributes and the text of scripts are kept."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)


def check_page(text: str) -> Elements:
    """Well formed; nothing is fetched, and no script runs but those that the page's head names."""
    found = Elements(text)
    allowed = re.search(r"script-src 'nonce-([0-9a-f]{32})'", text)
    assert allowed is not None
    for tag, name, value in found.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "srcset", "action", "poster"):
            assert value.startswith(("data:image/", "#")), (tag, name, value)
    scripts = re.findall(r"<script([^>]*)>", text)
    assert [words for words in scripts if allowed[1] not in words and "application/json" not in words] == []
    return found


def test_text_stands_as_it_is_whatever_it_holds(tmp_path: Path) -> None:
    text = report_page(Content([], {}, {name: name for name in HOSTILE}, title=HOSTILE[0]))
    found = check_page(text)
    for name in HOSTILE:
        assert shown(name) in found.words
    assert "half\\udc80.jpg" in found.words
    assert {tag for tag, name, _ in found.attributes if name == "onclick"} == set()
    save_page(tmp_path / "page.html", text)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text


def test_the_home_folder_is_not_named() -> None:
    home = str(Path.home())
    assert (
        shown(f"pictures of {home}/photos, {home}x and /mnt{home}") == f"pictures of ~/photos, {home}x and /mnt{home}"
    )


def test_only_pages_of_ours_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<p>somebody's own")
    with pytest.raises(UserError, match="is there, and no page that swav has made"):
        check_page_place(path, overwrite=False)
    check_page_place(path, overwrite=True)
    save_page(path, report_page(Content([], {}, {"a": "b"}, title="mine")))
    assert is_page(str(path))
    check_page_place(path, overwrite=False)
    with pytest.raises(UserError, match="is a folder"):
        check_page_place(tmp_path, overwrite=True)


def test_long_curves_are_means_of_neighbours() -> None:
    values = [float(number % 7) for number in range(1203)] + [float("nan")]
    epochs, thin = thinned(range(len(values)), values)
    assert len(thin) == len(epochs) == 500
    edges = [int(number * 1203 / 500) for number in range(501)]
    slow = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    assert list(thin) == pytest.approx(slow)


def test_a_normal_course_is_a_band_over_the_whole_run() -> None:
    from bokeh.models import VArea

    course = [Course(0.0, 0.9, 1.0, 1.1), Course(1.0, 0.4, 0.5, 0.6)]
    curve = Curve("a run", [1, 2], [1.0, 0.9], COLOURS[0])
    drawn = draw_panel(Panel("loss", "", [curve], course=course, epochs=10.0))
    band = next(each for each in drawn.renderers if isinstance(each.glyph, VArea))
    assert list(band.data_source.data["x"]) == [0.0, 10.0]
    assert list(band.data_source.data["y2"]) == [1.1, 0.6]
    assert drawn.x_range.end == 10.0
