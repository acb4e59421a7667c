"""What is black and what is white hangs on the type of the samples, and on no single pixel."""

from __future__ import annotations

import numpy as np
import pytest

from swav_cli.data.decoding.depth import array_in_eight_bits, samples_in_eight_bits
from swav_cli.data.decoding.formats import BadPicture

RAMP = np.linspace(0, 1, 1200).reshape(30, 40)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([[False, True]]), [0, 255]),
        (np.array([[0, 128, 255]], np.uint8), [0, 128, 255]),
        (np.array([[0, 257, 65535]], np.uint16), [0, 1, 255]),
        (np.array([[0, 255]], np.int64), [0, 255]),
        (np.array([[0, 255]], np.int16), [0, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[0, 257, 65535]], np.uint64), [0, 1, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float16), [0, 128, 255]),
        (np.array([[0.0, 127.6, 255.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 257.0, 65535.0]]), [0, 1, 255]),
    ],
)
def test_arrays(values: np.ndarray, wanted: list[int]) -> None:
    assert array_in_eight_bits(values)[0].tolist() == wanted


@pytest.mark.parametrize(
    ("values", "bits", "wanted"),
    [
        (np.array([0, 4095], np.uint16), 12, [0, 255]),
        (np.array([0, 2**31, 2**32 - 1], np.uint32), 32, [0, 128, 255]),
        (np.array([0, 2**64 - 1], np.uint64), 64, [0, 255]),
        (np.array([-128, 0, 127], np.int8), 8, [0, 128, 255]),
        (np.array([-32768, 0, 32767], np.int16), 16, [0, 128, 255]),
        (np.array([0, 257, 65535], np.int32), 32, [0, 1, 255]),
        (np.array([0, 0.5, 1], np.float32), 32, [0, 128, 255]),
    ],
)
def test_samples_of_tiffs(values: np.ndarray, bits: int, wanted: list[int]) -> None:
    assert samples_in_eight_bits(values, bits).tolist() == wanted


@pytest.mark.parametrize(
    ("ramp", "odd"),
    [
        (RAMP, [-0.2, 1.7, 300.0, -1e9, 1e30]),
        (RAMP * 255, [-1.0, 256.0, 5000.0, 1e6]),
        (RAMP * 40_000, [-1.0, 70_000.0, 1e9]),
        ((RAMP * 255).astype(np.int16), [-1, 256, 30_000, -30_000]),
        ((RAMP * 65535).astype(np.int32), [-1, 65536, 2_000_000_000]),
        ((RAMP * 255).astype(np.int64), [-1, 256, 2**60]),
        ((RAMP * 255).astype(np.uint32), [256, 2**32 - 1]),
    ],
)
def test_one_odd_pixel_changes_no_other(ramp: np.ndarray, odd: list[float]) -> None:
    before = array_in_eight_bits(ramp)
    assert before.max() > 150
    for value in odd:
        changed = ramp.copy()
        changed[0, 0] = value
        assert (array_in_eight_bits(changed).ravel()[1:] == before.ravel()[1:]).all()


@pytest.mark.parametrize("ramp", [(RAMP * 1000).astype(np.int16), (RAMP * 1000).astype(np.int32)])
def test_two_signed_tiffs_of_a_data_set_have_one_scale(ramp: np.ndarray) -> None:
    bits = ramp.dtype.itemsize * 8
    both = samples_in_eight_bits(np.concatenate([ramp, ramp // 2]), bits)
    assert (both == np.concatenate([samples_in_eight_bits(part, bits) for part in (ramp, ramp // 2)])).all()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            RAMP - 0.5,
            r"^holds values from -0\.5 to 0\.5; float64 is read as 0 to 1 or 255 or 65535: save it as uint8 or",
        ),
        (RAMP * 1e6, "from 0 to 1e.06"),
        ((RAMP * 100 - 50).astype(np.int16), "from -50 to 50; int16 is read as 0 to 255 or 65535"),
        ((RAMP * 2**31).astype(np.uint32), "uint32"),
        (np.array([[0, np.nan]]), "not finite"),
        (np.array([[0, np.inf]]), "not finite"),
    ],
)
def test_values_that_are_no_brightness_are_refused(values: np.ndarray, said: str) -> None:
    with pytest.raises(BadPicture, match=said):
        array_in_eight_bits(values)
