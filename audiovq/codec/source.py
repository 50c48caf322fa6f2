"""Sources of a recording's codes: memory, or a `.codes` file of which only the requested packets are read."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiovq.bitstream import AudioHeader, CodesReader, as_audio
from audiovq.errors import BadCodesError

_MOST_DAMAGED = 64  # packets in a row, of a pipe
CodesSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


@dataclass(frozen=True)
class EncodedAudio:
    """A recording as codes, int64 `[C, Q, F]` (-1 is a lost code), with the header that begins its `.codes` file."""

    header: AudioHeader
    codes: NDArray[np.int64]


class FrameSource:
    """Reads ranges of frames from codes in memory, a path, bytes, or a binary file object (a pipe is read in whole).

    Args:
        source: the codes.
        conceal: give -1 for the codes of a damaged packet, and warn on leaving the `with` block, instead of raising.

    Attributes:
        name: for messages.
        header: of the recording.
        num_samples: per channel, at the header's rate.

    Raises:
        BadCodesError: as `CodesReader`, or the codes of an image.
    """

    def __init__(self, source: EncodedAudio | CodesSource, *, conceal: bool = False) -> None:
        self._codes: NDArray[np.int64] = np.zeros((0, 0, 0), np.int64)
        self._reader: CodesReader | None = None
        self._closed = False
        num_samples: int | None
        if isinstance(source, EncodedAudio):
            self.name, self.header, self._codes = "<codes>", source.header, source.codes
            num_samples = source.header.num_samples
        else:
            if isinstance(source, bytes | bytearray | memoryview):
                source = io.BytesIO(source)
            self.name = str(source if isinstance(source, str | os.PathLike) else getattr(source, "name", "<stream>"))
            if not isinstance(source, str | os.PathLike) and not source.seekable():
                source = _copied(source, self.name)
            self._reader = CodesReader(source, on_damage="conceal" if conceal else "raise")
            self.header = as_audio(self._reader.header, self.name)
            if self._reader.num_samples is None:
                self._reader.verify()  # says what is wrong with the end of the stream
            num_samples = self._reader.num_samples
        if num_samples is None:
            raise BadCodesError(f"{self.name}: its number of samples is not known; close the stream that writes it")
        self.num_samples = num_samples

    def check_reach(self, stop_frame: int) -> None:
        """BadCodesError unless the file is long enough for the frames before `stop_frame`, whatever its header says."""
        if self._reader is not None:
            self._reader.check_reach(stop_frame)

    def read(self, start_frame: int, stop_frame: int) -> NDArray[np.int64]:
        """Codes of frames start_frame .. stop_frame - 1, `[C, Q, F]`, those past the end left out."""
        if self._reader is not None:
            return self._reader.read(start_frame, stop_frame)
        return self._codes[:, :, start_frame:stop_frame]

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._reader is None or self._closed:
            return
        self._closed = True
        self._reader.close()
        if kind is None and (lost := self._reader.damaged):
            where = ", ".join(packet.place for packet in lost)
            warnings.warn(f"{self.name}: damaged at {where}; the sound before goes on there, and fades", stacklevel=2)


def _copied(pipe: BinaryIO, name: str) -> BinaryIO:
    """What a pipe holds, to be read at any place.

    It is read packet by packet: what is no `.codes` file, or nothing but damage any more, may never end.
    """
    copy = _Copy(pipe, name)
    damaged_in_a_row = 0
    reader = CodesReader(copy, on_damage="conceal")  # type: ignore[arg-type]
    with contextlib.suppress(BadCodesError):  # whoever reads the copy hears of it
        for codes in reader.packets():
            damaged_in_a_row = damaged_in_a_row + 1 if (codes < 0).all() else 0
            if damaged_in_a_row > _MOST_DAMAGED:
                break
    copy.kept.seek(0)
    return copy.kept


class _Copy:
    """A binary file that keeps what was read of another."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.kept = _Named()
        self.kept.name = name  # the reader's messages ask for it

    def seekable(self) -> bool:
        return False

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        if data:
            self.kept.write(data)
        return data


class _Named(io.BytesIO):
    name = ""
