"""A model for pictures that come as bytes, paths or pixels, batch after batch: for Ray Data and pipelines like it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.core.layers import layer_function
from swav_cli.core.weights import Model
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.decoding.images import decode_picture, from_array, read_picture
from swav_cli.data.lists.record_files import BYTES
from swav_cli.data.lists.tables import NAMES
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.limits import own_processors
from swav_cli.data.reading.loader import Batch, stacked
from swav_cli.errors import UserError, nearest
from swav_cli.evaluate.features import Forward, Squares
from swav_cli.evaluate.inference import Inference
from swav_cli.run.newest import newest_run
from swav_cli.zoo.load import load_model

PATHS = tuple(name for name in NAMES if name not in BYTES)
FEATURES, ERROR = "features", "error"  # columns that are added


class Embedded(NamedTuple):
    """A row for each picture, in order; that of one which can't be read is NaN."""

    features: NDArray[np.float32]  # (N, F), or (N, C, H, W) of a feature map
    errors: list[str]  # why a picture can't be read; "" where it can


class Embedder:
    """A model that takes batches of pictures and gives features: one in each worker, loaded once.

    With Ray Data, of Parquet with a column of `{bytes, path}`, of bytes or of paths, and of pixels as `read_images`
    gives them::

        photos = ray.data.read_parquet("photos/")
        features = photos.map_batches(
            swav_cli.Embedder, fn_constructor_args=["runs/quickstart"],
            batch_size=256, num_gpus=1, num_cpus=8, concurrency=4,
        )
        features.write_parquet("features/")

    and without it:

    >>> embedder = Embedder("runs/quickstart")
    >>> embedder.embed(["demo/bird.JPEG", Path("demo/bird.JPEG").read_bytes()]).features.shape
    (2, 128)

    Args:
        model: a `Model`, or what `load_model` takes; all workers must find it. None: the newest run.
        layer, normalize, multi_scale, device, precision: as of `swav extract`.
        batch_size: pictures that go through the network at a time, however many come; None: as suits the device.
        column: that holds the pictures; None: the first that is named as such columns are, `image` or `bytes` before
            `path`.
        threads: that decode; None: as many as Ray gives the worker processors, else as many as there are.

    Raises:
        UserError: no such model, layer, device or precision.
    """

    def __init__(
        self,
        model: Model | str | Path | None = None,
        layer: str = "pooled",
        *,
        normalize: bool = False,
        multi_scale: bool = False,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | None = None,
        column: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.model = model if isinstance(model, Model) else load_model(newest_run() if model is None else model)
        self.column = column
        self._how = Inference.wanted(device, precision, batch_size, workers=0)
        function = layer_function(self.model.network, layer, normalize=normalize, multi_scale=multi_scale)
        self.model.to(self._how.device)
        self._forward = Forward(function, self.model.about, self._how)
        self._decoders = ThreadPoolExecutor(threads or _processors(), "decoder")

    def embed(self, pictures: Sequence[Any]) -> Embedded:
        """Features of pictures, in their order.

        Args:
            pictures: of each the bytes of its file, its path, both in a mapping (`bytes` before `path`, as Hugging
                Face has them), or its pixels (H, W) or (H, W, C).
        """
        values: list[Tensor] = []
        errors = [""] * len(pictures)
        for batch in self._read(pictures):
            rows = self._forward(batch)
            values.append(rows.values)
            for index, reason in rows.bad:
                errors[index] = reason
        if not values:  # an empty batch has rows of the same length
            size, channels = self.model.about.size, self.model.about.channels
            black = torch.zeros(1, 1, channels, size, size, dtype=torch.uint8)
            values = [self._forward(Batch([black], torch.empty(1, 1, 0), torch.tensor([0]), [])).values[:0]]
        return Embedded(torch.cat(values).numpy(), errors)

    def __call__(self, batch: Any) -> Any:
        """A batch of Ray Data, with the columns `features` and `error` in place of what held the pictures.

        A column of paths stays, and of a mapping its `path`.

        Args:
            batch: a mapping of columns, as Ray's batches are where nothing is said; a pandas.DataFrame or a
                pyarrow.Table comes back as such.

        Raises:
            UserError: no column that holds pictures.
        """
        kind = type(batch).__module__.partition(".")[0]
        if kind == "pandas":
            import pandas as pd

            return pd.DataFrame(self._mapped({name: batch[name].tolist() for name in batch.columns}, as_lists=True))
        if kind == "pyarrow":
            return self._as_table(batch)
        return self._mapped(batch)

    def _mapped(self, batch: Mapping[str, Any], as_lists: bool = False) -> dict[str, Any]:
        column = self._column(list(batch))
        given = list(batch[column])
        found = self.embed(given)
        kept = {name: values for name, values in batch.items() if name != column}
        if all(isinstance(each, (str, os.PathLike)) for each in given):
            kept[column] = batch[column]
        elif "path" not in kept and given and all(isinstance(each, Mapping) for each in given):
            kept["path"] = np.array([str(each.get("path") or "") for each in given])
        features: Any = list(found.features) if as_lists else found.features
        return {**kept, FEATURES: features, ERROR: np.array(found.errors, dtype=np.str_)}

    def _as_table(self, table: Any) -> Any:
        import pyarrow as pa

        column = self._column(table.column_names)
        mapped = self._mapped({column: table.column(column).to_pylist()})
        features = mapped[FEATURES]
        kind = pa.list_(pa.float32(), int(np.prod(features.shape[1:], dtype=np.int64)))
        table = table.drop_columns([column])
        for name, values in mapped.items():
            if name == FEATURES:
                rows = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), type=kind)
            else:
                rows = pa.array(list(map(str, values)), pa.string())
            table = table.append_column(name, rows)
        return table

    def _column(self, names: Sequence[str]) -> str:
        """
        Raises:
            UserError: there is none.
        """
        if self.column is not None:
            if self.column not in names:
                raise UserError(f"no column '{self.column}'.{nearest(self.column, names)} There are {', '.join(names)}")
            return self.column
        found = next((name for name in (*BYTES, *PATHS) if name in names), None)
        if found is None:
            raise UserError(f"no column is named as one of pictures is; say which with column=: {', '.join(names)}")
        return found

    def _read(self, given: Sequence[Any]) -> Iterator[Batch]:
        """Squares of the pictures, of which the next batch is decoded while the network has the last one."""
        about = self.model.about
        squares = Squares(_Given(given, about.channels), about.size, about.crop_pct)
        step = self._how.batch(about.size)
        bad: list[tuple[int, str]] = []
        parts = [range(first, min(first + step, len(given))) for first in range(0, len(given), step)]
        ahead: list[Future[Any]] = []
        for part, later in zip_longest(parts, parts[1:], fillvalue=range(0)):
            ahead = ahead or [self._decoders.submit(squares.square, index, bad) for index in part]
            now, ahead = ahead, [self._decoders.submit(squares.square, index, bad) for index in later]
            crops, numbers = stacked((each.result() for each in now), len(part))
            own = [(index, reason) for index, reason in bad if index in part]
            yield Batch(crops, numbers, torch.tensor(part), own)


class _Given(Pictures):
    """Pictures at hand."""

    def __init__(self, given: Sequence[Any], channels: int) -> None:
        self.given, self.channels, self.source = given, channels, ""

    def __len__(self) -> int:
        return len(self.given)

    def read(self, index: int) -> Tensor:
        value = self.given[index]
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, (bytes, bytearray, memoryview)):
            return decode_picture(bytes(value), self.channels)
        if isinstance(value, (str, os.PathLike)) and os.fspath(value):
            return read_picture(Path(value), self.channels)
        if isinstance(value, np.ndarray) and value.ndim in (2, 3):
            return from_array(value, self.channels)
        raise BadPicture("there is no picture: neither bytes, nor a path, nor pixels")


def _processors() -> int:
    """Those that Ray has given this worker, else all that this process may use."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        given = ray.get_runtime_context().get_assigned_resources().get("CPU", 0)
        if given:
            return max(1, int(given))
    return max(1, own_processors())
