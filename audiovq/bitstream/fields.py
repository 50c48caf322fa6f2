"""Fields of a header as bytes and back, and their ranges, which are checked on reading and on writing."""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable
from typing import Any

from audiovq.errors import BadCodesError

RATES = (0, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000)  # Hz; 0: written out
_RUN_LEVELS = 4  # levels at most in one run
_MORE_RUNS = 0x80


def varint(value: int) -> bytes:
    """A whole number below 2^64 in 1 to 9 bytes, as SQLite4 writes them: up to 240 in one, up to 2287 in two."""
    if value <= 240:
        return bytes([value])
    if value <= 2287:
        return (value - 240 + (241 << 8)).to_bytes(2, "big")
    if value <= 67823:
        return b"\xf9" + (value - 2288).to_bytes(2, "big")
    size = max(3, (value.bit_length() + 7) // 8)
    return bytes([247 + size]) + value.to_bytes(size, "big")


def read_varint(read: Callable[[int], bytes]) -> tuple[int | None, bytes]:
    """What `varint` wrote, and its bytes; None for bytes that end too early, or that it never writes.

    read: gives so many bytes, fewer at the end.
    """
    data = read(1)
    if not data:
        return None, data
    data += read(0 if data[0] <= 240 else 1 if data[0] <= 248 else data[0] - 247)
    if data[0] <= 240:
        value = data[0]
    elif data[0] <= 248:
        value = int.from_bytes(data, "big") - (241 << 8) + 240
    else:
        value = int.from_bytes(data[1:], "big") + (2288 if data[0] == 249 else 0)
    return (value if value >= 0 and varint(value) == data else None), data


class Cursor:
    """Takes fields off the front of a header, and never past its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes; `what` names the field in the message if they are not there."""
        if self.at + count > len(self.data):
            raise BadCodesError(f"header ends inside the {what}")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self, what: str) -> int:
        """The next byte."""
        return self.take(1, what)[0]

    def varint(self, what: str) -> int:
        """What `varint` wrote."""
        value, _ = read_varint(lambda count: self.take(count, what))
        if value is None:
            raise BadCodesError(f"header: {what} is written in more bytes than it needs")
        return value

    def unpack(self, fields: struct.Struct, what: str) -> Any:
        """The next field of a fixed size."""
        return fields.unpack(self.take(fields.size, what))[0]

    def text(self, what: str) -> str:
        """What `short_text` wrote."""
        try:
            return self.take(self.byte(what), what).decode("utf-8")
        except UnicodeDecodeError:
            raise BadCodesError(f"header: {what} is not UTF-8") from None

    def rates(self) -> tuple[int, int]:
        """What `two_rates` wrote."""
        codes = self.byte("rates")
        found = []
        for code in (codes >> 4, codes & 15):
            if code >= len(RATES):
                raise BadCodesError(f"header: rate number {code}; this audiovq knows 0 to {len(RATES) - 1}: update it")
            found.append(RATES[code] if code else self.varint("rates"))
        return found[0], found[1]

    def levels(self) -> tuple[int, ...]:
        """What `level_runs` wrote."""
        sizes: list[int] = []
        more = True
        while more:
            run = self.byte("levels")
            exponent, more = run & 31, bool(run & _MORE_RUNS)
            size = 1 << exponent if exponent else self.varint("levels")
            sizes += [size] * ((run >> 5 & 3) + 1)
        return tuple(sizes)

    def end(self) -> None:
        """Refuses what is left over."""
        if self.at != len(self.data):
            raise BadCodesError(f"header has {len(self.data) - self.at} bytes after its last field")


def short_text(text: str) -> bytes:
    """Length in one byte, then UTF-8."""
    encoded = text.encode("utf-8")
    return bytes([len(encoded)]) + encoded


def two_rates(first: int, second: int) -> bytes:
    """Two rates in one byte if `RATES` has them; those that it has not are written behind."""
    codes = [RATES.index(rate) if rate in RATES else 0 for rate in (first, second)]
    written = [varint(rate) for rate, code in zip((first, second), codes, strict=True) if not code]
    return bytes([codes[0] << 4 | codes[1]]) + b"".join(written)


def level_runs(sizes: tuple[int, ...]) -> bytes:
    """Codebook sizes in runs of up to four equal ones: one byte a run if the size is a power of two."""
    runs: list[list[int]] = []
    for size in sizes:
        if runs and runs[-1][1] == size and runs[-1][0] < _RUN_LEVELS:
            runs[-1][0] += 1
        else:
            runs.append([1, size])
    written = b""
    for place, (count, size) in enumerate(runs):
        exponent = size.bit_length() - 1 if size & (size - 1) == 0 else 0
        more = _MORE_RUNS if place < len(runs) - 1 else 0
        written += bytes([more | (count - 1) << 5 | exponent]) + (b"" if exponent else varint(size))
    return written


def set_integers(header: object, *names: str) -> None:
    """Makes plain integers of attributes of a frozen dataclass, so that a header read equals the one written."""
    for name in names:
        object.__setattr__(header, name, operator.index(getattr(header, name)))


def check_range(what: str, value: int, low: int, high: int) -> None:
    """Raise BadCodesError unless low <= value <= high."""
    if not low <= value <= high:
        wanted = f"{low} to {high}" if low != high else str(low)
        raise BadCodesError(f"header: {what} {value}; wanted {wanted}")


def check_name(what: str, name: str) -> None:
    """Raise BadCodesError for text that is empty, too long, or has unprintable characters."""
    # These would reach the terminal of whoever inspects the file.
    if not name or not name.isprintable() or len(name.encode("utf-8")) > 255:
        raise BadCodesError(f"header: {what} {name[:40]!r}; wanted 1 to 255 bytes of printable text")
