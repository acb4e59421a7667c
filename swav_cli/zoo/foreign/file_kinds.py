"""What a file is that holds no weights by name: an exported graph, a pointer, a page; and what to do about it.

By its first bytes where they tell, else by its name. Whatever torch or safetensors can read gets no word here.
"""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from pathlib import Path

from swav_cli.errors import UserError

# A word that ends so is a file's name, and not a model's.
WEIGHTS = (".pth", ".pt", ".tar", ".safetensors", ".ckpt", ".bin", ".pkl")
HEAD = 1024  # bytes that are looked at
GRAPH = "a graph and not weights by name; give the run or the checkpoint that it was exported from"
CONVERT = "save its weights with torch.save(model.state_dict(), FILE) or as safetensors where they were trained"
PAGE = "what a server answered in place of the weights; fetch the file again, by the address that downloads it"
ENDINGS = {
    ".onnx": f"an ONNX model: {GRAPH}. To run it: onnxruntime",
    ".engine": f"a TensorRT engine: {GRAPH}",
    ".plan": f"a TensorRT engine: {GRAPH}",
    ".trt": f"a TensorRT engine: {GRAPH}",
    ".tflite": f"a TensorFlow Lite model: {GRAPH}",
    ".mlmodel": f"a Core ML model: {GRAPH}",
    ".mlpackage": f"a Core ML model: {GRAPH}",
    ".mlmodelc": f"a Core ML model: {GRAPH}",
    ".xml": f"a model of OpenVINO: {GRAPH}",
    ".pb": f"a graph of TensorFlow, which swav does not read: {CONVERT}",
    ".keras": f"a model of Keras, which swav does not read: {CONVERT}",
    ".msgpack": f"weights of Flax, which swav does not read: {CONVERT}",
    ".gguf": "a GGUF file, as language models have them: swav reads networks for pictures",
    ".pdparams": f"weights of PaddlePaddle, which swav does not read: {CONVERT}",
}
BEGINNINGS = (
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file, as Keras writes weights, which swav does not read: {CONVERT}"),
    (b"\x93NUMPY", "an array of numpy, such as features, and no weights by name"),
    (b"GGUF", ENDINGS[".gguf"]),
    (b"ftrt", ENDINGS[".engine"]),
    (b"\x1f\x8b", "packed with gzip; unpack it first: gunzip or tar -xzf"),
    (b"BZh", "packed with bzip2; unpack it first: bunzip2 or tar -xjf"),
    (b"\xfd7zXZ", "packed with xz; unpack it first: unxz or tar -xJf"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it first: unzstd"),
    (b"7z\xbc\xaf\x27\x1c", "packed with 7-Zip; unpack it first"),
    (b"Rar!", "packed with RAR; unpack it first"),
    (b"%PDF", "a PDF and no weights"),
    (b"\xff\xd8\xff", "a picture (JPEG) and no weights"),
    (b"\x89PNG", "a picture (PNG) and no weights"),
)


def kind_of_file(path: Path) -> str:
    """What the file is, and what to do, in words; empty where it may hold weights.

    Raises:
        UserError: it can't be read at all.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    if not head:
        return "is empty; fetch or copy it again"
    if not head.strip(b"\x00"):
        return "begins with zeros alone, as a download or a copy that failed leaves it; fetch it again"
    if head.startswith(b"version https://git-lfs.github.com"):
        return f"a pointer of git LFS{_size(head)} in place of the weights; fetch them with: git lfs pull"
    if words := _binary(head) or _text(head, path):
        return words
    if path.suffix != ".safetensors":
        if zipfile.is_zipfile(path):
            return _archive(path)
        if tarfile.is_tarfile(path):
            return _tar(path)
    return ENDINGS.get(path.suffix.lower(), "")


def kind_of_folder(folder: Path) -> str:
    """The same for a folder that other tools call a model."""
    if (folder / "saved_model.pb").exists() or (folder / "keras_metadata.pb").exists():
        return f"a SavedModel of TensorFlow, which swav does not read: {CONVERT}"
    if folder.suffix in (".mlpackage", ".mlmodelc"):
        return ENDINGS[folder.suffix]
    return ""


def _binary(head: bytes) -> str:
    for beginning, words in BEGINNINGS:
        if head.startswith(beginning):
            return words
    if head[:1] == b"\x08" and re.search(rb"pytorch|onnx", head[:64]):  # its version, then who made it
        return ENDINGS[".onnx"]
    return ENDINGS[".tflite"] if head[4:8] == b"TFL3" else ""


def _size(head: bytes) -> str:
    size = next((line[5:] for line in head.split(b"\n") if line.startswith(b"size ")), b"")
    return f" ({int(size):,} bytes)" if size.isdigit() else ""


def _text(head: bytes, path: Path) -> str:
    """Pages and messages, in whatever encoding; a pickle of protocol 0 is text too, and gets no word."""
    start = head.replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return f"an HTML page: {PAGE}"
    if start.startswith((b"<?xml", b"<error", b"<net ")):
        return ENDINGS[".xml"] if path.suffix == ".xml" or b"<net " in start else f"an XML document: {PAGE}"
    if start.startswith((b"{", b"[")) and _is_json(path):
        return f"a JSON document and no weights, perhaps {PAGE}"
    if start.startswith(
        (b"not found", b"access denied", b"forbidden", b"404", b"403", b"invalid username", b"entry not found")
    ):
        return f"a message ('{_first_words(head)}'): {PAGE}"
    return ""


def _is_json(path: Path) -> bool:
    try:
        if path.stat().st_size > 1 << 20:
            return False
        json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _first_words(head: bytes) -> str:
    lines = head.decode("utf-8", "replace").splitlines() or [""]
    return "".join(c for c in lines[0][:60] if c.isprintable())


def _archive(path: Path) -> str:
    """A zip container: torch's own holds `data.pkl`."""
    try:
        with zipfile.ZipFile(path) as container:
            names = container.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ""  # damage is told where checksums are compared
    last = {name.rpartition("/")[2] for name in names}
    if (
        "archive_format" in last
        or "serialized_exported_program.json" in last
        or any("models/" in name for name in names)
    ):
        return f"a program of torch.export (.pt2): {GRAPH}. To run it: torch.export.load"
    if "constants.pkl" in last:
        return (
            f"a TorchScript archive: {GRAPH}. To run it: torch.jit.load; its weights: torch.jit.load(FILE).state_dict()"
        )
    if "data.pkl" in last:
        return ""
    if "model.weights.h5" in last:
        return ENDINGS[".keras"]
    if any(name.endswith(".npy") for name in names):
        return f"arrays of numpy (.npz), which swav does not read as weights: {CONVERT}"
    inside = next(
        (name for name in names if name.endswith((".pth", ".pt", ".tar", ".safetensors", ".ckpt", ".bin"))), None
    )
    return "a zip archive and no checkpoint of torch; unpack it first" + (f", {inside} is in it" if inside else "")


def _tar(path: Path) -> str:
    """torch's oldest format is a tar of three files; any other holds files, of which one may be weights."""
    try:
        with tarfile.open(path, "r:") as archive:
            members = {member.name.removeprefix("./"): member.isreg() for member in archive}
    except (tarfile.TarError, OSError):
        return ""
    if all(members.get(name, False) for name in ("storages", "tensors", "pickle")):
        return ""
    inside = next(
        (name for name in members if name.endswith((".pth", ".pt", ".tar", ".safetensors", ".ckpt", ".bin"))), None
    )
    return "a tar archive and no checkpoint of torch; unpack it first: tar -xf" + (
        f", {inside} is in it" if inside else ""
    )
