"""Precision and memory layout follow from what the device is good at, and float32 is float32."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import swav_cli
from swav_cli.core import precision
from swav_cli.core.device import own_device, pick_device
from swav_cli.core.precision import memory_format, pick_precision, settle_precision
from swav_cli.errors import UserError

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.mark.parametrize(
    ("device", "with_bf16", "layout", "picked"),
    [
        (CUDA, True, torch.channels_last, "bf16"),
        (CUDA, False, torch.contiguous_format, "float32"),  # V100, T4, 20xx
        (MPS, False, torch.contiguous_format, "float32"),
    ],
)
def test_a_gpu_without_bf16_takes_no_channels_last(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, with_bf16: bool, layout: torch.memory_format, picked: str
) -> None:
    monkeypatch.setattr(precision, "_gpu_computes_bf16", lambda device: with_bf16)
    assert memory_format(device) == layout
    assert pick_precision(device)[0] == settle_precision("auto", device) == picked


def test_a_processor_takes_channels_last_whatever_it_computes_in() -> None:
    assert memory_format(CPU) == torch.channels_last
    assert settle_precision("bf16", CPU) == "bf16"
    with pytest.raises(UserError, match=r"--precision float: use auto, float32, bf16\. Did you mean 'float32'\?"):
        settle_precision("float", CPU)


def test_the_layout_is_asked_for_in_one_place() -> None:
    """A crop is cut in memory with channels last, whatever trains."""
    code = Path(swav_cli.__file__).parent
    naming = {path.name for path in code.rglob("*.py") if re.search(r"torch\.channels_last", path.read_text())}
    assert naming == {"precision.py", "multicrop.py"}


def test_float32_is_not_rounded_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    own_device("cpu")
    pick_device("auto")  # a model of a library's user is put there, whose own work is left alone
    assert torch.backends.cudnn.allow_tf32
    assert own_device("auto") == CUDA
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
