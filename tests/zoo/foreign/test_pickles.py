"""Files of weights are read and never run."""

from __future__ import annotations

import os
import pickle
import runpy
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from swav_cli import UserError
from swav_cli.zoo.foreign.pickles import read_foreign
from swav_cli.zoo.foreign.stand_ins import StandIn
from tests.conftest import REFERENCE


class Call:
    """Pickled as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def marked(tmp_path: Path) -> Path:
    return tmp_path / "was-run"


MALICIOUS: dict[str, tuple[Any, str]] = {
    "os.system": (lambda mark: Call(os.system, f"touch {mark}"), "system"),
    "eval": (lambda mark: Call(eval, f"open({str(mark)!r}, 'w')"), "eval"),
    "exec": (lambda mark: Call(exec, f"open({str(mark)!r}, 'w')"), "exec"),
    "open": (lambda mark: Call(open, str(mark), "w"), "open"),
    "import": (lambda mark: Call(__import__, "os"), "__import__"),
    "runpy": (lambda mark: Call(runpy.run_path, str(mark)), "run_path"),
    "subprocess": (lambda mark: Call(subprocess.Popen, ["touch", str(mark)]), "Popen"),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("case", MALICIOUS)
def test_code_is_refused_by_name_and_not_run(tmp_path: Path, case: str, zipped: bool) -> None:
    make, name = MALICIOUS[case]
    path = tmp_path / "weights.pth"
    content = {"state_dict": {"conv1.weight": torch.ones(2)}, "meta": make(marked(tmp_path))}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=rf"refused: it asks for '[\w.]*{name}[\w.]*'.*Nothing in it was run"):
        read_foreign(path)
    assert not marked(tmp_path).exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_plain_pickle_too_is_refused_by_name(tmp_path: Path, protocol: int, recwarn: pytest.WarningsRecorder) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"x": Call(os.system, f"touch {marked(tmp_path)}")}, protocol))
    with pytest.raises(UserError, match=r"refused: it asks for '\w+\.system'.*Nothing in it was run") as refused:
        read_foreign(path)
    assert "\n" not in str(refused.value)
    assert not marked(tmp_path).exists()
    assert not recwarn


def test_a_file_that_was_cut_short_is_told_in_a_few_words(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"x": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match="damaged or cut short") as refused:
        read_foreign(path)
    assert len(str(refused.value)) - len(str(path)) < 150


def zipped_pickle(path: Path, code: bytes) -> None:
    """A file of torch's zip format whose pickle is these instructions."""
    torch.save({}, path)
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in parts.items():
            new.writestr(name, code if name.endswith("data.pkl") else data)


@pytest.mark.parametrize(
    "code",
    [
        # getattr(HistoryBuffer, "__init__")("touch …"): what the stand-in gives may not be called
        b"\x80\x02cbuiltins\ngetattr\ncmmengine.logging.history_buffer\nHistoryBuffer\nX\x08\x00\x00\x00__init__\x86R"
        b"X\x05\x00\x00\x00touch\x85R.",
        # getattr(getattr(OrderedDict, "__init__"), "__globals__")["os"]: a chain of it leads nowhere
        b"\x80\x02cbuiltins\ngetattr\ncbuiltins\ngetattr\nccollections\nOrderedDict\nX\x08\x00\x00\x00__init__\x86R"
        b"X\x0b\x00\x00\x00__globals__\x86RX\x02\x00\x00\x00os\x85R.",
    ],
)
def test_a_chain_of_getattr_leads_nowhere(tmp_path: Path, code: bytes) -> None:
    path = tmp_path / "weights.pth"
    zipped_pickle(path, code)
    with pytest.raises(UserError, match=r"refused: it holds more than weights .*Nothing in it was run"):
        read_foreign(path)


def test_getattr_looks_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    zipped_pickle(path, b"\x80\x02cbuiltins\ngetattr\nccollections\nOrderedDict\nX\x04\x00\x00\x00keys\x86R.")
    assert isinstance(read_foreign(path), StandIn)


def test_a_raw_checkpoint_of_mmpretrain_is_read_with_stand_ins() -> None:
    content = read_foreign(REFERENCE / "layouts" / "mmpretrain1_raw_runner.pth")
    assert content["state_dict"]["backbone.conv1.weight"].shape == (8, 3, 7, 7)
    assert all(isinstance(log, StandIn) for log in content["message_hub"]["log_scalars"].values())


def test_the_legacy_format_loads(tmp_path: Path) -> None:
    """The official files were written before torch took to zip."""
    torch.save({"module.a": torch.arange(3)}, tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    assert read_foreign(tmp_path / "old.pth.tar")["module.a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("data", [b"", b"hello, I am no checkpoint", b"PK\x03\x04 not a zip", b"\x80\x02}q\x00."])
def test_other_files_are_told_from_weights(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file.pth").write_bytes(data)
    try:
        assert read_foreign(tmp_path / "file.pth") == {}
    except UserError as error:
        assert "file.pth: " in str(error)  # noqa: PT017


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_damaged(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"a": torch.ones(10_000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UserError, match="damaged"):
        read_foreign(path)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "bits.pth"
    torch.save({"a": torch.ones(10_000)}, path)
    data = bytearray(path.read_bytes())
    data[20_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"damaged \(checksum of"):
        read_foreign(path)


def test_no_such_file_and_a_bad_safetensors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file of weights"):
        read_foreign(tmp_path / "none.pth")
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(UserError, match="can't be read as safetensors"):
        read_foreign(tmp_path / "bad.safetensors")
