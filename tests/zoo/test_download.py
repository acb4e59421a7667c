"""Downloads against a server on this machine that breaks off, changes its mind, and lies."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from swav_cli import UserError, progress
from swav_cli.zoo import download
from swav_cli.zoo.download import fetch, is_url, kept_as, models_folder
from swav_cli.zoo.load import load

DATA = bytes(range(256)) * 4000
SUM = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `data` at every address, with faults."""

    daemon_threads = True
    data = DATA
    ranges = True
    tag = '"one"'
    breaks = 0  # answers to break off in the middle
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []  # the Range of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/some/weights.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range", "")
        server.asked.append(wanted)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        if wanted and server.ranges and self.headers.get("If-Range", server.tag) == server.tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(server.data):
            self.send_error(416)
            return
        body = server.data[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        if server.breaks:
            server.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SWAV_MIRROR", raising=False)
    monkeypatch.setattr(download, "PAUSE", 0.0)
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def place() -> Path:
    return models_folder() / "weights.pth"


def left() -> list[str]:
    return sorted(path.name for path in models_folder().iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_fetched_once(server: Server) -> None:
    told: list[str] = []
    for _ in range(2):
        path = fetch(server.url, place(), SUM[:8], told.append)
        assert path.read_bytes() == DATA
    assert server.asked == [""]
    assert told == [f"downloading {server.url}"]
    assert left() == ["weights.pth"]


def test_how_far_it_is_is_told_as_all_work_is(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    monkeypatch.setattr(download, "CHUNK", len(DATA) // 4)
    fetch(server.url, place())
    assert capsys.readouterr().err.splitlines()[-1] == "downloading weights.pth: 100%"


@pytest.mark.parametrize(("ranges", "tag", "sha256"), [(True, '"one"', ""), (True, "", SUM), (False, "", "")])
def test_a_broken_connection_goes_on(server: Server, ranges: bool, tag: str, sha256: str) -> None:
    server.breaks, server.ranges, server.tag = 1 if not ranges else 2, ranges, tag
    assert fetch(server.url, place(), sha256).read_bytes() == DATA
    half = len(DATA) // 2
    assert server.asked == (["", f"bytes={half}-", f"bytes={half + half // 2}-"] if ranges else ["", ""])


def test_a_later_command_goes_on_where_an_earlier_one_stopped(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.status = 503
    models_folder().mkdir(parents=True)
    (models_folder() / ".weights.pth.part").write_bytes(DATA[:1000])
    with pytest.raises(UserError, match="What came so far is kept"):
        fetch(server.url, place(), SUM)
    server.status = 200
    assert fetch(server.url, place(), SUM).read_bytes() == DATA
    assert server.asked == ["bytes=1000-", "bytes=1000-"]


def test_a_connection_that_always_breaks_is_given_up_and_kept(server: Server) -> None:
    server.breaks, server.ranges = 100, False
    with pytest.raises(UserError, match=r"the connection broke.*the same command goes on.*SWAV_MIRROR"):
        fetch(server.url, place(), SUM)
    assert not place().exists()
    assert ".weights.pth.part" in left()


def test_a_file_that_changed_meanwhile_is_never_joined(server: Server) -> None:
    models_folder().mkdir(parents=True)
    (models_folder() / ".weights.pth.part").write_bytes(b"of the old file")
    (models_folder() / ".weights.pth.tag").write_text('"old"')
    assert fetch(server.url, place()).read_bytes() == DATA
    assert left() == ["weights.pth"]


@pytest.mark.parametrize("stale", [b"not the beginning", DATA + b"longer than the file"])
def test_what_does_not_fit_is_begun_again(server: Server, stale: bytes) -> None:
    models_folder().mkdir(parents=True)
    (models_folder() / ".weights.pth.part").write_bytes(stale)
    assert fetch(server.url, place(), SUM).read_bytes() == DATA


def test_a_wrong_hash_keeps_nothing(server: Server) -> None:
    with pytest.raises(UserError, match=f"its sha256 begins with {SUM[:8]} and should with 00000000; nothing was kept"):
        fetch(server.url, place(), "00000000")
    assert left() == []


def test_a_wrong_file_put_there_by_hand_is_noticed(server: Server) -> None:
    models_folder().mkdir(parents=True)
    place().write_bytes(b"something else")
    with pytest.raises(UserError, match="remove or replace it"):
        fetch(server.url, place(), SUM)
    assert server.asked == []


@pytest.mark.parametrize("status", [404, 503])
def test_a_refusal_says_which_file_to_put_where(server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(UserError, match=rf"{status}.*put weights.pth into {models_folder()}, or into a folder"):
        fetch(server.url, place(), SUM)


def test_without_internet_the_error_says_which_file_to_put_where(server: Server) -> None:
    server.server_close()
    with pytest.raises(UserError, match=rf"can't be fetched.*put weights.pth into {models_folder()}, or into a folder"):
        fetch(server.url, place(), SUM)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".org"])
def test_a_host_that_cannot_be(host: str) -> None:
    with pytest.raises(UserError, match=r"can't be fetched \(.*put weights\.pth into"):
        fetch(f"http://{host}/weights.pth", place(), SUM)


def test_a_mirror_folder_is_used_where_it_lies(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAV_MIRROR", str(tmp_path))
    with pytest.raises(UserError, match=r"weights.pth is not there; put it there, or at"):
        fetch(server.url, place(), SUM)
    (tmp_path / "weights.pth").write_bytes(DATA)
    assert fetch(server.url, place(), SUM) == tmp_path / "weights.pth"
    with pytest.raises(UserError, match="should with 0000"):
        fetch(server.url, place(), "0000")
    assert server.asked == []


def test_a_mirror_by_address(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAV_MIRROR", server.url.rpartition("/")[0] + "/")
    assert fetch("https://nowhere.invalid/deep/weights.pth", place(), SUM).read_bytes() == DATA


def test_processes_share_one_download(server: Server) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(server.url, place(), SUM))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [place()] * 4
    assert server.asked == [""]


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"can't be written.*XDG_CACHE_HOME"):
        fetch(server.url, place())


def test_addresses() -> None:
    assert is_url("https://a/b")
    assert not is_url("runs/quickstart")
    assert kept_as("https://a/x.pth").name == "x.pth"
    assert kept_as("https://a/x.pth") != kept_as("https://b/x.pth")


def test_an_address_with_a_name_that_is_too_long_for_the_disk(server: Server) -> None:
    for length in (250, 1000):
        url = f"{server.url}/{'y' * length}.pth"
        kept = fetch(url, kept_as(url))
        assert kept.read_bytes() == DATA
        assert kept.suffix == ".pth"


def test_a_page_in_place_of_weights_is_told_and_not_kept(server: Server) -> None:
    server.data = b"<!DOCTYPE html><html>"
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"weights.pth: an HTML page: what a server answered in place of the weights"
        ):
            load(server.url)
    assert not kept_as(server.url).exists()
    assert len(server.asked) == 2
