"""Published files, fetched once into the user's cache folder, whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from swav_cli.data import paths
from swav_cli.errors import Notice, UserError, silent
from swav_cli.files import LONGEST, held, shortened
from swav_cli.progress import Progress

CHUNK = 1 << 20
ATTEMPTS = 3  # in a row that bring nothing
PAUSE = 0.5  # seconds, longer each time
TIMEOUT = 30  # seconds without a byte


def models_folder() -> Path:
    """Where downloads are kept: `swav/models` in the user's cache folder."""
    return paths.cache_folder() / "models"


def is_url(word: str) -> bool:
    return word.startswith(("https://", "http://"))


def fetch(url: str, kept: Path, sha256: str = "", notice: Notice = silent) -> Path:
    """The file of this address on this machine.

    In a folder that SWAV_MIRROR names it is used where it lies. Otherwise it is fetched into the cache, from the mirror
    where SWAV_MIRROR begins with http, once: several processes wait for the one that fetches.

    Args:
        url: where it is published.
        kept: its place in the cache.
        sha256: how its hash begins; empty where its publisher does not say.

    Raises:
        UserError: can't be had, with the name of the file and where to put it; or the hash is another.
    """
    name = _name(url)
    mirror = os.environ.get("SWAV_MIRROR", "")
    if kept.is_file():
        return _checked(kept, sha256)
    if mirror and not is_url(mirror):
        path = paths.expanded(mirror) / name
        if not path.is_file():
            raise UserError(f"{mirror}: SWAV_MIRROR names it, and {name} is not there; put it there, or at {kept}")
        return _checked(path, sha256)
    wanted = f"{mirror.rstrip('/')}/{name}" if mirror else url
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with held(kept.with_name(f".{kept.name}.lock"), lambda: notice(f"another process fetches {name}; waiting")):
            if not kept.is_file():
                _download(wanted, kept, sha256, notice)
    except OSError as error:
        raise UserError(f"{kept}: can't be written ({error.strerror}); XDG_CACHE_HOME names another folder") from None
    return kept


def kept_as(url: str) -> Path:
    """The place in the cache of an address that somebody types; two with the same file name don't meet."""
    stem, suffix = os.path.splitext(_name(url))
    name = shortened(stem, LONGEST - 40) + shortened(suffix, 20)  # with room for what lies beside it meanwhile
    return models_folder() / hashlib.sha256(url.encode()).hexdigest()[:8] / name


def _name(url: str) -> str:
    return url.partition("?")[0].rstrip("/").rpartition("/")[2]


def _checked(path: Path, sha256: str) -> Path:
    """Somebody may have put it there by hand."""
    found = _hash(path) if sha256 else ""
    if not found.startswith(sha256):
        raise UserError(f"{path}: its sha256 begins with {found[:8]} and should with {sha256}; remove or replace it")
    return path


def _download(url: str, kept: Path, sha256: str, notice: Notice) -> None:
    """Fetch beside the final name, going on where an earlier attempt stopped, check, and move."""
    part = kept.with_name(f".{kept.name}.part")
    notice(f"downloading {url}")
    resumed = part.exists() and part.stat().st_size > 0
    _fetch_part(url, kept, part, sha256)
    found = _hash(part)
    if resumed and not found.startswith(sha256):
        notice("what an earlier download left does not fit; beginning again")
        part.unlink()
        _fetch_part(url, kept, part, sha256)
        found = _hash(part)
    if not found.startswith(sha256):
        part.unlink()
        _tag(part).unlink(missing_ok=True)
        raise UserError(f"{url}: its sha256 begins with {found[:8]} and should with {sha256}; nothing was kept")
    os.replace(part, kept)
    _tag(part).unlink(missing_ok=True)


def _fetch_part(url: str, kept: Path, part: Path, sha256: str) -> None:
    """Ask again after each break, as long as something comes."""
    fruitless, problem = 0, ""
    while fruitless < ATTEMPTS:
        before = _size(part)
        try:
            if _receive(url, part, bool(sha256)):
                return
            problem = "the connection broke"
        except urllib.error.HTTPError as error:
            problem = f"{error.code} {error.reason}"
            if error.code == 416 and before:  # nothing lies behind what is here: it is of another file
                part.unlink()
            elif error.code < 500:
                break
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            problem = str(getattr(error, "reason", None) or error) or type(error).__name__
            if _is_offline(error):
                break
        except ValueError as error:  # an address that names no host, or one that can't be: nothing was asked for
            problem = str(error)
            break
        fruitless = 0 if _size(part) > before else fruitless + 1
        time.sleep(PAUSE * fruitless)
    raise _unreachable(url, kept, part, problem)


def _is_offline(error: Exception) -> bool:
    """Nobody knows the host's name: most likely there is no internet, and asking again only takes time."""
    reason = getattr(error, "reason", None)
    return isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _unreachable(url: str, kept: Path, part: Path, problem: str) -> UserError:
    so_far = " What came so far is kept; the same command goes on from there." if _size(part) else ""
    return UserError(
        f"{url}: can't be fetched ({problem}).{so_far} Or put {_name(url)} into {kept.parent}, or into a folder "
        "that SWAV_MIRROR names"
    )


def _receive(url: str, part: Path, hashed: bool) -> bool:
    """Append what is missing; whether the file is whole now."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "swav"})
    tag = _tag(part)
    if start and tag.exists():
        # If-Range: from the start where the file has changed meanwhile, so that two files are never joined.
        request.add_header("If-Range", tag.read_text(encoding="utf-8"))
    if start and (tag.exists() or hashed):
        request.add_header("Range", f"bytes={start}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if answer.status != 206:
            start = 0
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        if version and not version.startswith("W/"):  # a weak tag does not stand for the same bytes
            tag.write_text(version, encoding="utf-8")
        else:
            tag.unlink(missing_ok=True)
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        with open(part, "ab" if start else "wb") as file:
            return _copy(answer, file, start, total, _name(url))


def _copy(answer: Any, file: IO[bytes], start: int, total: int | None, name: str) -> bool:
    received = start
    with closing(Progress("B", f"downloading {name}")) as progress:
        while data := answer.read(CHUNK):
            file.write(data)
            received += len(data)
            progress(received, total or 0)
    return total is None or received == total


def _tag(part: Path) -> Path:
    return part.with_suffix(".tag")


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()
