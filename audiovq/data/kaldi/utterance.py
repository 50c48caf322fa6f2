"""An utterance and the line of `segments` that cuts it out of its recording."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiovq.data.kaldi.recording import read_recording
from audiovq.data.kaldi.streams import is_pipe
from audiovq.data.resampling import resample
from audiovq.data.tables import BLANKS
from audiovq.errors import BadAudioError


@dataclass(frozen=True)
class Utterance:
    """One utterance of a data directory.

    `recording` is a path (a relative one counts from the current folder), a command ending in `|`, or a place in an
    archive (`wav.ark:1234`). `start` and `end` are seconds in it; `end` None means its end. `recording_id` differs
    from `id` only where a `segments` file cuts recordings into utterances.
    """

    id: str
    speaker: str
    recording: str
    start: float = 0.0
    end: float | None = None
    text: str | None = None
    recording_id: str = ""

    @property
    def is_pipe(self) -> bool:
        return is_pipe(self.recording)

    @property
    def is_segment(self) -> bool:
        return self.start > 0 or self.end is not None or self.recording_id not in ("", self.id)

    def read(self, *, allow_short: bool = False) -> tuple[NDArray[np.float32], int]:
        """The utterance as float32 `[C, T]` and its rate in Hz; BadAudioError names utterance and recording.

        allow_short: as `read_recording`.
        """
        try:
            return read_recording(self.recording, self.start, self.end, allow_short=allow_short)
        except BadAudioError as error:
            raise BadAudioError(f"utterance {self.id}: {error}") from None

    def mono(self, rate: int) -> NDArray[np.float32]:
        """The utterance as float32 `[T]` at `rate` Hz, channels averaged."""
        waveform, own_rate = self.read()
        return resample(waveform.mean(axis=0, keepdims=True, dtype=np.float32), own_rate, rate)[0]


class Cut(NamedTuple):
    """A line of `segments`; `end` None is the recording's end (-1 in the file)."""

    recording: str
    start: float
    end: float | None


def parse_cut(value: str) -> Cut | None:
    """The fields of a line of `segments` after the id; None if they are not recording, start and end."""
    fields = BLANKS.split(value)
    try:
        recording, start, end = fields[0], float(fields[1]), float(fields[2])
    except (ValueError, IndexError):
        return None
    if len(fields) != 3 or not (math.isfinite(start) and math.isfinite(end)):
        return None
    return Cut(recording, start, None if end == -1 else end)


def cut_problem(utterance: str, value: str, wavs: Mapping[str, object]) -> str | None:
    """What is wrong with a line of `segments`."""
    cut = parse_cut(value)
    if cut is None:
        return f"malformed line for {utterance}; write <utterance> <recording> <start> <end>"
    if cut.recording not in wavs:
        return f"recording {cut.recording} is not in wav.scp"
    if cut.start < 0 or (cut.end is not None and cut.end <= cut.start):
        end = -1 if cut.end is None else cut.end
        return f"{utterance} goes from {cut.start:g} to {end:g} s; needed 0 <= start < end (or end -1)"
    return None


def segment_value(u: Utterance) -> str:
    """The line of `segments` after the id."""
    end = "-1" if u.end is None else f"{u.end:.6f}"
    return f"{u.recording_id or u.id} {u.start:.6f} {end}"
