"""The command as a process of its own, as a user starts it: forked from one that has its imports, or truly started.

A forked command is quicker by the seconds that its imports take, and is otherwise the same: see `tests.fork_server`. A
few tests start a true one: those of what happens before and after our own code runs.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CAN_FORK = sys.platform == "linux"
SERVER = Path(__file__).with_name("fork_server.py")


def environment(**more: str) -> dict[str, str]:
    """What surrounds the commands of a test: this process's own, with a screen of 80 columns and one thread each."""
    return {**os.environ, "COLUMNS": "80", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", **more}


def swav_command(*arguments: object) -> list[str]:
    """The words that start the command truly."""
    return [sys.executable, "-m", "swav_cli", *map(str, arguments)]


def start(
    *arguments: object,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    module: str = "swav_cli",
    forked: bool = CAN_FORK,
    **streams: Any,
) -> subprocess.Popen[str]:
    """Begin a command; what it says is text, of which nothing is lost unless `streams` say so.

    Args:
        module: what is run as by `python -m`; or `-c`, and the first argument is code.
        forked: False starts it truly, for what depends on when it imports something.
    """
    words = [module, *map(str, arguments)]
    given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **streams}
    surroundings = environment() if env is None else dict(env)
    if not forked:
        as_module = [] if module == "-c" else ["-m"]
        return subprocess.Popen([sys.executable, *as_module, *words], cwd=cwd, env=surroundings, **given)
    return Forked(words, cwd=cwd, env=surroundings, **given)


def run(
    *arguments: object, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 300, **given: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its exit code and what it said."""
    text = given.pop("input", None)
    if text is not None:
        given["stdin"] = subprocess.PIPE
    with start(*arguments, cwd=cwd, env=env, **given) as process:
        try:
            out, err = process.communicate(text, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def start_together(
    world: int, *arguments: object, cwd: Path, module: str = "swav_cli", forked: bool = CAN_FORK, **more: str
) -> list[subprocess.Popen[str]]:
    """So many processes of one command, each with its rank, as a launcher starts them; `more` joins their environment.

    PYTHONPATH is this folder, so that a module of the tests may be the command.
    """
    with socket.socket() as free:  # the first process keeps the place where they meet
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world), "PYTHONPATH": str(Path.cwd())}
    places = [{**meeting, "RANK": str(rank), "LOCAL_RANK": str(rank), **more} for rank in range(world)]
    return [start(*arguments, cwd=cwd, env=environment(**place), module=module, forked=forked) for place in places]


def share(world: int, *arguments: object, cwd: Path) -> str:
    """Run a command by so many processes, of which none may fail; what the first one wrote on standard output."""
    processes = start_together(world, *arguments, cwd=cwd)
    said = [process.communicate(timeout=300) for process in processes]
    for process, (_, failed) in zip(processes, said, strict=True):
        assert process.returncode == 0, failed[-3000:]
    return said[0][0]


def wait_until(ready: Callable[[], object], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait for what a process is about to do. That it ended before, or never does it, is an error."""
    until = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, f"ended too early: {process.communicate()}"
        assert time.monotonic() < until, "did not get that far"
        time.sleep(0.005)


def stopped(process: subprocess.Popen[str], number: signal.Signals, ready: Callable[[], object]) -> tuple[int, str]:
    """Send a command the signal once that is so: the exit code, and what was said."""
    try:
        wait_until(ready, process)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said


class Forked(subprocess.Popen[str]):
    """A `Popen` whose process is forked by the server: its parent, which tells how it ended."""

    def _execute_child(self, args: Any, executable: Any, *rest: Any) -> None:  # type: ignore[override]
        # The places that Popen itself hands over, alike in all of Python 3.
        cwd, env, into, out, err = rest[3], rest[4], rest[8:10], rest[10:12], rest[12:14]
        request = {"module": args[0], "arguments": args[1:], "cwd": str(cwd), "environment": env}
        streams = [given if given != -1 else number for number, given in enumerate((into[0], out[1], err[1]))]
        self._status, told = os.pipe()
        try:
            self.pid = _server().fork(request, [*streams, told])
        finally:
            os.close(told)
        self._child_created = True
        self._close_pipe_fds(*into, *out, *err)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        wait = 0 if wait_flags == os.WNOHANG else None
        if not select.select([self._status], [], [], wait)[0]:
            return 0, 0
        content = os.read(self._status, 4)
        os.close(self._status)
        assert content, "the server of forks has ended"
        return self.pid, struct.unpack("i", content)[0]

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                ended, status = self._try_wait(os.WNOHANG)
                if ended:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


class _Server:
    """One for each process of the suite, from the first command on until that process ends."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # which keeps messages apart
        self.lock = threading.Lock()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, str(SERVER), str(theirs.fileno())],
                pass_fds=[theirs.fileno()], env=environment(), stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def fork(self, request: Mapping[str, Any], files: list[int]) -> int:
        message = json.dumps(request).encode()
        with self.lock:
            socket.send_fds(self.control, [message], files)
            return int(struct.unpack("i", self.control.recv(4))[0])


_SERVERS: list[_Server] = []


def _server() -> _Server:
    if not _SERVERS:
        _SERVERS.append(_Server())
    return _SERVERS[0]
