"""What a pickle names, in place of which only stand-ins are ever given: objects that hold data and no code.

A pickle is a program that asks for functions and classes by name and calls them. `CarefulUnpickler` never looks a name
up. It knows the few of torch's functions that put tensors together and hands out any other name as a class made on the
spot, whose objects keep what the file says of them, as a mapping. So the tensors of whatever was saved can be read:
`argparse.Namespace` of a training script, numpy's scalars, a configuration, a whole `nn.Module`.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

# Named by no weights, and by every attack. They would be as harmless as any other name; whoever has such a file should
# know what it tried. `getattr`, `object` and the like are named by pickles of enumerations, methods and old classes.
CODE = (
    "os", "posix", "nt", "sys", "subprocess", "commands", "runpy", "importlib", "shutil", "socket", "ctypes", "code",
    "pty", "io", "_io", "webbrowser",
)  # fmt: skip
HARMLESS = (
    "getattr", "object", "type", "set", "frozenset", "dict", "list", "tuple", "str", "bytes", "bytearray", "int",
    "float", "bool", "complex", "slice", "range", "unicode", "long", "xrange", "len", "max", "min", "sum", "abs",
)  # fmt: skip


STORAGES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "Long": torch.int64, "Int": torch.int32,
    "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
}  # fmt: skip


class AsksForCode(pickle.UnpicklingError):
    """The pickle names a function that runs programs or code."""


class StandIn(dict[Any, Any]):
    """In place of an object of any class: its items and attributes, by name."""

    dump_patches = False  # asked of a module's class by torch's oldest format

    def __new__(cls, *args: object, **kwargs: object) -> StandIn:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        """A frozen dictionary is made of a plain one, whose items it keeps."""
        super().__init__()
        for part in args:
            if isinstance(part, Mapping):
                self.update(part)

    __hash__ = object.__hash__  # type: ignore[assignment]  # it may be a key

    def __eq__(self, other: object) -> bool:
        return self is other

    def __setstate__(self, state: object) -> None:
        """What the file says of the object: its attributes, those in slots beside them. Anything else is dropped."""
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, Mapping):
                self.update(part)

    def append(self, item: object) -> None:
        """Items of lists and sets of one's own are dropped."""

    extend = add = append


class Ordered(StandIn):
    """In place of `OrderedDict`: what torch hangs on a state dict (its `_metadata`) is no item of it."""

    def __init__(self, items: object = ()) -> None:
        """Python 2 made one of a list of pairs."""
        super().__init__(items)
        for pair in items if isinstance(items, (list, tuple)) else ():
            if isinstance(pair, (list, tuple)) and len(pair) == 2:
                self[pair[0]] = pair[1]

    def __setstate__(self, state: object) -> None: ...


class _Builder:
    """A function that a file may call. Nothing that the file says can change it."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def __setstate__(self, state: object) -> None: ...

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


class _StorageType:
    """Of the oldest format's storages: what numbers they hold."""

    __slots__ = ("_dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        object.__setattr__(self, "_dtype", dtype)

    __setattr__ = _Builder.__setattr__

    def __setstate__(self, state: object) -> None: ...


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    """A view of a storage; what it says of gradients and hooks is left out."""
    return _view(storage, storage.dtype, offset, size, stride)


def _tensor_of_type(
    storage: Any, offset: int, size: Any, stride: Any, gradient: object, hooks: object, dtype: Any, *_: object
) -> Tensor:
    return _view(storage, dtype, offset, size, stride)


def _view(storage: Any, dtype: torch.dtype, offset: int, size: Any, stride: Any) -> Tensor:
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if 0 not in size and (min(offset, *stride, 0) < 0 or (last + 1) * dtype.itemsize > storage.nbytes()):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")  # torch would make the storage larger
    return torch.empty(0, dtype=dtype).set_(storage.untyped(), offset, tuple(size), tuple(stride))


def _parameter(data: object, *_: object) -> object:
    return data


def _of_a_class(function: object, kind: object, args: tuple[Any, ...], state: object) -> object:
    """A tensor of somebody's own class, as the plain tensor."""
    return function(*args) if isinstance(function, _Builder) else StandIn()


def _items(items: object = ()) -> object:
    return set(items) if isinstance(items, (list, tuple)) else StandIn()


def _from_bytes(data: bytes) -> Any:
    """A storage as a plain pickle keeps it: a file of torch's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _size(sides: object = ()) -> object:
    return tuple(sides) if isinstance(sides, (list, tuple)) else StandIn()


@cache
def _known() -> dict[str, Any]:
    """By the names of torch's own: what puts a dense tensor together, and types of numbers."""
    functions: dict[str, Callable[..., Any]] = {
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _tensor_of_type,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch._tensor._rebuild_from_type_v2": _of_a_class,
        "torch.storage._load_from_bytes": _from_bytes,
        "torch.Size": _size,
        "builtins.set": _items,
        "__builtin__.set": _items,
    }
    types = {str(kind): kind for kind in vars(torch).values() if isinstance(kind, torch.dtype)}
    storages = {f"torch.{name}Storage": _StorageType(kind) for name, kind in STORAGES.items()}
    classes = {"collections.OrderedDict": Ordered, "torch.nn.parameter.Parameter": _Parameter}
    return {**{name: _Builder(function) for name, function in functions.items()}, **types, **storages, **classes}


class _Parameter(StandIn):
    """In place of a parameter as torch made them before version 0.4: the tensor in it."""

    def __new__(cls, data: object = None, *args: object) -> Any:
        return data if isinstance(data, Tensor) else super().__new__(cls)


@cache
def _class_named(name: str) -> type[StandIn]:
    return type(name.rpartition(".")[2], (StandIn,), {"__module__": name.rpartition(".")[0]})


class CarefulUnpickler(pickle.Unpickler):
    """Python's own reader of pickles, which gets nothing to run: see above."""

    def find_class(self, module: str, name: str) -> Any:
        whole = f"{module}.{name}"
        if module.partition(".")[0] in CODE or (module in ("builtins", "__builtin__") and name not in HARMLESS):
            raise AsksForCode(whole)
        known = _known()
        return known[whole] if whole in known else _class_named(whole)


def _load(file: Any, **options: Any) -> Any:
    return CarefulUnpickler(file, **options).load()


careful_pickle = SimpleNamespace(__name__="careful_pickle", Unpickler=CarefulUnpickler, load=_load)  # as torch wants it
