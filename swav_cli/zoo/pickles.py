"""Foreign files of weights, read without running what they hold.

A pickle is a program: reading one the plain way can do anything. `torch.load(weights_only=True)` runs none of it, but
refuses the raw checkpoints of mmpretrain and mmselfsup, which carry a training log (HistoryBuffer, numpy scalars).
Those few names get stand-ins here that hold nothing and do nothing; torch's own reader stays in charge.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.serialization import safe_globals

from swav_cli.errors import UserError


class Nothing:
    """Takes the place of an object that has no part in the weights: accepts anything, keeps nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> Nothing:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        """What the file says of the object is dropped."""


def _attribute(*args: object) -> Nothing:
    """In place of `getattr`: looks nothing up, so that no chain of it leads anywhere."""
    return Nothing()


# What a raw checkpoint of mmengine or mmcv names besides tensors: its log of losses and the numbers in it.
_NUMPY = ("scalar", "_reconstruct")
STAND_INS: dict[str, Any] = {
    "mmengine.logging.history_buffer.HistoryBuffer": Nothing,
    "numpy.dtype": Nothing,
    "numpy.ndarray": Nothing,
    **{f"numpy.{core}.multiarray.{name}": Nothing for core in ("core", "_core") for name in _NUMPY},
    "builtins.getattr": _attribute,
    "__builtin__.getattr": _attribute,
}


def read_foreign(path: Path) -> Any:
    """What a file of weights holds: tensors, plain values, and `Nothing` in place of anything else.

    Raises:
        UserError: damaged, no file of weights, or a pickle that asks for code; the message names what it asks for.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: can't be read as safetensors ({_first_line(error)})") from None
    _check_sums(path)
    try:
        return _load(path)
    except pickle.UnpicklingError:
        pass  # it asks for more than tensors; perhaps no more than is known
    try:
        with safe_globals([(stand_in, name) for name, stand_in in STAND_INS.items()]):
            return _load(path)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: {_refusal(str(error), path)}") from None


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():  # of pickles that are refused a moment later
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # damage shows in a dozen kinds of errors, from EOFError to AttributeError
        raise UserError(f"{path}: can't be read as weights: damaged or cut short ({_first_line(error)})") from None


def _check_sums(path: Path) -> None:
    """torch does not look at the checksums of its zip container, and would read damaged tensors in silence."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as container:
            damaged = container.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise UserError(f"{path}: damaged ({_first_line(error)}); fetch or copy it again") from None
    if damaged:
        raise UserError(f"{path}: damaged (checksum of {damaged}); fetch or copy it again")


def _refusal(message: str, path: Path) -> str:
    """torch's long advice, which ends in switching the check off, as one line of ours."""
    found = re.search(r"GLOBAL (\S+)", message)
    name = found[1].rstrip(".,") if found else _first_global(path)
    if name:
        return f"refused: it asks for '{name}', which is code and not weights. Nothing in it was run"
    problem = message.rpartition("WeightsUnpickler error:")[2].strip() or message
    if "Nothing" in problem:
        return "refused: it holds more than weights (calls on what no weights need). Nothing in it was run"
    if re.search(r"[Uu]nsupported operand|invalid load key|magic number|not a valid", problem):
        return f"no file of weights, or one in an unknown format ({problem.splitlines()[0]})"
    return f"refused: it holds more than weights ({problem.splitlines()[0]}). Nothing in it was run"


def _first_global(path: Path) -> str:
    """What a plain pickle, which torch does not read at all, asks for first; looked up in it and not run."""
    strings: list[str] = []
    try:
        with open(path, "rb") as file:
            for code, argument, _ in pickletools.genops(file):
                if code.name == "GLOBAL":
                    return str(argument).replace(" ", ".")
                if code.name == "STACK_GLOBAL":
                    return ".".join(strings[-2:])
                if isinstance(argument, str):
                    strings.append(argument)
    except Exception:  # no pickle: genops raises whatever its readers meet
        pass
    return ""


def _first_line(error: Exception) -> str:
    """The first sentence: torch goes on with advice."""
    return (str(error) or type(error).__name__).splitlines()[0].partition(". ")[0]
