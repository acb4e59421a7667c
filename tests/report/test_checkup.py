"""What was found, as a table, as JSON, and as a block that tells nobody who or where its sender is."""

from __future__ import annotations

import getpass
import socket

import pytest

from swav_cli.report.checkup import Check, checkup_json, checkup_report, checkup_text, worst

GOOD = Check("memory", "ok", "8.0 GB can be had", values={"free_bytes": 8e9})
FULL = Check("disk", "problem", "/home/ann/runs: 1 kB free", "make room")
ODD = Check("files", "warning", "we|ird\x1b[2J`<b>.png, by Ann on deep-thought, /data/ann/x, annals", "rename @it")
FOUND = {"machine": [GOOD, FULL], "pictures": [ODD]}


def test_a_table_a_group_with_each_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = checkup_text(FOUND).splitlines()
    assert lines[:4] == [
        "machine",
        "   ok      memory 8.0 GB can be had",
        "   problem disk   /home/ann/runs: 1 kB free",
        "                  -> make room",
    ]
    assert lines[-1] == "1 ok, 1 warning, 1 problem"
    assert all(len(line) <= 60 for line in lines)
    assert "\x1b" not in "".join(lines)


def test_programs_get_the_worst_and_the_values() -> None:
    found = checkup_json(FOUND)
    assert found["state"] == worst(FOUND) == "problem"
    assert found["checks"][0] == {
        "group": "machine", "name": "memory", "state": "ok", "found": "8.0 GB can be had", "remedy": "",
        "values": {"free_bytes": 8e9},
    }  # fmt: skip
    assert worst({"machine": [GOOD], "pictures": [ODD]}) == "warning"


def test_the_block_names_no_home_no_user_and_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    monkeypatch.setattr(socket, "gethostname", lambda: "deep-thought.example.org")
    monkeypatch.setenv("HOSTNAME", "other")
    text = checkup_report(FOUND)
    assert "| problem | disk | ~/runs: 1 kB free -&gt; make room |" in text
    assert "by USER on HOST, /data/USER/x, annals" in text
    assert r"we\|ird\\x1b[2J\`&lt;b&gt;.png" in text
    assert "&#64;it" in text
    assert "ann " not in text.lower().replace("annals", "")
