"""Fields of a header as bytes and back, and their ranges, which are checked on reading and on writing."""

from __future__ import annotations

import operator
import struct
from typing import Any

from audiovq.errors import BadCodesError

_RUN = struct.Struct("<BI")  # levels in a row, and their codebook size


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

    def unpack(self, fields: struct.Struct, what: str) -> tuple[Any, ...]:
        """The next fields of a fixed size."""
        return fields.unpack(self.take(fields.size, what))

    def text(self, what: str) -> str:
        """What `short_text` wrote."""
        try:
            return self.take(self.take(1, what)[0], what).decode("utf-8")
        except UnicodeDecodeError:
            raise BadCodesError(f"header: {what} is not UTF-8") from None

    def levels(self) -> tuple[int, ...]:
        """What `level_runs` wrote."""
        sizes: list[int] = []
        for _ in range(self.take(1, "levels")[0]):
            count, size = self.unpack(_RUN, "levels")
            sizes += [size] * count
        return tuple(sizes)

    def end(self) -> None:
        """Refuses what is left over."""
        if self.at != len(self.data):
            raise BadCodesError(f"header has {len(self.data) - self.at} bytes after its last field")


def short_text(text: str) -> bytes:
    """Length in one byte, then UTF-8."""
    encoded = text.encode("utf-8")
    return bytes([len(encoded)]) + encoded


def level_runs(sizes: tuple[int, ...]) -> bytes:
    """Codebook sizes run-length coded: eight levels of 1024 take 6 bytes, not 32."""
    runs: list[list[int]] = []
    for size in sizes:
        if runs and runs[-1][1] == size:
            runs[-1][0] += 1
        else:
            runs.append([1, size])
    return bytes([len(runs)]) + b"".join(_RUN.pack(count, size) for count, size in runs)


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
