"""Sound from a pipe as it arrives: bare 16-bit samples, or a wav file whose header may not know its length."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiovq.data.containers import is_unknown
from audiovq.data.pcm import from_int16
from audiovq.errors import BadAudioError

_AT_ONCE = 1 << 16  # bytes asked for; a pipe gives what there is
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # format tags
_MOST_HEADER = 1 << 20  # bytes before the sound
Convert = Callable[[bytes], NDArray[np.float32]]


@dataclass(frozen=True)
class LiveSound:
    """Sound whose length is known when it ends.

    Attributes:
        name: for messages.
        rate: Hz; channels: how many.
        num_samples: per channel as the header says; None if it does not know.
        file: stands where the samples begin.
        sample_bytes: of one sample of one channel; convert: many of them to floats with full scale at 1.
    """

    name: str
    rate: int
    channels: int
    num_samples: int | None
    file: BinaryIO
    sample_bytes: int
    convert: Convert

    def blocks(self, *, allow_short: bool = False) -> Iterator[NDArray[np.float32]]:
        """Float32 `[C, n]` as it arrives. NaN and infinity are read as 0, with a warning at the end.

        Raises BadAudioError if it ends before its header says, or within a sample; `allow_short` warns instead.
        """
        step = self.sample_bytes * self.channels
        left = None if self.num_samples is None else self.num_samples * step
        held, not_finite = b"", 0
        while left is None or left > 0:
            data = _some(self.file, _AT_ONCE if left is None else min(_AT_ONCE, left))
            if not data:
                break
            left = None if left is None else left - len(data)
            held += data
            whole = len(held) // step * step
            block = self.convert(held[:whole]).reshape(-1, self.channels).T
            held = held[whole:]
            not_finite += int((bad := ~np.isfinite(block)).sum())
            yield np.where(bad, np.float32(0.0), block)
        if left or held:
            what = f"ends {left} bytes before its header says" if left else "ends within a sample"
            if not allow_short:
                raise BadAudioError(f"{self.name}: {what}; it is cut off: send it again, or give --allow-short")
            warnings.warn(f"{self.name}: {what}", stacklevel=2)
        if not_finite:
            warnings.warn(f"{self.name}: {not_finite} samples are NaN or infinite; they are taken as 0", stacklevel=2)


def raw_sound(file: BinaryIO, rate: int, channels: int, name: str) -> LiveSound:
    """Bare 16-bit samples (S16_LE), those of all channels in turn."""
    return LiveSound(name, rate, channels, None, file, 2, _CONVERSIONS[_PCM, 16])


def wav_sound(file: BinaryIO, name: str) -> LiveSound | BinaryIO:
    """A wav file that comes out of a pipe; if it is none, or one whose samples need a decoder, the pipe once more."""
    taken = _Taken(file)
    sound = _wav(taken, name)
    return sound if sound is not None else io.BufferedReader(_Again(bytes(taken.data), file))


def _wav(file: _Taken, name: str) -> LiveSound | None:
    """Read up to the samples; None if this is another kind of file."""
    if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
        return None
    convert, rate, channels, bits = None, 0, 0, 0
    while len(file.data) < _MOST_HEADER:
        head = file.read(8)
        if len(head) < 8:
            return None
        kind, size = struct.unpack("<4sI", head)
        if kind == b"data":
            if convert is None or not rate or not channels:
                return None
            step = bits // 8 * channels
            return LiveSound(
                name, rate, channels, None if is_unknown(size) else size // step, file.file, bits // 8, convert
            )
        content = file.read(min(size + size % 2, _MOST_HEADER))
        if kind == b"fmt " and len(content) >= 16:
            tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", content)
            if tag == _EXTENSIBLE and len(content) >= 26:
                (tag,) = struct.unpack_from("<H", content, 24)
            convert = _CONVERSIONS.get((tag, bits))
    return None


def _int24(data: bytes) -> NDArray[np.float32]:
    samples = np.zeros((len(data) // 3, 4), np.uint8)
    samples[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return (samples.view("<i4")[:, 0] / np.float64(2**31)).astype(np.float32)


def _as(kind: str, scale: float) -> Convert:
    return lambda data: (np.frombuffer(data, kind) * scale).astype(np.float32)


_CONVERSIONS: dict[tuple[int, int], Convert] = {
    (_PCM, 16): lambda data: from_int16(np.frombuffer(data, "<i2")),
    (_PCM, 24): _int24,
    (_PCM, 32): _as("<i4", 2.0**-31),
    (_FLOAT, 32): _as("<f4", 1.0),
    (_FLOAT, 64): _as("<f8", 1.0),
}


def _some(file: BinaryIO, most: int) -> bytes:
    """What there is, at least one byte unless the file has ended."""
    data: Any = file.read1(most) if hasattr(file, "read1") else file.read(most)
    if data is None:
        raise BadAudioError("the input is non-blocking, and has no bytes now; give a blocking pipe")
    return bytes(data)


class _Taken:
    """Keeps what was read of a file, that it can be read again."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.data = bytearray()

    def read(self, count: int) -> bytes:
        """`count` bytes, fewer only where the file ends."""
        begin = len(self.data)
        while (missing := begin + count - len(self.data)) and (data := _some(self.file, missing)):
            self.data += data
        return bytes(self.data[begin:])


class _Again(io.RawIOBase):
    """A pipe before which some bytes stand once more."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head, self._file = head, file
        self.name = getattr(file, "name", "<stream>")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._head[: len(buffer)] or _some(self._file, len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)
