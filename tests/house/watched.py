"""`python -m tests.house.watched ...`: swav, noting in the file NOTES which places it talks to, writes and starts.

What Python code does is seen, and that of the processes that are forked; of programs it is seen that they are started.
"""

from __future__ import annotations

import os
import runpy
import socket
import sys
import tempfile
from typing import Any

TALKING = {  # where in an event's values the other side stands
    "socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0, "urllib.Request": 0,
}  # fmt: skip
WRITING = {
    "os.mkdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1, "os.remove": 0, "os.rmdir": 0, "os.truncate": 0,
    "os.chmod": 0, "os.utime": 0, "tempfile.mkstemp": 0, "tempfile.mkdtemp": 0,
}  # fmt: skip
STARTING = {"subprocess.Popen": 1, "os.system": 0, "os.exec": 1, "os.posix_spawn": 1}


def watch(notes: int) -> None:
    """Note from now on, in an open file."""

    def note(event: str, values: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = values
            writes = flags & (os.O_WRONLY | os.O_RDWR) or set(mode or "") & set("wax+")
            if writes and isinstance(path, (str, bytes)):
                tell("write", os.path.abspath(os.fsdecode(path)))
        elif event in TALKING and getattr(values[0], "family", None) != getattr(socket, "AF_UNIX", None):
            tell("talk", f"{event} {values[TALKING[event]]}")
        elif event in WRITING and isinstance(values[WRITING[event]], (str, bytes)):
            tell("write", os.path.abspath(os.fsdecode(values[WRITING[event]])))
        elif event in STARTING:
            tell("start", str(values[STARTING[event]]))

    def tell(kind: str, what: str) -> None:
        os.write(notes, f"{kind} {what}\n".encode(errors="replace"))

    sys.addaudithook(note)


watch(os.open(os.environ["NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))

if __name__ == "__main__":
    tempfile.tempdir = None  # which the process that this one is forked from may have looked up for itself
    sys.argv[0] = "swav"
    runpy.run_module("swav_cli", run_name="__main__", alter_sys=True)
