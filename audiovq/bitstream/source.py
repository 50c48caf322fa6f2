"""Exact reads from a path, a file or a pipe: as many bytes as asked for, or fewer only at the end.

A pipe or socket may return 5 bytes where 9 were asked for.
"""

from __future__ import annotations

import io
import os
from typing import IO

from audiovq.errors import BadCodesError


class ByteSource:
    """A readable place in a file. A path is opened here and closed by `close`; a file object stays its owner's.

    Attributes:
        name: for messages.
        ahead: what `read` gives before it asks the file.
        seekable: whether `seek` works; positions count from where the file object stood.
    """

    def __init__(self, source: str | os.PathLike[str] | IO[bytes]) -> None:
        self._owned = isinstance(source, (str, os.PathLike))
        if isinstance(source, (str, os.PathLike)):
            self.name = os.fspath(source)
            try:
                self._file: IO[bytes] = open(source, "rb")  # noqa: SIM115 (closed by close)
            except OSError as error:
                raise BadCodesError(f"{self.name}: can't be opened: {error.strerror}; check the path") from None
        else:
            name = getattr(source, "name", None)
            self.name = name if isinstance(name, str) else "<stream>"
            self._file = source
        seekable = getattr(self._file, "seekable", None)
        self.seekable = bool(seekable is not None and seekable())
        self._base = self._file.tell() if self.seekable else 0
        self.ahead = b""

    def read(self, count: int) -> bytes:
        """`count` bytes, fewer only where the source ends."""
        parts = [self.ahead[:count]]
        self.ahead = self.ahead[count:]
        count -= len(parts[0])
        while count > 0:
            part = self._file.read(count)
            if part is None:
                raise BlockingIOError(f"{self.name}: non-blocking, and no bytes now; read from a blocking file")
            if not part:
                break
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def unread(self, data: bytes) -> None:
        """Puts back what was read last: the next `read` gives it again, from a pipe too."""
        self.ahead = data + self.ahead

    def seek(self, position: int) -> None:
        """Goes to `position` bytes after the start; only where `seekable`."""
        self.ahead = b""
        self._file.seek(self._base + position)

    def size(self) -> int | None:
        """Bytes from the start to the end of the file, None for a pipe; the place is kept."""
        if not self.seekable:
            return None
        place = self._file.tell()
        end = self._file.seek(0, io.SEEK_END)
        self._file.seek(place)
        return end - self._base

    def close(self) -> None:
        """Closes the file if it was opened here."""
        if self._owned:
            self._file.close()
