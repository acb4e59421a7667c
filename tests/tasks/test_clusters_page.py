"""Whether a folder of clusters gets a page, and what a run's report takes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("bokeh")

from swav_cli.errors import UserError
from swav_cli.report.pages import page
from swav_cli.tasks.clusters_opened import ClustersFolder
from swav_cli.tasks.clusters_page import FORMAT, MOST_IN_A_REPORT, sections_of, wants_page


def test_a_page_is_wanted_where_it_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, said = ClustersFolder(tmp_path), list[str]()
    assert wants_page(None, folder, said.append)
    assert not wants_page(False, folder, said.append)
    folder.page.write_text("my own")
    with pytest.raises(UserError, match=r"index.html: is there, and no page that swav has made"):
        wants_page(None, folder, said.append)
    assert said == []
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    assert not wants_page(None, folder, said.append)
    missing = "pages need swav-cli with its extra `report`: pip install 'swav-cli[report]'"
    assert said == [f"no index.html: {missing}"]
    with pytest.raises(UserError, match="pip install"):
        wants_page(True, folder, said.append)


def test_a_report_takes_plain_values_alone(tmp_path: Path) -> None:
    path = ClustersFolder(tmp_path / "clusters").sections
    assert sections_of(tmp_path) is None
    path.parent.mkdir(parents=True)
    for junk in ("{", "[]", "{}", json.dumps({"format": FORMAT})):
        path.write_text(junk)
        assert sections_of(tmp_path) is None
    values = {"told": json.dumps(["</script><b>"]), "has_map": True}
    path.write_text(json.dumps({"format": FORMAT, "values": values, "dots": {"x": [1.5]}}))
    found = sections_of(tmp_path)
    assert found is not None
    assert found.values["told"] == '["\\u003c/script\\u003e\\u003cb\\u003e"]'
    assert found.dots == {"x": [1.5]}
    path.write_text(json.dumps({"format": "of another version", "values": values, "dots": {}}))
    assert sections_of(tmp_path) is None
    path.write_text(" " * (MOST_IN_A_REPORT + 1))
    assert sections_of(tmp_path) is None
