"""Whether an image file loses something is asked of the file, not of Pillow's mode or format."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from audiovq.data.image.files import open_rgb
from audiovq.errors import BadDataError

PIXELS = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype("uint8")


def png(depth: int, color: int) -> bytes:
    """A black PNG of 4 x 4 pixels of that bit depth and colour type."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    row = bytes(1 + -(-4 * channels * depth // 8))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 4, 4, depth, color, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(3)) if color == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + palette
        + chunk(b"IDAT", zlib.compress(row * 4))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("color", [0, 2, 4, 6])
def test_pngs_of_16_bits_are_refused_whatever_their_colours(tmp_path, color):
    (tmp_path / "a.png").write_bytes(png(16, color))
    with pytest.raises(BadDataError, match=r"a\.png: has pixels of more than 8 bits"):
        open_rgb(tmp_path / "a.png")


@pytest.mark.parametrize(("depth", "color"), [(1, 0), (2, 0), (4, 0), (8, 0), (8, 2), (8, 4), (8, 6), (1, 3), (8, 3)])
def test_other_pngs_are_read_and_lossless(tmp_path, depth, color):
    (tmp_path / "a.jpg").write_bytes(png(depth, color))  # the name says nothing
    image, lossy = open_rgb(tmp_path / "a.jpg")
    assert (image.size, lossy) == ((4, 4), False)


@pytest.mark.parametrize(
    ("options", "lossy"),
    [
        ({"format": "JPEG"}, True),
        ({"format": "JPEG", "progressive": True, "quality": 100}, True),
        ({"format": "MPO", "save_all": True, "append_images": [Image.fromarray(PIXELS[:8, :8])]}, True),
        ({"format": "WEBP", "lossless": True}, False),
        ({"format": "WEBP", "quality": 90}, True),
        ({"format": "PNG"}, False),
    ],
    ids=lambda value: value["format"] if isinstance(value, dict) else "",
)
def test_loss_is_told_by_content(tmp_path, options, lossy):
    Image.fromarray(PIXELS).save(tmp_path / "a.png", **options)
    image, told = open_rgb(tmp_path / "a.png")
    assert (image.size, told) == ((16, 16), lossy)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_colours_are_lossy_too(tmp_path, mode):
    Image.fromarray(PIXELS).convert(mode).save(tmp_path / "a.jpg")
    assert open_rgb(tmp_path / "a.jpg")[1]
