"""Pictures that a user names one by one: files, folders, patterns, lists, or paths on standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from swav_cli.data.decoding.formats import SUFFIXES, BadPicture, format_of
from swav_cli.data.decoding.images import NPY, decode_picture
from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.data.folders.kept_listing import list_folder
from swav_cli.data.folders.listing import TOLD
from swav_cli.data.folders.own_results import holds_results, is_made_whole, own_among
from swav_cli.data.lists.record_pictures import RecordPictures, names_records, open_records
from swav_cli.data.lists.tables import LISTS, as_written, split_lines
from swav_cli.data.paths import expanded, names_beside
from swav_cli.data.pictures import Pictures
from swav_cli.data.shards.names import is_stream, names_shards
from swav_cli.data.shards.pictures import ShardPictures, open_shards
from swav_cli.data.sources import open_pictures
from swav_cli.data.torchvision_pictures import TorchvisionPictures
from swav_cli.errors import Told, UserError, nearest, silent

START = 4096  # bytes of a file, which tell what it is

Source = Pictures | str | Path | Sequence[str | Path]


def open_inputs(
    inputs: Sequence[str], channels: int = 3, without: Path | None = None, progress: Told = silent
) -> Pictures:
    """The pictures of all inputs: a picture, a folder, a pattern such as 'a/*.jpg', a list file, `-` for paths on
    standard input, shards (by themselves), or a source such as shapes:100. Files come in sorted order, each once, and
    under the name they were given by. A picture that a list names and that is not there is for the reader to report.

    Args:
        progress: see `open_pictures`.
        without: a folder whose pictures are left out, since they are made of the others; but an input within it stays.

    Raises:
        UserError: an input that is not there, or nothing found.
    """
    inputs = [_meant(given) for given in inputs]
    if inputs and all(map(names_shards, inputs)):  # several, where a shell has put names in place of a pattern
        return open_shards(inputs, channels, progress)
    if inputs and all(map(names_records, inputs)):
        return open_records(inputs, channels)
    if len(inputs) == 1 and _is_whole(inputs[0]) and not (without and _is_within(without, inputs[0])):
        pictures = open_pictures(inputs[0], "val", channels=channels, whole=True)
        return pictures if os.path.isdir(inputs[0]) else _in_order(pictures)  # a folder's are, and may be millions
    if len(inputs) == 1 and os.path.isfile(inputs[0]):
        _refuse_no_picture(inputs[0])
    found = [_names_of(given, channels, alone=len(inputs) == 1) for given in inputs]
    parts = [each.names for each in found]
    if without is not None:
        parts = [_outside(without, given, part) for given, part in zip(inputs, parts, strict=True)]
    names = _each_once(chain.from_iterable(parts))
    if not names:
        raise UserError(f"{' '.join(inputs)}: no pictures there")
    picked = FilePictures(Path(), names, channels, " ".join(inputs))
    picked.labels = picked.classes = picked.unlabelled = None  # folders of what was picked by hand need not be classes
    picked.remarks = [remark for each in found for remark in each.remarks]
    return picked


def named(inputs: str | Path | Sequence[str | Path]) -> list[str]:
    """One input or several, as `open_inputs` takes them."""
    return [str(each) for each in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]


def opened_for(pictures: Source, channels: int) -> Pictures:
    """Pictures, or what `open_inputs` takes, for a model that takes so many channels.

    Raises:
        UserError: none are named or there, or they have another number of channels.
    """
    if not isinstance(pictures, Pictures):
        names = named(pictures)
        if not names:
            raise UserError("no pictures: an empty list")
        pictures = open_inputs(names)
    return with_channels(pictures, channels)


class _Named(NamedTuple):
    names: list[str]
    remarks: Sequence[str] = ()


def _in_order(pictures: Pictures) -> Pictures:
    """A list's pictures sorted as those of a folder are, each once."""
    if not isinstance(pictures, FilePictures):
        return pictures
    names = list(pictures.paths)
    first = {name: position for position, name in reversed(list(enumerate(names)))}
    ordered = sorted(first)
    if names == ordered:
        return pictures
    labels, known = pictures.labels, pictures.classes
    classes = None if labels is None or known is None else [known[labels[first[name]]] for name in ordered]
    return FilePictures(pictures.root, ordered, pictures.channels, pictures.source, classes)


def refuse_to_replace(inputs: Sequence[str], pictures: Pictures, results: Iterable[Path]) -> None:
    """A result is never written over what is read, nor through a link to it.

    Raises:
        UserError: it would be, with the name of the input.
    """
    there = [path for path in results if os.path.exists(path)]
    targets = {place(path) for path in there for place in (os.path.abspath, os.path.realpath)}
    if not targets:
        return
    read = chain((str(expanded(name)) for name in inputs), (pictures.name(index) for index in range(len(pictures))))
    hit = next((name for name in read if os.path.abspath(name) in targets), None)
    if hit is not None:
        raise UserError(f"{hit}: is an input, and would be replaced by the result; give another name")


def with_channels(pictures: Pictures, channels: int) -> Pictures:
    """The same pictures, read with the number of channels that a model takes.

    Raises:
        UserError: they have another number.
    """
    if isinstance(pictures, (FilePictures, ShardPictures, RecordPictures, TorchvisionPictures)):
        pictures.channels = channels
    elif pictures.channels != channels:
        raise UserError(f"{pictures.source}: has {pictures.channels} channels, and the model takes {channels}")
    return pictures


def _meant(given: str) -> str:
    """With ~ expanded, but where a file is called so."""
    return str(expanded(given)) if given.startswith("~") and not os.path.lexists(given) else given


def _is_whole(given: str) -> bool:
    """A folder, a list of files or a source: something that `open_pictures` opens."""
    if os.path.isdir(given) or names_shards(given) or names_records(given) or is_stream(given):
        return True
    return _is_source(given) or (os.path.splitext(given)[1].lower() in LISTS and os.path.isfile(given))


def _is_source(given: str) -> bool:
    return given.partition(":")[0] in ("shapes", "torchvision") and not os.path.exists(given)


def _is_within(inner: str | Path, outer: str | Path) -> bool:
    return Path(os.path.abspath(inner)).is_relative_to(os.path.abspath(outer))


def _outside(folder: Path, given: str, names: list[str]) -> list[str]:
    if os.path.abspath(folder) == os.path.abspath(given):
        raise UserError(f"{folder}: is read, and can't take the results as well; name another folder for them")
    if _is_within(given, folder):
        return names
    start = os.path.join(os.path.abspath(folder), "")
    return [name for name in names if not os.path.abspath(name).startswith(start)]


def _each_once(names: Iterable[str]) -> list[str]:
    """Sorted; a picture that was given by two names goes by the first."""
    places: dict[str, str] = {}
    for name in names:
        places.setdefault(os.path.abspath(name), name)
    return sorted(places.values())


def _names_of(given: str, channels: int, alone: bool) -> _Named:
    """
    Args:
        alone: nothing else is given; a sheet that swav has drawn is looked at only where it is asked for by itself.
    """
    if given == "-":
        return _without_own(_from_standard_input())
    passed = _Named([], [f"{given}: passed over, since swav has written it"])
    if not alone and (own_among([given]) or _is_own_folder(given)):
        return passed
    if _is_whole(given):
        try:
            pictures = open_pictures(given, "val", channels=channels, whole=True)
        except UserError:
            if not alone and _holds_own_alone(given):
                return passed
            raise
        if not isinstance(pictures, FilePictures):
            raise UserError(f"{given}: can't be joined with other inputs; give it alone")
        return _Named([pictures.name(index) for index in range(len(pictures))], pictures.remarks)
    if os.path.exists(given):
        return _Named([given])
    if glob.has_magic(given):
        return _matching(given, channels)
    path = Path(given)
    raise UserError(f"{given}: no such picture or folder.{nearest(path.name, names_beside(path))}")


def _is_own_folder(given: str) -> bool:
    """Whether a folder is one that swav has written: a shell's * names it too."""
    try:
        names = set(os.listdir(given))
    except OSError:  # no folder, or for who opens it to tell
        return False
    return is_made_whole(os.path.basename(os.path.normpath(given)), names) or holds_results(given, names)


def _holds_own_alone(given: str) -> bool:
    """Whether a folder without pictures holds some that swav has written."""
    try:
        return any(folder.own for folder in list_folder(Path(given), SUFFIXES).folders)
    except OSError:
        return False


def _without_own(names: list[str]) -> _Named:
    own = own_among(names)
    remarks = [f"{name}: passed over, since swav has written it" for name in sorted(own)[:TOLD]]
    return _Named([name for name in names if name not in own], remarks)


def _refuse_no_picture(path: str) -> None:
    """
    Raises:
        UserError: the one file that is given is of no kind that is read.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(START)
        if start and not start.startswith(NPY) and format_of(start) is None:
            decode_picture(start)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    except BadPicture as error:
        raise UserError(f"{path}: {error}") from None


def _matching(pattern: str, channels: int) -> _Named:
    """As where the shell had put the names in place of the pattern."""
    matches = glob.glob(pattern, recursive=True)
    files = _without_own([name for name in matches if os.path.isfile(name)])
    folders = [name for name in matches if not os.path.isfile(name)] if "**" not in pattern else []
    found = [files, *(_names_of(name, channels, alone=False) for name in folders)]  # ** names a folder's files too
    names = [name for each in found for name in each.names]
    if not names:
        raise UserError(f"{pattern}: no file has a name like that")
    return _Named(names, [remark for each in found for remark in each.remarks])


def _from_standard_input() -> list[str]:
    """Paths as `find`, `ls` and `find -print0` write them: one a line, or ended by NUL."""
    if sys.stdin.isatty():
        print("paths of pictures, one a line; end with Ctrl-D", file=sys.stderr)
    content = sys.stdin.buffer.read()
    if b"\0" in content:
        lines = [os.fsdecode(line) for line in content.split(b"\0")]
    else:
        lines = split_lines(os.fsdecode(content), os.path.lexists)
    given = [as_written(line, os.path.lexists) for line in lines if line.strip()]
    names = [name for name in given if not os.path.isdir(name)]  # find names a folder before the files in it
    if not names:
        folders = f"only folders, such as {given[0]}; name them in place of -" if given else "no paths"
        raise UserError(f"standard input: {folders}")
    return names
