"""The part of a recording to decode, and the conversion from the model's rate to the recording's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from audiovq.codec.loudness import factor
from audiovq.codec.sound import Waveform
from audiovq.codec.source import FrameSource
from audiovq.data.resampling import resampled_blocks, resampling_range
from audiovq.errors import ConfigError


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
