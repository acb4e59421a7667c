"""Foreign files of weights, read without running what they hold.

A pickle is a program: reading one the plain way can do anything. `torch.load(weights_only=True)` runs none of it, but
refuses whatever holds more than tensors and plain values, as most training checkpoints do: arguments, configurations,
logs. Those are read a second time with stand-ins for all that they name; see `stand_ins`.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from swav_cli.errors import UserError, first_line
from swav_cli.zoo.foreign.file_kinds import kind_of_file
from swav_cli.zoo.foreign.stand_ins import AsksForCode, careful_pickle


def read_foreign(path: Path) -> Any:
    """What a file of weights holds: tensors, plain values, and a `StandIn` in place of anything else.

    Raises:
        UserError: damaged, no file of weights, or a pickle that asks for code; the message names what it asks for.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    if other := kind_of_file(path):
        raise UserError(f"{path}: {other}")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: can't be read as safetensors ({_first_sentence(error)})") from None
    _check_sums(path)
    try:
        return _load(path, weights_only=True)
    except Exception as error:
        if not _asks_for_more(error):
            raise UserError(f"{path}: {_unreadable(error)}") from None
    return _read_carefully(path)


def _asks_for_more(error: Exception) -> bool:
    """What torch refuses to read by its names or its format, unlike what it can't read."""
    return isinstance(error, pickle.UnpicklingError) or "magic number" in str(error) or ".tar format" in str(error)


def _read_carefully(path: Path) -> Any:
    try:
        # This is not the reader that runs things: every name in the file gets a stand-in. TorchScript archives, which
        # torch would hand on to its interpreter, have been refused before.
        return _load(path, weights_only=False, pickle_module=careful_pickle)
    except AsksForCode as error:
        raise UserError(
            f"{path}: refused: it asks for '{error}', which is code and not weights. Nothing in it was run"
        ) from None
    except Exception as error:
        if "magic number" in str(error):
            return _plain_pickle(path)
        raise UserError(f"{path}: {_unreadable(error)}") from None


def _plain_pickle(path: Path) -> Any:
    """Of `pickle.dump`, which keeps each tensor as a file of torch's own."""
    try:
        with open(path, "rb") as file:
            return careful_pickle.load(file)
    except Exception as error:
        raise UserError(f"{path}: {_unreadable(error)}") from None


def _load(path: Path, **options: Any) -> Any:
    with warnings.catch_warnings():  # of protocols, of old storages, of modules whose source is not here
        for kind in (UserWarning, DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
        return torch.load(path, map_location="cpu", **options)


def _check_sums(path: Path) -> None:
    """torch does not look at the checksums of its zip container, and would read damaged tensors in silence."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as container:
            damaged = container.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise UserError(f"{path}: damaged ({_first_sentence(error)}); fetch or copy it again") from None
    if damaged:
        raise UserError(f"{path}: damaged (checksum of {damaged}); fetch or copy it again")


def _unreadable(error: Exception) -> str:
    """Damage shows in a dozen kinds of errors, from EOFError to RuntimeError; a pickle that calls its data in few."""
    problem = _first_sentence(error)
    if isinstance(error, TypeError):
        return f"refused: it holds more than weights (it calls what no weights need: {problem}). Nothing in it was run"
    if isinstance(error, (pickle.UnpicklingError, UnicodeDecodeError, KeyError)) and "truncated" not in problem:
        return f"no file of weights, or one in an unknown format ({problem})"
    return f"can't be read as weights: damaged or cut short ({problem})"


def _first_sentence(error: Exception) -> str:
    """Torch goes on with advice."""
    return first_line(error).partition(". ")[0]
