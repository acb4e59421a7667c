"""A page in a real browser, without a screen: what it prints to its console, what it asks for, how wide it is.

Debian's chromium is spoken to over two pipes, by its DevTools protocol (JSON messages that end with NUL), so that no
library is needed.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LONGEST = 240.0  # seconds to wait for an answer


class Browser:
    """One tab."""

    def __init__(self, to_it: int, from_it: int) -> None:
        self._to, self._from, self._rest, self._number = to_it, from_it, b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **given: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": given}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._hear()
            if heard.get("id") == self._number:
                assert "error" not in heard, heard
                return dict(heard["result"])

    def _hear(self) -> dict[str, Any]:
        until = time.monotonic() + LONGEST
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            read = os.read(self._from, 1 << 20)
            assert read, "the browser has ended"
            self._rest += read
        message, self._rest = self._rest.split(b"\0", 1)
        heard = dict(json.loads(message))
        if "method" in heard:
            self.events.append(heard)
        return heard

    def open(self, page: Path) -> None:
        """Until it is loaded."""
        self.events.clear()
        self.ask("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._hear()

    def show(self, width: int, dark: bool = False, height: int = 900) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def value(self, expression: str) -> Any:
        """What JavaScript makes of it; a promise is waited for."""
        found = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self) -> list[str]:
        """Errors and warnings since the page was opened."""
        found = []
        for event in self.events:
            told = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(told["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
                found.append(str(told["args"]))
            elif event["method"] == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                found.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        return found

    def requests(self) -> list[str]:
        """Addresses that were asked for since the page was opened, but for the pictures that are within it."""
        asked = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in asked if not each["request"]["url"].startswith("data:")]

    def picture(self, path: Path, whole: bool = False) -> None:
        """A screenshot."""
        taken = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(b64decode(taken["data"]))


@contextmanager
def browser(home: Path) -> Iterator[Browser]:
    """
    Args:
        home: an empty folder for what it keeps.
    """
    assert CHROMIUM is not None
    its_in, to_it = os.pipe()
    from_it, its_out = os.pipe()

    def connect() -> None:  # the numbers that it expects
        high = [os.dup2(end, number) for end, number in ((its_in, 100), (its_out, 101))]
        for end, number in zip(high, (3, 4), strict=True):
            os.dup2(end, number)

    words = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
        "--disable-background-networking", "--disable-extensions", "--hide-scrollbars", f"--user-data-dir={home}",
    ]  # fmt: skip
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(
            words, pass_fds=(3, 4, its_in, its_out), preexec_fn=connect, stdout=nowhere, stderr=nowhere,
            env={**os.environ, "HOME": str(home)},
        )  # fmt: skip
    os.close(its_in)
    os.close(its_out)
    try:
        yield Browser(to_it, from_it)
    finally:
        os.close(to_it)
        os.close(from_it)
        process.terminate()
        process.wait(30)
