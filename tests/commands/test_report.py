"""`swav report` as it is typed, and its page in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("bokeh")

from tests.browser import CHROMIUM, browser
from tests.conftest import Run, tiny_recipe
from tests.tasks.test_report import RESULTS, make_run, of_epochs

LAID_OUT = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
DRAWN = "[...document.querySelectorAll('.drawing')].filter(each => each.childElementCount).length"
ALL_DRAWN = f"""(async () => {{
    dispatchEvent(new Event("beforeprint"));
    for (let tries = 0; tries < 400 && {DRAWN} < document.querySelectorAll('.drawing').length; tries++)
        await new Promise(done => setTimeout(done, 25));
    return {DRAWN};
}})()"""


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
    from swav_cli.tasks.report import write_report

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
