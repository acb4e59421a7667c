"""Pictures put into a folder for each class or cluster, as links or copies; the pictures themselves are left alone."""

from __future__ import annotations

import filecmp
import hashlib
import io
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.data.folders.own_results import SORTED
from swav_cli.data.pictures import Pictures
from swav_cli.errors import Notice, UserError, counted, silent
from swav_cli.evaluate.answer import Answer
from swav_cli.files import LONGEST, clear_left_behind, replacing, shortened, write_text

RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # no names for folders on Windows


class Sorting:
    """Puts pictures into folders, and counts them.

    A name that another picture has already gets digits that follow from the picture's path, so that the same command
    twice does nothing new. Nothing that is there is ever replaced.

    Args:
        names: of the classes; none: clusters.
        count: classes or clusters in all.
        copy: make copies; else links, where the system allows them.
        notice: told where it does not.

    Raises:
        UserError: the folder is a file, or the pictures can't be written.
    """

    def __init__(
        self, folder: Path, pictures: Pictures, names: Sequence[str], count: int, *, copy: bool = False,
        notice: Notice = silent,
    ) -> None:  # fmt: skip
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--sort-into {folder}: is a file; name a folder")
        if not isinstance(pictures, FilePictures) and pictures.channels not in (1, 3):
            raise UserError(
                f"--sort-into: {pictures.source} has no files, and {pictures.channels} channels make no PNG"
            )
        self.folder, self.pictures, self.copy, self.notice = folder, pictures, copy, notice
        self.what = "classes" if names else "clusters"
        self.folders = folder_names(names) if names else [f"cluster-{number:04d}" for number in range(count)]
        self.counts: Counter[int] = Counter()  # of pictures, by class or cluster
        self.already_there = 0
        self._taken: set[Path] = set()  # by this run

    def name_folders(self, folders: Sequence[str], what: str) -> None:
        """Folders of other things than classes and clusters, whose names suit any system."""
        self.folders, self.what = list(folders), what

    def place(self, answer: Answer) -> None:
        """Put the picture where its likeliest class or cluster is; one that could not be read goes nowhere.

        Raises:
            UserError: the disk is full or the folder can't be written.
        """
        if not answer.top:
            return
        number = answer.top[0].number
        folder = self.folder / self.folders[number]
        try:
            if not self.counts[number]:
                self._open(folder)
            if isinstance(self.pictures, FilePictures):
                source = Path(os.path.abspath(answer.path))
                self._put(folder / source.name, str(source), source)
            else:
                name = re.sub(r"[^\w.-]", "_", answer.path.rpartition("/")[2])
                self._put(folder / f"{shortened(name, LONGEST - 4)}.png", answer.path, self._drawn(answer.index))
        except OSError as error:
            raise UserError(f"{folder}: can't be written ({error.strerror}); the same command goes on there") from None
        self.counts[number] += 1

    def _open(self, folder: Path) -> None:
        """A folder that is made here tells that it holds other folders' pictures; one of the user's stays as it is."""
        made = next((place for place in (self.folder, folder) if not place.is_dir()), None)
        folder.mkdir(parents=True, exist_ok=True)
        clear_left_behind(folder)
        if made is not None and not (self.folder / SORTED).exists():
            write_text(made / SORTED, "made by swav --sort-into; its pictures are those of other folders\n")

    def summary(self) -> dict[str, Any]:
        """Counts for a report."""
        total = sum(self.counts.values())
        return {
            "folder": str(self.folder),
            "pictures": total,
            "new": total - self.already_there,
            "already_there": self.already_there,
            "folders": {self.folders[number]: count for number, count in self.counts.most_common()},
            "empty": len(self.folders) - len(self.counts),
        }

    def in_words(self) -> str:
        """The summary in two lines: how many went where, and the largest."""
        found = self.summary()
        folders, what = found["folders"], self.what
        one = "class" if what == "classes" else what[:-1]
        largest = ", ".join(f"{name} {count:,}" for name, count in list(folders.items())[:5])
        stay = counted(found["empty"], f"{one} stays", f"{what} stay")
        there = f" ({found['already_there']:,} were there already)" if found["already_there"] else ""
        return (
            f"{found['folder']}: {counted(found['pictures'], 'picture')} in {len(folders):,} of "
            f"{len(folders) + found['empty']:,} {what}{there}; {stay} empty\n"
            f"  largest: {largest or 'none'}"
        )

    def _put(self, wanted: Path, identity: str, source: Path | bytes) -> None:
        digest = hashlib.sha256(os.fsencode(identity)).hexdigest()
        apart = [told_apart(wanted.name, digest[:length]) for length in (8, 16, 32)]
        for target in [wanted, *map(wanted.with_name, apart)]:
            if target in self._taken:
                continue
            is_new = not os.path.lexists(target)
            if is_new:
                try:
                    self._make(target, source)
                except FileExistsError:  # another process has put something there meanwhile
                    is_new = False
            if not is_new and not _is_same(target, source):
                continue
            self.already_there += not is_new
            self._taken.add(target)
            return
        raise UserError(f"{wanted}: other files have this name and those like it; name another folder")

    def _make(self, target: Path, source: Path | bytes) -> None:
        if isinstance(source, Path) and not self.copy:
            try:
                os.symlink(source, target)
                return
            except FileExistsError:
                raise
            except (OSError, NotImplementedError):
                self.copy = True
                self.notice(f"{self.folder}: links can't be made there; the pictures are copied")
        with replacing(target, flush=False, keep=True) as part:
            if isinstance(source, Path):
                shutil.copy2(source, part)
            else:
                part.write_bytes(source)

    def _drawn(self, index: int) -> bytes:
        """A picture that has no file of its own, as PNG."""
        pixels = self.pictures.read(index).permute(1, 2, 0).contiguous().numpy()
        stream = io.BytesIO()
        Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(stream, format="PNG")
        return stream.getvalue()


def _is_same(target: Path, source: Path | bytes) -> bool:
    try:
        if isinstance(source, bytes):
            return target.is_file() and target.read_bytes() == source
        return os.path.samefile(target, source) or (target.is_file() and filecmp.cmp(target, source, shallow=False))
    except OSError:  # a link that leads nowhere
        return False


def told_apart(name: str, digits: str) -> str:
    """A file's name with digits before its suffix, shortened where no disk would take it.

    >>> told_apart("bird.png", "3f2a9c1b")
    'bird-3f2a9c1b.png'
    """
    stem, suffix = os.path.splitext(name)
    ending = f"-{digits}{shortened(suffix, 20)}"
    return shortened(stem, LONGEST - len(os.fsencode(ending))) + ending


def folder_names(classes: Sequence[str]) -> list[str]:
    """A name for each class that every system takes as a folder's; the number tells apart those that are alike."""
    names = [re.sub(r"[^\w .,()'&+-]", "_", name)[:100] for name in classes]
    names = [shortened(name, LONGEST - 20).strip(" .") for name in names]  # with room for a number
    names = [f"_{name}" if not name or RESERVED.fullmatch(name) else name for name in names]
    alike = Counter(name.casefold() for name in names)
    apart = [f"{name} {number}" if alike[name.casefold()] > 1 else name for number, name in enumerate(names)]
    if len({name.casefold() for name in apart}) == len(apart):
        return apart
    return [f"{number} {name}" for number, name in enumerate(names)]
