"""Packs integers of given bit widths into bytes and back, most significant bit first, without a loop over symbols.

This is the lowest layer of the `.codes` format (docs/codes-format.md, "Payload"): a code of a codebook of K vectors
takes ceil(log2 K) bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MAX_WIDTH = 32  # the word that carries one value while it is packed


def bit_width(codebook_size: int) -> int:
    """Bits that hold every code 0 .. codebook_size - 1: ceil(log2 K), in integer arithmetic."""
    return (codebook_size - 1).bit_length()


def pack(values: np.ndarray, widths: Sequence[int]) -> bytes:
    """Packs row after row, each value of row i in `widths[i]` bits.

    Args:
        values: integers [R, N], 0 <= values[i] < 2**widths[i].
        widths: R bit widths, 1 to 32.

    Returns:
        ceil(N * sum(widths) / 8) bytes; the spare low bits of the last byte are 0.

    Raises:
        ValueError: a value does not fit its width, or a width is outside 1 to 32.
    """
    values = np.asarray(values)
    _check_widths(widths)
    if values.ndim != 2 or len(values) != len(widths):
        raise ValueError(f"values of shape {values.shape} for {len(widths)} widths; wanted [{len(widths)}, N]")
    if values.size and (values.min() < 0 or (values.max(axis=1).astype(np.int64) >> np.asarray(widths)).any()):
        raise ValueError(f"values from {values.min()} to {values.max()} do not fit widths {list(widths)}")
    bits = [np.zeros(0, np.uint8)]
    for row, width in zip(values, widths, strict=True):
        big_endian = np.ascontiguousarray(row, dtype=">u4").view(np.uint8).reshape(-1, 4)  # [N, 4]
        bits.append(np.unpackbits(big_endian, axis=1)[:, MAX_WIDTH - width :].reshape(-1))  # [N * width]
    return np.packbits(np.concatenate(bits)).tobytes()


def unpack(data: bytes, widths: Sequence[int], count: int) -> np.ndarray:
    """Inverse of `pack`.

    Args:
        data: exactly ceil(count * sum(widths) / 8) bytes.
        widths: R bit widths, 1 to 32.
        count: values in each row.

    Returns:
        int64 [R, count].

    Raises:
        ValueError: `data` has another length, or its spare bits are not 0.
    """
    _check_widths(widths)
    wanted = packed_size(widths, count)
    if len(data) != wanted:
        raise ValueError(f"{len(data)} bytes for {count} values of widths {list(widths)}; wanted {wanted}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    used = count * sum(widths)
    if bits[used:].any():
        raise ValueError("the spare bits after the last value are not 0")
    rows = np.empty((len(widths), count), np.int64)
    start = 0
    for row, width in zip(rows, widths, strict=True):
        words = np.zeros((count, MAX_WIDTH), np.uint8)  # [N, 32] bits
        words[:, MAX_WIDTH - width :] = bits[start : start + count * width].reshape(count, width)
        row[:] = np.packbits(words, axis=1).reshape(-1).view(">u4")
        start += count * width
    return rows


def packed_size(widths: Sequence[int], count: int) -> int:
    """Bytes that `pack` makes of `count` values in each row."""
    return (count * sum(widths) + 7) // 8


def _check_widths(widths: Sequence[int]) -> None:
    if not all(1 <= width <= MAX_WIDTH for width in widths):
        raise ValueError(f"bit widths {list(widths)}; wanted 1 to {MAX_WIDTH}")
