"""Bit packing against its plain definition: a string of binary digits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiovq.bitstream.packing import bit_width, pack, packed_size, unpack


@st.composite
def rows_and_widths(draw: st.DrawFn) -> tuple[np.ndarray, list[int]]:
    widths = draw(st.lists(st.integers(1, 32), min_size=1, max_size=5))
    count = draw(st.integers(0, 20))
    rows = [draw(st.lists(st.integers(0, 2**width - 1), min_size=count, max_size=count)) for width in widths]
    return np.array(rows, np.int64).reshape(len(widths), count), widths


@settings(deadline=None, derandomize=True)  # the same examples in every run, however busy the machine
@given(rows_and_widths())
def test_packed_bits_are_the_binary_digits_in_order(case: tuple[np.ndarray, list[int]]) -> None:
    rows, widths = case
    digits = "".join(format(value, f"0{width}b") for row, width in zip(rows, widths, strict=True) for value in row)
    digits += "0" * (-len(digits) % 8)
    plain = bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8))
    assert pack(rows, widths) == plain
    assert packed_size(widths, rows.shape[1]) == len(plain)
    np.testing.assert_array_equal(unpack(plain, widths, rows.shape[1]), rows)


@pytest.mark.parametrize(
    ("size", "width"), [(2, 1), (3, 2), (4, 2), (5, 3), (512, 9), (1000, 10), (65536, 16), (65537, 17)]
)
def test_width_is_the_least_that_holds_every_code(size: int, width: int) -> None:
    assert bit_width(size) == width


@pytest.mark.parametrize(
    ("values", "widths"),
    [([[8]], [3]), ([[-1]], [3]), ([[0]], [33]), ([[0]], [0]), ([[0], [0]], [3]), ([0], [3])],
    ids=["too large", "negative", "too wide", "no width", "widths missing", "one dimension"],
)
def test_what_does_not_fit_is_refused(values: list, widths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"wanted|do not fit"):
        pack(np.array(values), widths)


def test_unpack_refuses_another_length_and_spare_bits() -> None:
    data = pack(np.array([[5, 2, 7]]), [3])
    with pytest.raises(ValueError, match="wanted 2"):
        unpack(data + b"\0", [3], 3)
    with pytest.raises(ValueError, match="spare bits"):
        unpack(bytes([data[0], data[1] | 1]), [3], 3)
