"""Images into PNG files, and many on a sheet."""

from __future__ import annotations

import numpy as np
import pytest

from audiovq.data.image.files import read_image
from audiovq.data.image.output import sheet, square_columns, write_png
from audiovq.errors import OutputError


def image(height: int, width: int, value: int, channels: int = 3) -> np.ndarray:
    return np.full((channels, height, width), value, np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels_and_is_not_overwritten(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 5, 7)).astype(np.uint8)
    write_png(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.broadcast_to(pixels, (3, 5, 7)))
    with pytest.raises(OutputError, match="--force"):
        write_png(tmp_path / "a.png", pixels)
    with pytest.raises(OutputError, match=r"name it \.png"):
        write_png(tmp_path / "a.jpg", pixels)


def test_a_sheet_has_rows_in_reading_order():
    page = sheet([image(4, 5, 1), image(2, 3, 2), image(4, 5, 3)], columns=2)
    assert page.shape == (3, 4 + 2 + 4, 5 + 2 + 5)
    assert (page[:, :4, :5] == 1).all()
    assert (page[:, :2, 7:10] == 2).all()
    assert (page[:, 6:, :5] == 3).all()
    assert (page == 255).sum() == page.size - 3 * (20 + 6 + 20)


@pytest.mark.parametrize(
    ("count", "group", "columns"), [(1, 1, 1), (4, 1, 2), (5, 1, 2), (64, 1, 8), (2, 2, 2), (6, 2, 2), (128, 2, 12)]
)
def test_sheets_are_about_square_and_keep_groups_together(count, group, columns):
    assert square_columns(count, group) == columns
