"""Whatever a checkpoint names, its tensors are read and nothing of it is looked up or run."""

from __future__ import annotations

import argparse
import collections
import enum
import io
import pickle
import struct
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from swav_cli import UserError
from swav_cli.zoo.foreign.pickles import read_foreign
from swav_cli.zoo.foreign.stand_ins import CarefulUnpickler, StandIn
from swav_cli.zoo.foreign.wrappers import held_in
from tests.zoo.foreign.test_pickles import zipped_pickle

RAN: list[str] = []  # what code of the classes below would leave


class Settings(dict[str, Any]):
    """A mapping of somebody's own, as configurations are."""

    def __setitem__(self, key: str, value: Any) -> None:
        RAN.append(key)
        super().__setitem__(key, value)


class Row(list[Any]): ...


class Kind(enum.Enum):
    A = 1


class Slots:
    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = torch.ones(2)


class Pair(NamedTuple):
    a: int
    b: int


class Loud:
    def __init__(self) -> None:
        self.number = 1

    def __setstate__(self, state: object) -> None:
        RAN.append("setstate")


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    RAN.clear()
    yield
    assert RAN == []


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))


def anything() -> dict[str, Any]:
    """What training scripts put beside their weights."""
    model = network()
    counted = collections.defaultdict(list, {"loss": [1.0]})
    return {
        "state_dict": model.state_dict(),
        "args": argparse.Namespace(lr=0.1, folder=Path("x")),
        "settings": dict.__new__(Settings),
        "counted": counted,
        "row": Row([1, 2]),
        "enum": {Kind.A: Kind.A},
        "slots": Slots(),
        "pair": Pair(1, 2),
        "loud": Loud(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "function": nn.functional.relu,
        "class": nn.Conv2d,
        "numpy": [np.float64(3), np.ones(3), np.random.RandomState(0).get_state()],
        "set": {1, 2},
        "bytes": b"abc",
        "version": torch.torch_version.TorchVersion("2.1"),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "sparse": torch.eye(3).to_sparse(),
        "parameter": nn.Parameter(torch.ones(2)),
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_tensors_are_read_whatever_lies_beside_them(tmp_path: Path, protocol: int, zipped: bool) -> None:
    content, path = anything(), tmp_path / "checkpoint.pth"
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    RAN.clear()
    read = read_foreign(path)
    assert list(read["state_dict"]) == list(content["state_dict"])
    assert all(torch.equal(read["state_dict"][key], value) for key, value in content["state_dict"].items())
    assert torch.equal(read["half"], content["half"])
    assert torch.equal(read["parameter"], torch.ones(2))
    assert read["args"]["lr"] == 0.1
    assert read["counted"]["loss"] == [1.0]
    for key in ("args", "settings", "row", "slots", "pair", "loud", "optimizer", "function", "version", "sparse"):
        assert isinstance(read[key], StandIn) or issubclass(read[key], StandIn)
    assert read["set"] == {1, 2}


def test_tensors_inside_objects_are_there(tmp_path: Path) -> None:
    torch.save({"slots": Slots(), "settings": collections.defaultdict(dict, {"a": torch.ones(3)})}, tmp_path / "x.pth")
    read = read_foreign(tmp_path / "x.pth")
    assert torch.equal(read["slots"]["held"], torch.ones(2))
    assert torch.equal(read["settings"]["a"], torch.ones(3))


class Frozen(dict[str, Any]):
    def __reduce__(self) -> Any:
        return Frozen, (dict(self),)


class OfPython2(collections.OrderedDict[str, Any]):
    """Pickled as Python 2 did it, by a list of pairs."""

    def __reduce__(self) -> Any:
        return collections.OrderedDict, ([[key, value] for key, value in self.items()],)


def test_items_that_a_dictionary_is_made_of_are_kept(tmp_path: Path) -> None:
    weights = {"a": torch.ones(2), "b": torch.zeros(3)}
    content = {"frozen": Frozen(weights), "old": OfPython2(weights), "args": argparse.Namespace()}
    torch.save(content, tmp_path / "x.pth")
    read = read_foreign(tmp_path / "x.pth")
    for name in ("frozen", "old"):
        assert [(key, value.shape) for key, value in read[name].items()] == [("a", (2,)), ("b", (3,))]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_module_gives_its_state_dict(tmp_path: Path, zipped: bool) -> None:
    model = nn.DataParallel(network())
    model.module.register_buffer("passing", torch.ones(1), persistent=False)
    torch.save(model, tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    held = held_in(read_foreign(tmp_path / "whole.pth"))
    wanted = model.module.state_dict()
    assert held.tensors.keys() == wanted.keys()
    assert all(torch.equal(held.tensors[key], value) for key, value in wanted.items())
    assert "a whole pickled module" in held.notes[0]


def test_a_plain_pickle_of_tensors(tmp_path: Path) -> None:
    state = network().state_dict()
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"model": state, "args": argparse.Namespace(lr=1)}))
    read = read_foreign(tmp_path / "plain.pkl")
    assert all(torch.equal(read["model"][key], value) for key, value in state.items())


def test_the_tar_format_of_torchs_first_releases(tmp_path: Path) -> None:
    """A tar of three files: storages, tensors on them, and the pickle that names both by numbers."""

    class Numbered(pickle.Pickler):
        def persistent_id(self, thing: Any) -> Any:
            return 1 if isinstance(thing, torch.Tensor) else None

    values, parts = torch.arange(6, dtype=torch.float32), {}
    storages = io.BytesIO()
    for item in (1, (0, "cpu", torch.FloatStorage)):
        pickle.dump(item, storages, 2)
    storages.write(struct.pack("<q", 6) + values.numpy().tobytes())
    pickle.dump([], storages, 2)  # views of storages: none
    tensors = io.BytesIO()
    for item in (1, (1, 0, torch.FloatTensor)):
        pickle.dump(item, tensors, 2)
    tensors.write(struct.pack("<i4x2q2qq", 2, 2, 3, 3, 1, 0))
    body = io.BytesIO()
    Numbered(body, 2).dump({"state_dict": {"a": values.view(2, 3)}, "args": argparse.Namespace(lr=1)})
    parts = {"storages": storages, "tensors": tensors, "pickle": body}
    path = tmp_path / "old.pth.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(data.getvalue())
            archive.addfile(member, io.BytesIO(data.getvalue()))
    assert torch.equal(read_foreign(path)["state_dict"]["a"], values.view(2, 3))


def code(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


@pytest.mark.parametrize(
    "instructions",
    [
        # the state of a class, which would be set for all who use it
        code("collections", "OrderedDict") + b"}X\x03\x00\x00\x00getX\x01\x00\x00\x00xsb.",
        code("torch.nn.modules.conv", "Conv2d") + b"N}X\x0c\x00\x00\x00dump_patchesI01\ns\x86b.",
        # that of one of torch's functions: accepted, and dropped
        code("torch._utils", "_rebuild_tensor_v2") + b"N}X\x0c\x00\x00\x00__defaults__)s\x86b.",
    ],
)
def test_no_state_is_put_on_a_class_or_a_function(tmp_path: Path, instructions: bytes) -> None:
    before = dict(vars(StandIn)), torch._utils._rebuild_tensor_v2.__defaults__
    # a name that torch refuses comes first, so that the careful reader has the word
    zipped_pickle(tmp_path / "x.pth", b"\x80\x02" + code("argparse", "Namespace") + b"0" + instructions)
    try:
        read_foreign(tmp_path / "x.pth")
    except UserError as error:
        assert "x.pth: refused" in str(error)  # noqa: PT017
    assert (dict(vars(StandIn)), torch._utils._rebuild_tensor_v2.__defaults__) == before
    assert type("Conv2d", (StandIn,), {}).dump_patches is False


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"args": argparse.Namespace(), "a": torch.arange(4.0)}, path)
    import zipfile

    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in parts.items():
            new.writestr(name, data.replace(b"K\x04\x85", b"K\x7f\x85") if name.endswith("data.pkl") else data)
    with pytest.raises(UserError, match="reaches beyond its storage"):
        read_foreign(path)


def test_no_module_is_imported_for_a_name(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + code("antigravity", "geohash") + b")R.")
    with open(tmp_path / "x.pkl", "rb") as file:
        assert isinstance(CarefulUnpickler(file).load(), StandIn)
    assert "antigravity" not in sys.modules
