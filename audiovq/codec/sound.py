"""Sources of sound: memory, a file, or codes that are decoded as it is read; in pieces, none of which is kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiovq.data.audio import peak_remark
from audiovq.data.audio_reader import AudioSource, open_audio

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Sound:
    """A recording that can be read from its start on, more than once.

    Attributes:
        name: for messages.
        rate: Hz.
        channels, num_samples: the shape of all of it.
        pieces: called for each reading; gives float32 `[C, n]`, any n, full scale at 1.
    """

    name: str
    rate: int
    channels: int
    num_samples: int
    pieces: Callable[[], Iterable[Waveform]]

    def joined(self) -> Waveform:
        """All of it, `[C, T]`."""
        whole = np.empty((self.channels, self.num_samples), np.float32)
        place = 0
        for piece in self.pieces():
            whole[:, place : place + piece.shape[1]] = piece
            place += piece.shape[1]
        return whole


def sound_of(waveform: Waveform, rate: int, name: str) -> Sound:
    """`[C, T]` in memory."""
    return Sound(name, rate, len(waveform), waveform.shape[1], lambda: [waveform])


@contextmanager
def open_sound(source: AudioSource, *, allow_short: bool = False) -> Iterator[Sound]:
    """A file or a pipe of sound, to be read within the block. A length that the file does not tell is counted first.

    A level that can hardly be meant so gives a warning at the end of a reading.

    Raises BadAudioError as `open_audio` does, here and while pieces are read.
    """
    with open_audio(source, allow_short=allow_short) as first:
        told = first.num_samples if first.length_is_sure else None

        def pieces() -> Iterator[Waveform]:
            peak = 0.0
            with first.again() as sound:
                for block in sound.blocks():
                    peak = max(peak, float(np.abs(block).max(initial=0.0)))
                    yield block
            if remark := peak_remark(peak):
                warnings.warn(f"{first.name} {remark}", stacklevel=2)

        yield Sound(first.name, first.rate, first.channels, first.count() if told is None else told, pieces)


def recut(pieces: Iterable[Waveform], size: int) -> Iterator[Waveform]:
    """The same sound in pieces of `size` samples; the last may be shorter."""
    held: list[Waveform] = []
    left = size
    for piece in pieces:
        while piece.shape[1] >= left:
            held.append(piece[:, :left])
            piece = piece[:, left:]
            yield np.concatenate(held, axis=1)
            held, left = [], size
        held.append(piece)
        left -= piece.shape[1]
    if left < size:
        yield np.concatenate(held, axis=1)
