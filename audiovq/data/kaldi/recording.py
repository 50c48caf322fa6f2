"""The recordings that a `wav.scp` names: a path, a command that ends in `|`, or a place in an archive (`wav.ark:12`).

All are read as float32 `[C, T]` with full scale at 1, whatever their format.
"""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiovq.data.audio import read_audio
from audiovq.data.audio_reader import open_audio
from audiovq.data.kaldi.archives import archive_place, open_archive, read_value
from audiovq.data.kaldi.streams import is_pipe, run_pipe
from audiovq.errors import BadAudioError, BadDataError

_SLACK = 0.01  # seconds; the times of segments are often rounded so


class Sound(NamedTuple):
    """Facts of a recording: rate in Hz, samples per channel."""

    rate: int
    num_samples: int


def is_seekable(recording: str) -> bool:
    """Whether a part can be read without reading the whole: a file of its own."""
    return not is_pipe(recording) and archive_place(recording) is None


def read_recording(
    recording: str, start: float = 0.0, end: float | None = None, *, allow_short: bool = False
) -> tuple[NDArray[np.float32], int]:
    """Seconds `start` to `end` (None: to the end) as (float32 `[C, T]`, rate in Hz), cut to the nearest samples.

    Of a file only that part is read. Raises BadAudioError with the reason if it can't be read, or is shorter than its
    header says, or than `end`; the exit status of a command counts, as one that dies midway leaves short audio.
    `allow_short` takes what is there, with a warning.
    """
    whole = start == 0 and end is None
    if is_seekable(recording) and not whole:
        rate, total = sound_of(recording, allow_short=allow_short)
        _check_segment(recording, start, end, total / rate, allow_short)
        first, last = sample_range(start, end, rate)
        number = None if last is None else last - first
        return read_audio(recording, start=first, num_samples=number, allow_short=allow_short)
    if is_seekable(recording):
        return read_audio(recording, allow_short=allow_short)
    read = _run if is_pipe(recording) else _from_archive
    waveform, rate = read(recording, allow_short)
    if not whole:
        _check_segment(recording, start, end, waveform.shape[1] / rate, allow_short)
    first, last = sample_range(start, end, rate)
    return waveform[:, first:last], rate


def sample_range(start: float, end: float | None, rate: int) -> tuple[int, int | None]:
    """Seconds of a segment as its first sample and the one after its last."""
    return round(start * rate), None if end is None else round(end * rate)


def segment_problem(start: float, end: float | None, seconds: float) -> str | None:
    """What is wrong with a segment of a recording of so many seconds."""
    if start < seconds and (end is None or end - _SLACK <= seconds):
        return None
    return f"ends at {start if end is None else end:g} s, its recording has {seconds:.3f} s"


def sound_of(recording: str, *, allow_short: bool = False) -> Sound:
    """Rate and length; of a file as its header tells, where it does. Raises BadAudioError as `read_recording`."""
    if not is_seekable(recording):
        waveform, rate = read_recording(recording, allow_short=allow_short)
        return Sound(rate, waveform.shape[1])
    with open_audio(recording, allow_short=allow_short) as sound:
        return Sound(sound.rate, sound.count() if sound.num_samples is None else sound.num_samples)


def check_recording(recording: str) -> tuple[Sound, NDArray[np.float32] | None]:
    """As `sound_of`, but the samples are counted, not believed: all is decoded where sizes don't tell the same.

    With the waveform of what has to be read whole, a command's that runs once. Raises BadAudioError, also for a
    recording without samples.
    """
    waveform = None
    if is_seekable(recording):
        with open_audio(recording) as file:
            sound = Sound(file.rate, file.count())
    else:
        waveform, rate = read_recording(recording)
        sound = Sound(rate, waveform.shape[1])
    if not sound.num_samples:
        raise BadAudioError(f"{recording}: holds no samples; leave it out")
    return sound, waveform


def _check_segment(recording: str, start: float, end: float | None, seconds: float, allow_short: bool) -> None:
    what = segment_problem(start, end, seconds)
    if what is None:
        return
    what = f"from {start:g} s on {what}"
    if not allow_short or start >= seconds:
        raise BadAudioError(f"{recording}: the segment {what}; mend segments, or take what is there with --allow-short")
    warnings.warn(f"{recording}: the segment {what}; what is there is taken", stacklevel=3)


def _run(recording: str, allow_short: bool) -> tuple[NDArray[np.float32], int]:
    output = io.BytesIO(run_pipe(recording))
    output.name = "its output"
    try:
        return read_audio(output, allow_short=allow_short)
    except BadAudioError as error:
        raise BadAudioError(f"'{recording}' gave no audio, or not all of it ({error})") from None


# --- archives -------------------------------------------------------------------------------------------------


def _from_archive(recording: str, allow_short: bool) -> tuple[NDArray[np.float32], int]:
    place = archive_place(recording)
    assert place is not None  # asked before
    try:
        with open_archive(place[0]) as file:
            file.seek(place[1])
            return as_waveform(read_value(file, recording, allow_short=allow_short), recording)
    except BadDataError as error:
        raise BadAudioError(str(error)) from None


def as_waveform(value: object, name: str) -> tuple[NDArray[np.float32], int]:
    """An entry of an archive that must be sound."""
    if not isinstance(value, tuple):
        raise BadAudioError(f"{name}: no sound at this place of the archive")
    return value
