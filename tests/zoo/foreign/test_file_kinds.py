"""Files that are no weights are called what they are."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from swav_cli import UserError
from swav_cli.zoo.foreign.pickles import read_foreign
from swav_cli.zoo.load import load

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 94567890\n"


def graph(path: Path) -> None:
    torch.export.save(torch.export.export(nn.Identity(), (torch.ones(1),)), path)


def script(path: Path) -> None:
    """As torch.jit.save lays one out; making one is deprecated."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"archive/{name}", b"")


def packed(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/model.pth", b"x")


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("model.safetensors"), io.BytesIO())


def these(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


KINDS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a pointer": ("x.pth", these(POINTER), r"git LFS \(94,567,890 bytes\).*git lfs pull"),
    "a pointer as safetensors": ("x.safetensors", these(POINTER), "git LFS.*git lfs pull"),
    "nothing": ("x.pth", these(b""), "is empty; fetch"),
    "nothing as safetensors": ("x.safetensors", these(b""), "is empty"),
    "zeros": ("x.pth", these(bytes(5000)), "begins with zeros alone"),
    "a page": ("x.pth", these(b"\n<!DOCTYPE html><html>"), "an HTML page: what a server answered"),
    "a page in UTF-16": ("x.pth", these("<html>".encode("utf-16")), "an HTML page"),
    "a page as safetensors": ("x.safetensors", these(b"<HTML>"), "an HTML page"),
    "an error of a store": ("x.pth", these(b"<?xml version='1.0'?><Error>"), "an XML document: what a server"),
    "an error as JSON": ("x.pth", these(json.dumps({"error": "Repository not found"}).encode()), "a JSON document"),
    "an error in words": ("x.bin", these(b"Entry not found"), "a message .'Entry not found'.*: what a server"),
    "a graph": ("x.pt2", graph, "a program of torch.export .*torch.export.load"),
    "a graph by another name": ("x.pth", graph, "a program of torch.export"),
    "TorchScript": ("x.pt", script, "a TorchScript archive"),
    "ONNX": ("x.onnx", these(b"\x08\x0a\x12\x07pytorch"), "an ONNX model"),
    "ONNX by another name": ("x.pth", these(b"\x08\x0a\x12\x07pytorch\x1a\x05"), "an ONNX model"),
    "TensorRT": ("x.engine", these(b"ftrt\x00\x01"), "a TensorRT engine"),
    "Keras": ("x.h5", these(b"\x89HDF\r\n\x1a\n" + bytes(9)), "an HDF5 file"),
    "TensorFlow Lite": ("x.tflite", these(b"\x1c\x00\x00\x00TFL3"), "a TensorFlow Lite model"),
    "Core ML": ("x.mlmodel", these(b"\x08\x05"), "a Core ML model"),
    "features": ("x.npz", lambda path: np.savez(path, a=np.ones(2)), "arrays of numpy"),
    "packed by gzip": ("x.pth.tar.gz", these(b"\x1f\x8b\x08"), "packed with gzip; unpack it first"),
    "packed by zip": ("x.zip", packed, "a zip archive .* weights/model.pth is in it"),
    "a tar of files": ("x.pth.tar", tarred, "a tar archive .* model.safetensors is in it"),
    "a picture": ("x.pth", these(b"\x89PNG\r\n"), "a picture"),
}


@pytest.mark.parametrize("case", KINDS)
def test_what_is_no_file_of_weights_is_called_what_it_is(tmp_path: Path, case: str) -> None:
    name, write, told = KINDS[case]
    write(tmp_path / name)
    with pytest.raises(UserError, match=told) as refused:
        load(tmp_path / name)
    assert str(refused.value).startswith(f"{tmp_path / name}: ")
    assert "damaged" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "inside", "told"),
    [("saved", "saved_model.pb", "a SavedModel of TensorFlow"), ("x.mlpackage", "Manifest.json", "a Core ML model")],
)
def test_folders_of_other_tools(tmp_path: Path, name: str, inside: str, told: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / inside).write_bytes(b"")
    with pytest.raises(UserError, match=told):
        load(tmp_path / name)


def test_weights_get_no_word(tmp_path: Path) -> None:
    for zipped in (True, False):
        torch.save({"a": torch.ones(2)}, tmp_path / "x.onnx.pth", _use_new_zipfile_serialization=zipped)
        assert read_foreign(tmp_path / "x.onnx.pth")["a"].tolist() == [1, 1]
