"""Bridges lost frames of codes, so that speech goes on where a packet was damaged or never came.

The last frame received is repeated for some moments. Then the decoder gets no codes and tends to its mean sound, which
fades out. What stands for a frame depends on earlier ones alone, and on no more than `memory` of them: so a stream, a
file and a part of a file sound the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiovq.codec.code_streams import Codes, SoundStream
from audiovq.codec.sound import Waveform
from audiovq.codec.source import FrameSource

# Chosen with benchmarks/loss.py on other speech than its report's: docs/loss.md has the figures.
REPEAT_SECONDS = 0.08  # the last frame
HOLD_SECONDS = 0.1  # at full level, and then
FADE_SECONDS = 0.2  # down to silence

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

        A frame's sound is to be multiplied by a line from its first gain to its second (`fade`). Where nothing is
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


class ConcealedStream:
    """A `SoundStream` in which lost codes are bridged.

    Args:
        stream: codes -> sound.
        channels: C.
        hop_length: samples of a frame.
        frame_rate: Hz.
    """

    def __init__(self, stream: SoundStream, channels: int, hop_length: int, frame_rate: float) -> None:
        self.lookahead = stream.lookahead
        self._stream, self._hop = stream, hop_length
        self._concealer = Concealer(channels, frame_rate)
        self._gains = np.ones((channels, 0, 2), np.float32)  # of the frames from the one on in which the next sample is
        self._done = 0  # samples of the first of them that were given

    def push(self, codes: Codes) -> Waveform:
        codes, gains = self._concealer.push(codes)
        self._gains = np.concatenate([self._gains, gains], axis=1)
        return self._faded(self._stream.push(codes))

    def flush(self) -> Waveform:
        return self._faded(self._stream.flush())

    def _faded(self, sound: Waveform) -> Waveform:
        fade(sound, self._gains, self._hop, self._done)
        frames, self._done = divmod(self._done + sound.shape[1], self._hop)
        self._gains = self._gains[:, frames:].copy()
        return sound


def fade(sound: Waveform, gains: Gains, hop_length: int, done: int = 0) -> None:
    """Multiply sound `[C, n]`, in place, by the gains `[C, F, 2]` of its frames; it begins at sample `done` of them.

    What has a gain of 1 stays as it is, to the last bit.
    """
    if (gains < 1).any():
        along = np.arange(1, hop_length + 1, dtype=np.float32) / hop_length
        start, stop = gains[..., :1], gains[..., 1:]
        line = (start + (stop - start) * along).reshape(len(gains), -1)  # [C, F * hop]
        sound *= line[:, done : done + sound.shape[1]]


def read_concealed(frames: FrameSource, start: int, stop: int) -> tuple[Codes, Gains]:
    """Codes `[C, Q, F]` and gains `[C, F, 2]` of frames start .. stop - 1, as if all had been pushed from the first."""
    concealer = Concealer(frames.header.channels, frames.header.frame_rate)
    before = min(start, concealer.memory)
    codes, gains = concealer.push(frames.read(start - before, stop))
    return codes[:, :, before:], gains[:, before:]
