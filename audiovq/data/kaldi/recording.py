"""The recordings that a `wav.scp` names: a path, a command that ends in `|`, or a place in an archive (`wav.ark:12`).

All are read as float32 `[C, T]` with full scale at 1, whatever their format.
"""

from __future__ import annotations

import io
import re
import subprocess
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiovq.data.audio import read_audio
from audiovq.data.kaldi.archives import archive_place, open_archive, read_value
from audiovq.data.quiet import quiet_mp3
from audiovq.errors import BadAudioError, BadDataError

_STATED_BYTES = re.compile(r"^data : ([0-9]+) \(should be ([0-9]+)\)", re.MULTILINE)  # libsndfile's log: stated, there
_STREAMED = 0x7FFF0000  # bytes; programs that write into a pipe state about this much, or more


class Sound(NamedTuple):
    """Facts of a recording: rate in Hz, samples per channel."""

    rate: int
    num_samples: int


def is_pipe(recording: str) -> bool:
    return recording.endswith("|")


def is_seekable(recording: str) -> bool:
    """Whether a part can be read without reading the whole: a file of its own."""
    return not is_pipe(recording) and archive_place(recording) is None


def read_recording(recording: str, start: float = 0.0, end: float | None = None) -> tuple[NDArray[np.float32], int]:
    """Seconds `start` to `end` (None: to the end) as (float32 `[C, T]`, rate in Hz), cut to the nearest samples.

    Of a file only that part is read. Raises BadAudioError with the reason if it can't be read; the exit status of a
    command counts, as one that dies midway leaves short audio.
    """
    if is_seekable(recording):
        if start == 0 and end is None:
            return read_audio(recording)
        rate = sound_of(recording).rate
        first, last = sample_range(start, end, rate)
        return read_audio(recording, start=first, num_samples=None if last is None else last - first)
    waveform, rate = _run(recording) if is_pipe(recording) else _from_archive(recording)
    first, last = sample_range(start, end, rate)
    return waveform[:, first:last], rate


def sample_range(start: float, end: float | None, rate: int) -> tuple[int, int | None]:
    """Seconds of a segment as its first sample and the one after its last."""
    return round(start * rate), None if end is None else round(end * rate)


def sound_of(recording: str) -> Sound:
    """Rate and length; of a file from its header. Raises BadAudioError as `read_recording`."""
    if not is_seekable(recording):
        waveform, rate = read_recording(recording)
        return Sound(rate, waveform.shape[1])
    try:
        with quiet_mp3(recording), soundfile.SoundFile(recording) as sound:
            return Sound(int(sound.samplerate), int(sound.frames))
    except (soundfile.LibsndfileError, OSError):
        read_audio(recording, num_samples=0)  # says why
        raise


def check_recording(recording: str) -> Sound:
    """As `sound_of`, but also notices a file that is cut off: the last sample is read, and a wav's header is believed.

    Raises BadAudioError, also for a recording without samples.
    """
    sound = sound_of(recording)
    if not sound.num_samples:
        raise BadAudioError(f"{recording}: holds no samples; leave it out")
    if is_seekable(recording):
        read_audio(recording, start=sound.num_samples - 1, num_samples=1)
        with soundfile.SoundFile(recording) as file:
            _refuse_cut_off(file, recording)
    return sound


def _refuse_cut_off(file: soundfile.SoundFile, name: str) -> None:
    """libsndfile reads what there is of a wav that ends early, without a word but in its log."""
    match = _STATED_BYTES.search(file.extra_info) if file.format in ("WAV", "WAVEX") else None
    if match and int(match[2]) < int(match[1]) < _STREAMED:
        raise BadAudioError(f"{name}: {match[2]} of {match[1]} bytes are there; the sound is cut off, make it again")


def _run(recording: str) -> tuple[NDArray[np.float32], int]:
    command = recording.removesuffix("|").strip()
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BadAudioError(f"'{command} |' failed with status {done.returncode}{': ' + said[-1] if said else ''}")
    try:
        waveform, rate = read_audio(io.BytesIO(done.stdout))
    except BadAudioError as error:
        raise BadAudioError(f"'{command} |' gave no audio ({error})") from None
    with soundfile.SoundFile(io.BytesIO(done.stdout)) as file:
        _refuse_cut_off(file, f"'{command} |'")
    return waveform, rate


# --- archives -------------------------------------------------------------------------------------------------


def _from_archive(recording: str) -> tuple[NDArray[np.float32], int]:
    place = archive_place(recording)
    assert place is not None  # asked before
    try:
        with open_archive(place[0]) as file:
            file.seek(place[1])
            return as_waveform(read_value(file, recording), recording)
    except BadDataError as error:
        raise BadAudioError(str(error)) from None


def as_waveform(value: object, name: str) -> tuple[NDArray[np.float32], int]:
    """What kaldiio gives for sound, (rate, array) of int16, uint8 or floats as `[T]` or `[T, C]`, in our own form."""
    if not (isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[1], np.ndarray)):
        raise BadAudioError(f"{name}: no sound at this place of the archive")
    rate, samples = int(value[0]), value[1]
    match samples.dtype:
        case np.int16:
            waveform = samples.astype(np.float32) / np.float32(32768)
        case np.uint8:
            waveform = (samples.astype(np.float32) - 128) / np.float32(128)
        case _ if samples.dtype.kind == "f":
            waveform = samples.astype(np.float32)
        case _:
            raise BadAudioError(f"{name}: samples of {samples.dtype}; store 16-bit sound in archives")
    return np.ascontiguousarray(waveform[None] if waveform.ndim == 1 else waveform.T), rate
