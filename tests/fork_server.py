"""A process that has imported what every command imports, and forks itself into commands: `tests.processes` asks it to.

A command that is forked is a process of its own, with its own working folder, environment, streams, signals and exit
code; it only has its imports behind it, which take longer than most commands of a test. It ends as any Python does, but
for one thing: where it ends by itself, the modules are not taken apart, which takes as long again, a third of a second.
One of several processes ends wholly: what it leaves behind of its group has ended processes by a signal.
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

IMPORTED = (
    "torch", "torch._dynamo", "torch._inductor.config", "torch.distributed.launcher.api", "torchcodec.decoders",
    "torch.utils.data", "rich.console", "rich.table", "tqdm.auto", "scipy.special", "sklearn.metrics", "swav_cli.app",
    "swav_cli.tasks.predict", "swav_cli.tasks.classifier", "swav_cli.tasks.extract", "swav_cli.tasks.eval",
    "swav_cli.tasks.pretrain", "swav_cli.tasks.linear_eval_cached", "swav_cli.tasks.export",
    "swav_cli.tasks.clusters", "sklearn.cluster", "sklearn.decomposition", "scipy.optimize",
    "swav_cli.tasks.bench.measure", "swav_cli.tasks.doctor.examine", "torchvision", "swav_cli.tasks.report",
    "bokeh.plotting", "jinja2", "pytest",
)  # fmt: skip


MADE_ANEW = {"jemalloc_bg_thd"}  # threads that a child makes for itself: of an allocator in place of the system's


class Request(NamedTuple):
    """What a command is to be: a module as of `python -m`, or `-c` and code; its words, folder and environment."""

    module: str
    arguments: list[str]
    cwd: str
    environment: dict[str, str]


def serve(control: socket.socket) -> Request:
    """Fork for each request that comes, and tell how each child ended. Returns in the children alone.

    A request comes with four open files: the three streams, and the pipe that takes the child's status when it ends.
    """
    heard, woken = os.pipe()
    for end in (heard, woken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C on a suite is for the suite, which then hangs up
    pipes: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, heard], [], [])
        if heard in ready:
            os.read(heard, 4096)
            tell_the_ended(pipes)
        if control in ready:
            message, files, _, _ = socket.recv_fds(control, 1 << 20, 4)
            if not message:
                sys.exit()
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                for number in (control.detach(), heard, woken, *pipes.values(), files.pop()):
                    os.close(number)
                request = Request(**json.loads(message))
                become(request, files)
                return request
            pipes[child] = files.pop()
            for number in files:
                os.close(number)
            control.sendall(struct.pack("i", child))


def tell_the_ended(pipes: dict[int, int]) -> None:
    while pipes:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with suppress(BrokenPipeError), os.fdopen(pipes.pop(child), "wb") as pipe:
            pipe.write(struct.pack("i", status))


def become(request: Request, streams: list[int]) -> None:
    """Take over the folder, the environment, the streams and the signals that a process would start with."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ.update(request.environment)
    paths = [path for path in request.environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [request.cwd, *(path for path in paths if path not in sys.path)]
    sys.argv = [request.module, *request.arguments]
    encoding = request.environment.get("PYTHONIOENCODING", "utf-8")
    sys.stdin = sys.__stdin__ = stream_of(0, "r", encoding, "strict")
    sys.stdout = sys.__stdout__ = stream_of(1, "w", encoding, "strict")
    sys.stderr = sys.__stderr__ = stream_of(2, "w", encoding, "backslashreplace")


def stream_of(number: int, mode: str, encoding: str, errors: str) -> Any:
    """A standard stream as Python itself opens it: the errors' one by lines, the others so on a terminal alone."""
    stream = open(number, mode, encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115
    assert isinstance(stream, io.TextIOWrapper)
    if mode == "w":
        stream.reconfigure(line_buffering=number == 2 or stream.isatty())
    return stream


def import_what_commands_import() -> None:
    """In the environment of a command, and without a thread: only the thread that forks lives on in a child."""
    for name in IMPORTED:
        with suppress(ModuleNotFoundError):  # of an extra that is not installed
            import_module(name)
    threads = [name for name in os.listdir("/proc/self/task") if int(name) != os.getpid()]
    names = {Path("/proc/self/task", name, "comm").read_text().strip() for name in threads}
    assert names <= MADE_ANEW, f"threads {names}: a child would have none of them"
    gc.freeze()


def run(request: Request) -> None:
    if request.module == "-c":
        code, *words = request.arguments
        sys.argv = ["-c", *words]
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)


def end_at_once(code: object) -> None:
    """End with what Python does before it takes the modules apart. Returns where that may tell something."""
    if not (code is None or isinstance(code, int)) or "RANK" in os.environ:
        return
    with suppress(OSError, ValueError):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        threading._shutdown()  # type: ignore[attr-defined]  (waits for threads, as `Py_FinalizeEx` does)
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file, where a command does not look for modules
    import_what_commands_import()
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    try:
        run(request)
    except SystemExit as ended:
        end_at_once(ended.code)
        raise
    end_at_once(None)
