"""A web server for tests, whose connections break when they are told to."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """Serves the files of a folder, and breaks off within one as often as its name is in `cuts`."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folder, self.url = folder, f"http://127.0.0.1:{self.server_address[1]}"
        self.cuts: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()


class _Answer(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server, name = self.server, self.path.lstrip("/")
        server.asked[name] += 1
        there = (server.folder / name).is_file()
        content = (server.folder / name).read_bytes() if there else b""
        self.send_response(200 if there else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if server.cuts[name]:
            server.cuts[name] -= 1
            content = content[: len(content) // 2 + 100]
        self.wfile.write(content)


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    with Server(folder) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
