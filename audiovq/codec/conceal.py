"""Bridges lost frames of codes, so that speech goes on where a packet was damaged or never came.

The last frame received is repeated for some moments. Then the decoder gets no codes and tends to its mean sound, which
fades out. What stands for a frame depends on earlier ones alone, and on no more than `memory` of them: so a stream, a
file and a part of a file sound the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiovq.codec.source import FrameSource

# Chosen with benchmarks/loss.py on other speech than its report's: docs/loss.md has the figures.
REPEAT_SECONDS = 0.08  # the last frame
HOLD_SECONDS = 0.1  # at full level, and then
FADE_SECONDS = 0.2  # down to silence

Codes = NDArray[np.int64]
Gains = NDArray[np.float32]


class Concealer:
    """Replaces lost frames (-1 in every level) as codes come, in pieces of any length.

    Args:
        channels: each is bridged on its own.
        frame_rate: Hz.

    Attributes:
        memory: frames before a frame that its codes and gains can depend on.
    """

    def __init__(self, channels: int, frame_rate: float) -> None:
        seconds = REPEAT_SECONDS, HOLD_SECONDS, FADE_SECONDS
        self._repeat, self._hold, self._fade = (max(1, round(s * frame_rate)) for s in seconds)
        self.memory = max(self._repeat, self._hold + self._fade) + 1  # one more for the gain at the frame's start
        self._lost = np.full(channels, self.memory)  # frames in a row; as after a long gap
        self._last: Codes | None = None  # [C, Q, 1], the frame that goes on
        self._gain: Gains | None = None  # [C, 1], at the end of the last frame

    def push(self, codes: Codes) -> tuple[Codes, Gains]:
        """Codes `[C, Q, F]` -> the same with lost frames replaced, and gains `[C, F, 2]` of their sound.

        A frame's sound is to be multiplied by a line from its first gain to its second (see `fade`). Where nothing is
        left to go on with, codes stay -1.
        """
        frames = codes.shape[2]
        if not frames:
            return codes, np.ones((len(codes), 0, 2), np.float32)
        lost = (codes < 0).all(axis=1)  # [C, F]
        last = np.full_like(codes[:, :, :1], -1) if self._last is None else self._last
        known = np.concatenate([last, codes], axis=2)  # [C, Q, 1 + F]
        place = np.arange(1, frames + 1)
        source = np.maximum.accumulate(np.where(lost, 0, place), axis=1)  # in `known`, of what stands for each frame
        in_a_row = place - source + np.where(source == 0, self._lost[:, None], 0)  # 0: received
        bridged = np.take_along_axis(known, source[:, None, :], axis=2)
        self._last, self._lost = bridged[:, :, -1:], in_a_row[:, -1]
        level = np.clip(1 - (in_a_row - self._hold) / self._fade, 0, 1).astype(np.float32)
        before = level[:, :1] if self._gain is None else self._gain
        self._gain = level[:, -1:]
        gains = np.stack([np.concatenate([before, level[:, :-1]], axis=1), level], axis=2)
        return np.where((in_a_row > self._repeat)[:, None, :], -1, bridged), gains


def fade(sound: NDArray[np.float32], gains: Gains) -> None:
    """Multiply sound `[C, F * hop]`, in place, by its frames' gains `[C, F, 2]`; where both are 1 it stays as it is."""
    channels, frames = np.nonzero((gains < 1).any(axis=2))
    if len(frames):
        parts = sound.reshape(*gains.shape[:2], -1)  # [C, F, hop], a view
        start, stop = gains[channels, frames].T[:, :, None]
        along = (np.arange(parts.shape[2], dtype=np.float32) + 1) / parts.shape[2]
        parts[channels, frames] *= start + (stop - start) * along


def read_concealed(frames: FrameSource, start: int, stop: int) -> tuple[Codes, Gains]:
    """Codes `[C, Q, F]` and gains `[C, F, 2]` of frames start .. stop - 1, as if all had been pushed from the first."""
    concealer = Concealer(frames.header.channels, frames.header.frame_rate)
    before = min(start, concealer.memory)
    codes, gains = concealer.push(frames.read(start - before, stop))
    return codes[:, :, before:], gains[:, before:]
