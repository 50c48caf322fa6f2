"""The part of a recording to decode: through a stream that begins before it, and to the recording's own rate."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from audiovq.codec.code_streams import Progress, SoundStream
from audiovq.codec.loudness import factor
from audiovq.codec.sound import Waveform
from audiovq.codec.source import FrameSource
from audiovq.data.resampling import resampled_blocks, resampling_range
from audiovq.errors import ConfigError

_MOST_VALUES = 1 << 20  # samples of all channels held at once


@dataclass(frozen=True)
class Part:
    """Samples first .. last - 1 of a recording, at its own rate.

    Attributes:
        frames: the codes.
        speaker: index of the voice; None for a model without speakers.
        first, last: in samples at the header's rate.
        begin, end: in samples at the model's rate, with what resampling needs on both sides.
    """

    frames: FrameSource
    speaker: int | None
    first: int
    last: int
    begin: int
    end: int

    @classmethod
    def of(cls, frames: FrameSource, speaker: int | None, start: float, duration: float | None) -> Part:
        """`duration` seconds from second `start` on, cut to what there is; ConfigError for negative ones."""
        header, num_samples = frames.header, frames.num_samples
        first, last = _sample_range(start, duration, header.sample_rate, num_samples)
        if first == last == num_samples > 0 and duration != 0:
            seconds = num_samples / header.sample_rate
            warnings.warn(f"{frames.name}: start {start:g} s is past its end at {seconds:.2f} s", stacklevel=5)
        begin, end = 0, 0
        if first < last:
            # before anything is allocated for it
            frames.check_reach(-(-last * header.model_sample_rate // (header.sample_rate * header.hop_length)))
            begin, end = resampling_range(first, last, header.sample_rate, header.model_sample_rate, num_samples)
        return cls(frames, speaker, first, last, begin, end)

    def decoded(
        self,
        start: Callable[[int], SoundStream],
        *,
        context_frames: int,
        block_frames: int,
        progress: Progress | None = None,
    ) -> Iterator[Waveform]:
        """Samples begin .. end - 1 at the model's rate, in pieces `[C, n]`.

        Args:
            start: gives a stream whose first codes are those of a frame.
            context_frames: that it must begin before the part, to sound as the whole does.
            block_frames: pushed at once, unless there are many channels.
            progress: called with the frames done and their total after every block.
        """
        hop = self.frames.header.hop_length
        begin, end = self.begin // hop, -(-self.end // hop)
        frame = max(0, begin - context_frames)
        block_frames = max(1, min(block_frames, _MOST_VALUES // (self.frames.header.channels * hop)))
        stream = start(frame)
        stop = end + -(-stream.lookahead // hop)  # what follows does not count
        stop = min(stop, self.frames.header.frames_for(self.frames.num_samples))
        skip, left = self.begin - frame * hop, self.end - self.begin
        while left > 0:
            codes = self.frames.read(frame, min(frame + block_frames, stop))
            frame += codes.shape[2]
            sound = stream.push(codes)
            if frame == stop or not codes.shape[2]:
                sound = np.concatenate([sound, stream.flush()], axis=1)
            skip, sound = max(0, skip - sound.shape[1]), sound[:, skip:][:, :left]
            left -= sound.shape[1]
            yield sound
            if progress is not None and frame > begin:
                progress(min(frame, end) - begin, end - begin)

    def finished(self, pieces: Iterable[Waveform]) -> Iterator[Waveform]:
        """Samples begin .. end - 1 at the model's rate -> samples first .. last - 1 at its own, in pieces `[C, n]`."""
        header = self.frames.header
        if header.gain_db is not None:
            gain = factor(header.gain_db)
            pieces = (piece / gain for piece in pieces)
        # exact: both rates have a sample there
        place = self.begin * header.sample_rate // header.model_sample_rate
        for block in resampled_blocks(pieces, header.model_sample_rate, header.sample_rate, header.channels):
            wanted = block[:, max(0, self.first - place) : max(0, self.last - place)]
            place += block.shape[1]
            if wanted.shape[1]:
                yield wanted


def _sample_range(start: float, duration: float | None, rate: int, num_samples: int) -> tuple[int, int]:
    """Seconds to first sample and the one after the last, cut to what there is."""
    if not start >= 0 or (duration is not None and not duration >= 0):
        raise ConfigError(f"start {start} s, duration {duration} s; both must be 0 or more")
    first = round(min(start * rate, num_samples))  # what is past the end, infinity too, is the end
    end = math.inf if duration is None else (start + duration) * rate
    return first, max(first, round(min(end, num_samples)))
