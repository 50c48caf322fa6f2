"""A range coder (Martin 1979) on frequencies that sum to 2^16, in whole numbers: symbols as bytes and back.

The encoder narrows an interval [low, low + width) symbol by symbol and writes the bytes that no later symbol changes.
The bytes are a number inside the last interval, read as if zeros followed for ever. Of all such numbers the encoder
takes the smallest one that ends in most zero bytes, and leaves the zeros out, so a packet ends within a byte or so of
its information. That makes the bytes of given symbols unique, and the decoder refuses all others.
"""

from __future__ import annotations

from collections.abc import Iterable

PRECISION = 16  # bits; frequencies sum to TOTAL
TOTAL = 1 << PRECISION
_WORD = 16  # bits that are written at once
_NARROW = 1 << 32  # below this width a word is written; width stays below 2^48, so a symbol loses under 2^-16 of it
_WINDOW = 48  # bits of low that are not written yet
_MASK = (1 << _WINDOW) - 1


def encode_symbols(symbols: Iterable[tuple[int, int]]) -> bytes:
    """Symbols as (start, frequency) of their parts of 0 .. TOTAL, frequency at least 1, as bytes."""
    written = bytearray()
    low, width = 0, _MASK
    for start, frequency in symbols:
        unit = width >> PRECISION
        low += unit * start
        width = unit * frequency
        while width < _NARROW:
            if low > _MASK:
                _carry(written)
                low &= _MASK
            written += (low >> (_WINDOW - _WORD)).to_bytes(2, "big")
            low = (low << _WORD) & _MASK
            width <<= _WORD
    last = _shortest(low, width)
    if last > _MASK:
        _carry(written)
    written += (last & _MASK).to_bytes(_WINDOW // 8, "big")
    return bytes(written.rstrip(b"\0"))


class RangeDecoder:
    """Reads what `encode_symbols` wrote: for every symbol `target`, then `take`; at the end `finish`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._read = _WINDOW // 8
        self._value = int.from_bytes(data[: self._read].ljust(self._read, b"\0"), "big")  # the last 48 bits read
        self._above = self._value  # how far they are above low
        self._width = _MASK
        self._unit = 0

    def target(self) -> int:
        """A number 0 .. TOTAL - 1 inside the next symbol's part; ValueError for bytes that no encoder makes."""
        self._unit = self._width >> PRECISION
        target = self._above // self._unit
        if target >= TOTAL:
            raise ValueError("bytes that no encoder makes")
        return target

    def take(self, start: int, frequency: int) -> None:
        """Go on behind the symbol that `target` was found in."""
        self._above -= self._unit * start
        self._width = self._unit * frequency
        while self._width < _NARROW:
            word = int.from_bytes(self._data[self._read : self._read + 2].ljust(2, b"\0"), "big")
            self._read += 2
            self._value = (self._value << _WORD | word) & _MASK
            self._above = self._above << _WORD | word
            self._width <<= _WORD

    def finish(self) -> None:
        """Check that an encoder of the symbols read would have ended so; ValueError otherwise."""
        low = (self._value - self._above) & _MASK
        whole = len(self._data) <= self._read and not self._data.endswith(b"\0")
        if not whole or _shortest(low, self._width) & _MASK != self._value:
            raise ValueError("bytes that no encoder makes at their end")


def _shortest(low: int, width: int) -> int:
    """The smallest number in [low, low + width) that ends in most zero bytes; up to 2^48, with a carry."""
    for zeros in range(_WINDOW, 0, -8):
        number = (low + (1 << zeros) - 1) >> zeros << zeros
        if number < low + width:
            return number
    return low


def _carry(written: bytearray) -> None:
    """Add 1 to the number that was written. It never overflows: low stays below 1 of the whole."""
    place = len(written) - 1
    while written[place] == 0xFF:
        written[place] = 0
        place -= 1
    written[place] += 1
