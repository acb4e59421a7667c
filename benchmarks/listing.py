"""What ten million pictures cost before the first is read: their names, listed and kept, and the order of an epoch.

    python benchmarks/listing.py                 # names like ImageNet's, made up, and a real folder of 200,000 files
    python benchmarks/listing.py --names 1000000 --files 0

Made-up names are kept in a file as a real folder's are, opened again as at a second start, and read by two processes
of a loader. A process's own memory is what Linux counts as private to it after the fork. Prints a table, asserts
nothing.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import DataLoader, Dataset

from swav_cli.data.decoding.formats import SUFFIXES
from swav_cli.data.folders import kept_listing
from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.data.folders.kept_listing import list_folder, load_listing, save_listing
from swav_cli.data.folders.listing import Folder, Listing, arrange
from swav_cli.data.folders.path_table import PathTable
from swav_cli.data.reading.loader import epoch_order

CLASSES, READERS, READ = 1000, 2, 200_000
Result = TypeVar("Result")


def timed(what: str, function: Callable[[], Result]) -> Result:
    start = time.perf_counter()
    result = function()
    print(f"{what:58}{time.perf_counter() - start:10.2f} s")
    return result


def told(what: str, number: float, unit: str = "MB") -> None:
    print(f"{what:58}{number:10.1f} {unit}")


def memory() -> dict[str, float]:
    """Megabytes of this process: its share of all it uses, and what it alone uses."""
    fields = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    kilobytes = {name: int(value.split()[0]) for name, value in fields.items()}
    own = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return {"share": kilobytes["Pss"] / 1e3, "own": own / 1e3, "all": kilobytes["Rss"] / 1e3}


def made_up(count: int) -> Listing:
    folders = []
    for number in range(CLASSES):
        names = sorted(f"n{number:08d}_{picture}.JPEG" for picture in range(count // CLASSES))
        prefix = f"n{number:08d}/"
        folders.append(Folder(prefix, (1, 1, number), [], [], PathTable.of_folder(prefix, names)))
    root = Folder("", (1, 1, 1), [folder.prefix for folder in folders], [], PathTable([]))
    return arrange([root, *folders])


class Names(Dataset[Any]):
    """Looks at one name a picture, and tells its process's memory instead of a picture."""

    def __init__(self, pictures: FilePictures) -> None:
        self.pictures, self.length = pictures, 0

    def __getitems__(self, indices: list[int]) -> dict[int, dict[str, float]]:
        self.length += sum(len(self.pictures.name(index)) for index in indices)
        return {os.getpid(): memory()}


def as_it_is(batch: Any) -> Any:
    return batch


def readers(pictures: FilePictures) -> None:
    """The memory of each process of a loader at its beginning and at its end."""
    chosen = epoch_order(len(pictures), 0, 0)[:READ]
    batches = [part.tolist() for part in np.array_split(chosen, 100)]
    loader = DataLoader(Names(pictures), batch_sampler=batches, num_workers=READERS, collate_fn=as_it_is)
    first: dict[int, dict[str, float]] = {}
    last: dict[int, dict[str, float]] = {}
    for found in loader:
        first = {**found, **first}
        last.update(found)
    for number, process in enumerate(last, 1):
        told(f"reader {number} of {READERS}: memory of its own, first batch", first[process]["own"])
        told(f"  after {READ // READERS:,} names drawn at random", last[process]["own"])
        told("  its share of all memory that it uses", last[process]["share"])


def first_time(count: int, kept: Path) -> None:
    listing = timed("made and arranged", lambda: made_up(count))
    told("held: bytes of names and where they end", sum(array.nbytes for array in listing.paths.arrays()) / 1e6)
    timed("kept in a file, with its checksum", lambda: save_listing(kept, listing))


def of_names(count: int, folder: Path) -> None:
    print(f"\n{count:,} names in {CLASSES:,} folders, made up")
    before = memory()["own"]
    kept = folder / "made-up.listing"
    first_time(count, kept)
    systems = kept_listing.file_systems()
    found = timed("opened again and checked whole", lambda: load_listing(kept, systems))
    assert found is not None
    pictures = timed("classes and labels", lambda: FilePictures(Path("root"), found.paths, 3, "", *found.tops()))
    timed("fingerprint (the checksum is at hand)", pictures.fingerprint)
    told("memory of the process, more than before", memory()["own"] - before)
    order = timed("order of an epoch", lambda: epoch_order(count, 0, 0))
    told("the order, in the process that trains", order.nbytes / 1e6)
    readers(pictures)


def of_files(count: int, folder: Path, folders: int = 200) -> None:
    print(f"\n{count:,} empty files in {folders} folders")
    root = folder / "files"
    for number in range(folders):
        (root / f"n{number:08d}").mkdir(parents=True)
        for picture in range(count // folders):
            os.close(os.open(root / f"n{number:08d}" / f"n{number:08d}_{picture}.JPEG", os.O_CREAT | os.O_WRONLY))
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    time.sleep(2.5)  # folders that have just changed are not trusted
    timed("listed the first time, and kept", lambda: list_folder(root, SUFFIXES))
    timed("listed the second time", lambda: list_folder(root, SUFFIXES))
    (root / "n00000007/another.jpg").touch()
    timed("listed after one folder has changed, and kept", lambda: list_folder(root, SUFFIXES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=10_000_000, help="names to make up")
    parser.add_argument("--files", type=int, default=200_000, help="files to make; removed at the end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        of_names(options.names, Path(folder))
        if options.files:
            of_files(options.files, Path(folder))


if __name__ == "__main__":
    main()
