"""Deep TIFFs of all layouts hold the pixels that were put in; what is not read is told."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from swav_cli.data.decoding import tiff_chunks
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.decoding.images import decode_picture
from tests.data import tiffs
from tests.data.tiffs import Kind, tiff

RNG = np.random.default_rng(0)
COLOUR = RNG.random((21, 37, 3))
COLOUR[0, :2] = [[0, 0, 0], [1, 1, 1]]
GRAY = COLOUR[:, :, :1]
ALPHA = RNG.random((21, 37, 1))
TYPES = ["u2", "u4", "u8", "i1", "i2", "f2", "f4", "f8"]


def as_type(values: np.ndarray, name: str) -> np.ndarray:
    """Numbers from 0 to 1 as the whole range of a type."""
    kind = np.dtype(name)
    if kind.kind == "f":
        return values.astype(kind)
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    return np.array([min(high, round(low + value * (high - low))) for value in values.ravel().tolist()], kind).reshape(
        values.shape
    )


def pixels(content: bytes, channels: int = 3) -> np.ndarray:  # (H, W, channels)
    return decode_picture(content, channels).permute(1, 2, 0).numpy().astype(float)


def is_alike(found: np.ndarray, wanted: np.ndarray, most: float = 0.51) -> bool:
    return found.shape == wanted.shape and bool(np.abs(found - wanted * 255).max() <= most)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", ["strips", "tiles", "planes", "planes of tiles"])
@pytest.mark.parametrize("packing", ["none", "deflate", "differences"])
def test_samples_of_any_type_and_layout(name: str, order: str, layout: str, packing: str) -> None:
    predictor = (3 if name[0] == "f" else 2) if packing == "differences" else 1
    tile = (16, 16) if "tiles" in layout else None
    kind = Kind(order, "planes" in layout, tile, packing != "none", predictor)
    most = 0.51 if name != "f2" else 0.6
    assert is_alike(pixels(tiff(as_type(COLOUR, name), 2, kind)), COLOUR, most)
    gray = tiff(as_type(GRAY, name), 1, kind)
    assert is_alike(pixels(gray), np.repeat(GRAY, 3, axis=2), most)
    assert is_alike(pixels(gray, 1), GRAY, most)


@pytest.mark.parametrize("colours", [2, 16, 256])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_palette_of_eight_bits(colours: int, compression: str | None) -> None:
    """Some programs write its entries so; libtiff takes them so where all are below 256."""
    picture = Image.fromarray((COLOUR * 255).astype(np.uint8)).convert("P", palette=1, colors=colours)
    stream = io.BytesIO()
    picture.save(stream, "TIFF", compression=compression)
    wide = stream.getvalue()
    with Image.open(stream) as saved:
        entries = np.array(saved.tag_v2[320], "<u2")  # type: ignore[attr-defined]
    narrow = wide.replace(entries.tobytes(), (entries // 256).astype("<u2").tobytes())
    assert narrow != wide
    for channels in (1, 3):
        assert np.array_equal(pixels(narrow, channels), pixels(wide, channels))
    assert is_alike(pixels(narrow), np.asarray(picture.convert("RGB")) / 255)


@pytest.mark.parametrize("name", [*TYPES, "u1"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_white_is_zero(name: str, order: str) -> None:
    assert is_alike(pixels(tiff(as_type(1 - GRAY, name), 0, Kind(order)), 1), GRAY, 0.6)


@pytest.mark.parametrize("bits", [3, 5, 9, 10, 12, 14, 15])
@pytest.mark.parametrize("kind", [Kind(), Kind(">"), Kind(planar=True), Kind(tile=(16, 16)), Kind(deflate=True)])
@pytest.mark.parametrize("photometric", [0, 1, 2])
def test_samples_that_are_packed(bits: int, kind: Kind, photometric: int) -> None:
    values = {0: 1 - GRAY, 1: GRAY, 2: COLOUR}[photometric]
    levels = np.rint(values * (2**bits - 1)).astype(np.uint16)
    shown = levels / (2**bits - 1)
    content = tiff(levels, photometric, kind._replace(bits=bits))
    wanted = {0: 1 - shown, 1: shown, 2: shown}[photometric]
    assert is_alike(pixels(content, 3), np.broadcast_to(wanted, COLOUR.shape))


def test_many_strips_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [Kind(tile=(16, 16)), Kind(deflate=True), Kind(planar=True), Kind(">", predictor=2)]
    monkeypatch.setattr(tiff_chunks, "AT_ONCE", 100)
    for kind in whole:
        assert is_alike(pixels(tiff(as_type(COLOUR, "u2"), 2, kind)), COLOUR)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("photometric", [0, 1])
def test_bytes_whose_lowest_bit_comes_first(
    bits: int, order: str, tile: tuple[int, int] | None, photometric: int
) -> None:
    levels = np.rint(GRAY * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    kind = Kind(order, tile=tile, bits=None if bits in (8, 16) else bits)
    shown = levels / (2**bits - 1)
    content = tiff(levels, photometric, kind._replace(lowest_first=True))
    assert is_alike(pixels(content, 1), shown if photometric else 1 - shown)


def test_the_number_of_samples_may_go_without_saying() -> None:
    assert is_alike(pixels(tiff(as_type(COLOUR, "u2"), 2, t277=None)), COLOUR)


@pytest.mark.parametrize("kind", [Kind(), Kind(">", planar=True), Kind(bits=12)])
def test_one_long_strip_is_read_a_few_rows_at_a_time(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ImageJ writes it, of any size; Pillow would take a large one for a bomb."""
    monkeypatch.setattr(tiff_chunks, "AT_ONCE", 1000)
    monkeypatch.setattr(tiffs, "_rows", lambda height: height)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    levels = np.rint(COLOUR * 4095).astype(np.uint16) if kind.bits else as_type(COLOUR, "u2")
    assert is_alike(pixels(tiff(levels, 2, kind)), COLOUR, 0.6)


def test_what_is_compressed_in_one_large_piece_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BadPicture, match="compressed in one large piece; save it in strips or tiles"):
        decode_picture(tiff(as_type(COLOUR, "u2"), 2, Kind(deflate=True)))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", None])
@pytest.mark.parametrize("values", [(GRAY[:, :, 0] * 65535).astype(np.uint16), (GRAY[:, :, 0] * 1).astype(np.float32)])
def test_what_pillow_writes(compression: str | None, values: np.ndarray) -> None:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF", compression=compression)
    assert is_alike(pixels(stream.getvalue(), 1), GRAY, 1)


@pytest.mark.parametrize("name", ["u1", "u2", "f4"])
@pytest.mark.parametrize("kind", [Kind(), Kind(">", planar=True), Kind(tile=(16, 16), deflate=True)])
@pytest.mark.parametrize("photometric", [0, 1, 2])
def test_transparency_over_white(name: str, kind: Kind, photometric: int) -> None:
    colours = COLOUR if photometric == 2 else GRAY
    stored = 1 - colours if photometric == 0 else colours
    over_white = np.broadcast_to(1 + (colours - 1) * ALPHA, COLOUR.shape)
    plain = tiff(as_type(np.concatenate([stored, ALPHA], axis=2), name), photometric, kind, t338=[2])
    assert is_alike(pixels(plain), over_white, 2)
    ignored = tiff(as_type(np.concatenate([stored, ALPHA], axis=2), name), photometric, kind, t338=[0])
    assert is_alike(pixels(ignored), np.broadcast_to(colours, COLOUR.shape))
    if photometric:
        multiplied = np.concatenate([stored * ALPHA, ALPHA], axis=2)
        assert is_alike(pixels(tiff(as_type(multiplied, name), photometric, kind, t338=[1])), over_white, 3)


@pytest.mark.parametrize("name", ["u1", "u2", "f4"])
@pytest.mark.parametrize("planar", [False, True])
def test_many_channels(name: str, planar: bool) -> None:
    many = RNG.random((21, 37, 7))
    for photometric in (1, 2):
        content = tiff(as_type(many, name), photometric, Kind(planar=planar), t338=[0] * (4 if photometric == 2 else 6))
        assert is_alike(pixels(content, 7), many)
    assert is_alike(pixels(content), many[:, :, :3])  # RGB and four more
    with pytest.raises(BadPicture, match=r"7 channels; the recipe's data\.channels is 3"):
        decode_picture(tiff(as_type(many, name), 1, Kind(planar=planar), t338=[0] * 6))


def test_four_inks() -> None:
    inks = np.concatenate([1 - COLOUR, np.zeros_like(GRAY)], axis=2)
    assert is_alike(pixels(tiff(as_type(inks, "u2"), 5)), COLOUR, 2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["u1", "u2"])
def test_upright(orientation: int, name: str) -> None:
    shown = {
        1: COLOUR, 2: COLOUR[:, ::-1], 3: COLOUR[::-1, ::-1], 4: COLOUR[::-1], 5: COLOUR.swapaxes(0, 1),
        6: np.rot90(COLOUR, -1), 7: np.rot90(COLOUR, 2).swapaxes(0, 1), 8: np.rot90(COLOUR),
    }[orientation]  # fmt: skip
    assert is_alike(pixels(tiff(as_type(COLOUR, name), 2, t274=[orientation])), shown)


def test_signed_pictures_that_differ_in_one_pixel_are_alike() -> None:
    for name in ("i2", "i4", "f4"):
        heights = np.arange(21 * 37).reshape(21, 37, 1).astype(name) * 2
        before = pixels(tiff(heights, 1), 1)
        for odd in (-1, 30_000):
            heights[0, 0] = odd
            assert np.abs(pixels(tiff(heights, 1), 1) - before)[1:].max() == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(as_type(COLOUR, "u2"), 8), r"16 bits a sample in CIE L\*a\*b\*, which is not read; save it as"),
        (tiff(as_type(COLOUR, "u2"), 6), "YCbCr"),
        (tiff(as_type(GRAY, "u2"), 3), "a palette"),
        (tiff(as_type(GRAY, "u2"), 32803), "a camera's raw sensor"),
        (tiff(as_type(GRAY, "u1"), 32803), "a camera's raw sensor"),
        (tiff(as_type(GRAY, "u2"), 1, t259=[34712]), "compressed by JPEG 2000"),
        (tiff(as_type(COLOUR, "u1"), 2, t259=[34712]), "compressed by JPEG 2000"),
        (tiff(as_type(GRAY, "u2"), 1, t259=[7]), "16 bits a sample, compressed by JPEG"),
        (tiff(as_type(GRAY, "u1"), 1, t259=[31000]), "compressed by method 31000"),
        (tiff(as_type(GRAY, "f4"), 1, t339=[6]), "complex numbers"),
        (tiff(as_type(GRAY, "u2"), 1, t317=[7]), "predictor 7"),
        (tiff(as_type(COLOUR, "u2"), 2, t258=[5, 6, 5]), r"samples differ in kind \(5, 6, 5 bits\)"),
        (tiff(as_type(GRAY, "u4"), 1, t258=[24]), "24 bits a sample"),
        (tiff(as_type(COLOUR, "u2"), 2, t277=[1]), "1 samples a pixel are too few for its colours"),
        (tiff(as_type(COLOUR, "u1"), 2, t277=[2]), "2 samples a pixel are too few for its colours"),
        (tiff(as_type(GRAY, "u2"), 1)[:200], "."),
        (tiff(as_type(GRAY, "u2"), 1, t256=[0]), "it has no size"),
        (tiff(as_type(GRAY, "f4") * np.float32(np.nan), 1), "not finite"),
        (tiff(as_type(GRAY, "f4") - np.float32(0.5), 1), "values from -0.5 to 0.5; float32 is read as 0 to 1 or"),
        (struct.pack(">2sHHHQ", b"MM", 43, 8, 0, 16) + bytes(60), "BigTIFF in big-endian order"),
        (tiff(as_type(GRAY, "u2"), 1, t257=[60_000], t256=[60_000]), "too many pixels"),
        (tiff(as_type(GRAY, "u2"), 1, t257=[5_000], t256=[9_000], t277=[60_000]), "too many pixels"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_told(content: bytes, reason: str) -> None:
    with pytest.raises(BadPicture, match=reason):
        decode_picture(content)


@pytest.mark.parametrize("name", ["u1", "u2"])
@pytest.mark.parametrize("kind", [Kind(), Kind(deflate=True), Kind(planar=True, tile=(16, 16))])
def test_a_file_that_breaks_off(name: str, kind: Kind) -> None:
    """The directory stands at the end; so what is cut out lies before it."""
    content = tiff(as_type(COLOUR, name), 2, kind)
    at = struct.unpack("<I", content[4:8])[0]
    moved = content[:4] + struct.pack("<I", 8) + content[at:]
    with pytest.raises(BadPicture):
        decode_picture(moved)


def test_a_wrong_count_of_bytes_does_not_matter_where_nothing_is_compressed() -> None:
    wrong = tiff(as_type(GRAY, "u2"), 1, t279=[1, 1, 1])
    assert is_alike(pixels(wrong, 1), GRAY)
