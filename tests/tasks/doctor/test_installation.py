"""What is installed, and what is odd about it: each fault made on purpose is told, with what to type."""

from __future__ import annotations

import sys

import pytest

from swav_cli.data.reading import limits
from swav_cli.tasks.doctor import installation
from swav_cli.tasks.doctor.installation import (
    Requirement,
    as_requirement,
    check_decoding,
    check_environment,
    check_extras,
    check_packages,
    check_torch_loads,
    requirements,
)

ONNX = [Requirement("onnx", "1.17", "onnx"), Requirement("onnxscript", "0.3", "onnx")]
TIMM = Requirement("timm", "1.0.12", "timm")


def have(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    monkeypatch.setattr(installation, "installed", versions.get)


def test_missing_extras_are_told_with_the_line_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, onnx="1.18", onnxscript="0.5")
    (check,) = check_extras([*ONNX, TIMM, Requirement("pytest", "8", "test")])
    assert check.state == "ok"  # nobody needs all of them
    assert check.found == "installed: onnx; not installed: timm"
    assert check.remedy.startswith("pip install 'swav-cli[timm]'")


def test_an_extra_that_is_half_there_or_too_old_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, onnx="1.9.1", onnxscript="0.5")
    (check,) = check_extras(ONNX)
    assert (check.name, check.state, check.found) == ("extra onnx", "warning", "onnx is 1.9.1, and 1.17 is the least")


def test_what_swav_needs_and_has_not_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, torch="2.9.0+cpu")
    check = check_packages([Requirement("torch", "2.11", None), Requirement("rich", "", None), TIMM])
    assert check.state == "problem"
    assert check.found == "torch is 2.9.0+cpu, and 2.11 is the least; rich is missing"


def test_the_package_itself_tells_what_it_needs() -> None:
    needed = requirements()
    assert any(each.name == "torch" and each.extra is None and each.least for each in needed)
    assert {"onnx", "timm", "parquet"} <= {each.extra for each in needed}
    assert check_packages(needed).state == "ok"
    assert as_requirement("swav-cli[onnx]; extra == 'test'") == Requirement("swav-cli", "", "test")


def test_pictures_are_truly_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_decoding().state == "ok"
    monkeypatch.setattr("swav_cli.data.decoding.jpeg.decode_jpeg", lambda content, mode: 1 / 0)
    check = check_decoding()
    assert (check.state, check.found) == ("problem", "a picture can't be decoded: division by zero")
    assert "torchcodec" in check.remedy


def test_a_torch_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    check = check_torch_loads()
    assert check.state == "problem"
    assert "torchvision" in check.found


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, []),
        ({"OMP_NUM_THREADS": "4"}, []),
        ({"OMP_NUM_THREADS": "4,2"}, []),
        ({"OMP_NUM_THREADS": "1"}, ["a processor trains with 1 of them"]),
        ({"OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "4"}, []),  # as torchrun sets it
        ({"OMP_NUM_THREADS": "64"}, ["threads wait for each other"]),
        ({"OMP_NUM_THREADS": "all"}, ["no number of threads"]),
        ({"CUDA_LAUNCH_BLOCKING": "1"}, ["waits for the GPU after each kernel"]),
        ({"CUDA_LAUNCH_BLOCKING": "0"}, []),
    ],
)
def test_variables_that_slow_are_told(
    variables: dict[str, str], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "own_processors", lambda: 4)
    checks = check_environment(variables)
    assert [check.state for check in checks] == ["warning"] * len(told)
    for check, words in zip(checks, told, strict=True):
        assert words in check.found
        assert check.remedy.startswith("unset")
