"""A file that embedding-atlas opens: https://apple.github.io/embedding-atlas/tool.html.

Its options name the columns: `x` and `y`, `neighbors` as {ids, distances} with numbers of rows from 0, and `image` as
{bytes, path}, which is also how the `datasets` library keeps pictures.
"""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.errors import Told, silent
from swav_cli.evaluate.clustering.found import Found
from swav_cli.files import write_whole
from swav_cli.report.clusters_table import columns, readable

SIDE = 96  # pixels of the longer side of a picture
PART = 2000  # rows at a time
SHOWN = 10  # neighbours


def opening_command(path: Path) -> str:
    """What shows the file; embedding-atlas is fetched by whoever types it."""
    return f"uvx embedding-atlas {shlex.quote(str(path))} --x x --y y --neighbors neighbors --image image --text path"


def write_atlas(path: Path, found: Found, places: NDArray[np.float32], progress: Told = silent) -> None:
    """A row for each picture that could be read, with a small one in it.

    Args:
        places: (N, 2) on the map, see `lay_out`.
        progress: told of pictures written and pictures in all.

    Raises:
        UserError: it can't be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    near = pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))])
    schema = pa.schema(
        [
            ("path", pa.string()), ("x", pa.float32()), ("y", pa.float32()), ("group", pa.int32()),
            ("cluster", pa.int32()), ("probability", pa.float32()), ("outlier", pa.float32()), ("copy_of", pa.string()),
            ("keep", pa.bool_()), *([("label", pa.string())] if found.labels is not None else []), ("neighbors", near),
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ]
    )  # fmt: skip

    def write(beside: Path) -> None:
        with open(beside, "wb") as file, parquet.ParquetWriter(file, schema) as writer:
            for part in _parts(found, places, progress):
                arrays = [pa.array(part[name], type=schema.field(name).type) for name in schema.names]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

    write_whole(path, write)


def _parts(found: Found, places: NDArray[np.float32], progress: Told) -> Iterator[dict[str, list[Any]]]:
    read = np.flatnonzero(found.read)
    row = np.full(len(found.paths), -1, dtype=np.int64)
    row[read] = np.arange(len(read))
    for first in range(0, len(read), PART):
        chosen = read[first : first + PART]
        span = slice(int(chosen[0]), int(chosen[-1]) + 1)
        inside = (chosen - span.start).tolist()
        part = {name: [values[i] for i in inside] for name, values in columns(found, span).items()}
        part["path"], part["copy_of"] = readable(part["path"]), readable(part["copy_of"])
        part["x"], part["y"] = (places[chosen, axis].tolist() for axis in range(2))
        part["neighbors"] = [_neighbours(found, index, row) for index in chosen.tolist()]
        part["image"] = [
            {"bytes": small_jpeg(found.pictures, index), "path": name}
            for index, name in zip(chosen.tolist(), part["path"], strict=True)
        ]
        if found.labels is not None and found.classes is not None:
            part["label"] = readable([found.classes[number] for number in found.labels[chosen].tolist()])
        yield part
        progress(first + len(chosen), len(read))


def _neighbours(found: Found, index: int, row: NDArray[np.int64]) -> dict[str, list[Any]]:
    ids, cosines = found.neighbours.ids[index, :SHOWN], found.neighbours.cosines[index, :SHOWN]
    there = ids >= 0
    return {"ids": row[ids[there]].tolist(), "distances": np.maximum(0, 1 - cosines[there]).tolist()}


def small_jpeg(pictures: Pictures, index: int, side: int = SIDE) -> bytes | None:
    """The picture with its longer side shrunk to so many pixels; None where it can no longer be read."""
    try:
        pixels = pictures.read(index)
    except BadPicture:
        return None
    three = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    longer = max(three.shape[1:])
    if longer > side:
        shape = [max(1, round(length * side / longer)) for length in three.shape[1:]]
        three = F.interpolate(three[None], shape, mode="bilinear", antialias=True)[0]
    stream = io.BytesIO()
    Image.fromarray(three.permute(1, 2, 0).contiguous().numpy()).save(stream, format="JPEG", quality=85)
    return stream.getvalue()
