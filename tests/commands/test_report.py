"""`swav report` as it is typed, and its page in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("bokeh")

from swav_cli.report.pages.clusters import clusters_sections
from swav_cli.report.pages.page import shown
from swav_cli.tasks.clusters_page import FORMAT
from swav_cli.tasks.report import write_report
from tests.browser import CHROMIUM, Browser, browser
from tests.conftest import Run, tiny_recipe
from tests.report.pages.test_clusters import UNREAD, found, places
from tests.tasks.test_report import RESULTS, make_run, of_epochs

LAID_OUT = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
DRAWN = "[...document.querySelectorAll('.drawing')].filter(each => each.childElementCount).length"
ALL_DRAWN = f"""(async () => {{
    dispatchEvent(new Event("beforeprint"));
    for (let tries = 0; tries < 400 && {DRAWN} < document.querySelectorAll('.drawing').length; tries++)
        await new Promise(done => setTimeout(done, 25));
    return {DRAWN};
}})()"""
PLACE_OF_A_DOT = """(dot => {
    document.getElementById("map").scrollIntoView({ block: "center" });
    const view = [...Bokeh.index].find((each) => each.model.select_one?.("dots"));
    const data = view.model.select_one("dots").data_source.data, box = view.el.getBoundingClientRect();
    const [x, y] = ["x", "y"].map((name) => (data.get ? data.get(name) : data[name])[dot]);
    return [box.x + view.frame.x_scale.compute(x), box.y + view.frame.y_scale.compute(y)];
})"""
POINTED = """(() => {
    const card = document.getElementById("pointed");
    return card.hidden ? "" : card.querySelector(".words").firstChild.textContent;
})()"""


def test_a_page_is_made_and_told_where(swav: Run, tmp_path: Path) -> None:
    make_run(tmp_path / "runs/tiny", tiny_recipe(), of_epochs("healthy", "healthy", "healthy"), RESULTS)
    done = swav("report", "runs/tiny")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "runs/tiny/report.html\n"
    assert "wrote runs/tiny/report.html, 1." in done.stderr
    found = json.loads(swav("report", "runs/tiny", "--json", "--out", "other.html").stdout)
    size = (tmp_path / "other.html").stat().st_size
    assert found == {"report": "other.html", "bytes": size, "runs": {"tiny": "healthy"}}


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    long = "a-name-without-any-place-to-break-" * 6
    one = make_run(tmp_path / "runs/one", tiny_recipe(f"data.train={long}"), of_epochs("healthy", "healthy"), RESULTS)
    two = make_run(tmp_path / "runs/two", tiny_recipe(), of_epochs("flat", advice="change <b>it</b>"), RESULTS)
    page = write_report([one, two]).report
    with browser(tmp_path / "home") as tab:
        papers = set()
        for width, dark in ((360, True), (1600, False)):
            tab.show(width, dark)
            tab.open(page)
            assert tab.value(ALL_DRAWN) > 10
            tab.value(LAID_OUT)
            assert tab.value("document.documentElement.scrollWidth") == width
            assert tab.value("document.querySelectorAll('b').length") == 0
            assert tab.complaints() == []
            assert tab.requests() == [page.as_uri()]
            papers.add(tab.value("getComputedStyle(document.body).backgroundColor"))
        assert len(papers) == 2, "light and dark differ"
        _check_clusters(tab, one)


def _check_clusters(tab: Browser, run: str) -> None:
    """Of a run whose clusters are known the report has a map, which shows the picture that one points at."""
    sections = clusters_sections(found(), places(), "")
    kept = Path(run) / "clusters" / "kept"
    kept.mkdir(parents=True)
    (kept / "page.json").write_text(json.dumps({"format": FORMAT, **sections._asdict()}))
    tab.open(write_report([run]).report)
    tab.value(ALL_DRAWN)
    assert tab.value("document.documentElement.scrollWidth") == 1600
    for dot in (3, 20):
        x, y = tab.value(f"{PLACE_OF_A_DOT}({dot})")
        for away in (300, 1, 0):
            tab.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x + away, y=y)
        tab.value(LAID_OUT)
        assert tab.value(POINTED) == shown(found().paths[dot if dot < UNREAD else dot + 1])
    assert tab.complaints() == []
