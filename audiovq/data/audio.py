"""Audio files to float32 arrays and back: soundfile reads and writes files.

Arrays are `[C, T]` with full scale at 1; rates are in Hz.
"""

from __future__ import annotations

import io
import math
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiovq.data.audio_reader import SAMPLE_BYTES, AudioSource, name_of, open_audio
from audiovq.data.files import atomic_output, write_all
from audiovq.errors import BadAudioError, OutputError

CONTAINERS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG"}  # what write_audio writes, by suffix
FAR_ABOVE = 4.0  # times full scale, 12 dB: no recording is meant so
SILENT = 1e-9  # mean power, -90 dB of full scale: the last of 16 bits
CANCELLED = 0.01  # of the channels' mean power is left in their mean; -20 dB


class Limits(NamedTuple):
    """What libsndfile can write: channels, rate in Hz (beyond `any_rate` in steps of `step`), fewest samples."""

    channels: int
    rate: int
    any_rate: int
    step: int = 1
    samples: int = 0


LIMITS = {
    "WAV": Limits(1024, 2**31 - 1, 2**31 - 1),
    "FLAC": Limits(8, 655350, 65535, step=10, samples=1),
    "OGG": Limits(255, 200000, 200000),  # beyond, the Vorbis encoder ends the process
}
_BLOCK = 1 << 16  # samples per channel written at once, far below the 2^21 that end the process
_WAV_BYTES = 2**32 - 2**16  # that the sizes of a wav file can tell of
_BLOCK_VALUES = 1 << 20  # samples of all channels looked at at once


def read_audio(
    source: AudioSource, *, start: int = 0, num_samples: int | None = None, allow_short: bool = False
) -> tuple[NDArray[np.float32], int]:
    """Read `num_samples` samples (None: all) from sample `start` on; returns (float32 `[C, T]`, rate in Hz).

    `source` is a path or a binary file object, which need not be seekable (standard input). Any rate, channel
    count and format that libsndfile knows is read; a range that reaches past the end is cut there. NaN and
    infinity, which a float file may hold, become 0 with a warning. Raises BadAudioError if it can't be read, or holds
    less than its header or its size says; `allow_short` takes what is there, with a warning.
    """
    if start < 0 or (num_samples is not None and num_samples < 0):
        raise ValueError(f"start {start} and num_samples {num_samples} must not be negative")
    with open_audio(source, allow_short=allow_short) as sound:
        sound.go_to(start)
        waveform = sound.read(sys.maxsize if num_samples is None else num_samples).T
        return _finite(np.ascontiguousarray(waveform), sound.name), sound.rate


def write_audio(
    target: str | Path | BinaryIO,
    waveform: NDArray[np.float32],
    rate: int,
    *,
    subtype: str | None = None,
    force: bool = False,
) -> None:
    """Write `[C, T]` at `rate` Hz: by suffix .wav, .flac or .ogg to a path (atomically), as wav to a file object.

    `subtype` is soundfile's name of the sample format; by default 16-bit PCM (ogg: Vorbis). Samples beyond full
    scale are clipped, with a warning, unless the format holds floats. Raises OutputError if the path exists and
    `force` is false, BadAudioError for a suffix, sample format or array that can't be written.
    """
    name = name_of(target)
    if waveform.ndim != 2:
        raise ValueError(f"waveform must be [channels, samples], got shape {waveform.shape}")
    if not all(np.isfinite(block).all() for block in _time_blocks(waveform)):
        raise BadAudioError(f"{name}: the samples to write hold NaN or infinity; nothing was written")
    channels, num_samples = waveform.shape
    container, subtype = check_writable(target, channels, num_samples, rate, subtype=subtype)
    if subtype not in ("FLOAT", "DOUBLE"):
        waveform = _clipped(waveform, name)
    try:
        if isinstance(target, (str, Path)):
            with atomic_output(target, force=force) as temporary:  # says so if the disk is full
                _write(os.fsencode(temporary), waveform, rate, container, subtype)
        else:  # through memory, as a pipe can't seek back to fill in the header
            memory = io.BytesIO()
            _write(memory, waveform, rate, container, subtype)
            write_all(target, memory.getvalue())
    except soundfile.LibsndfileError as error:
        raise OutputError(f"{name}: can't be written ({error.error_string.rstrip('.')})") from None


def check_writable(
    target: str | Path | BinaryIO, channels: int, num_samples: int, rate: int, *, subtype: str | None = None
) -> tuple[str, str]:
    """libsndfile's names of the container and the sample format that `write_audio` would choose.

    Raises BadAudioError if the file can't hold so many channels and samples at this rate; libsndfile itself says
    little of that, and some of it ends the process.
    """
    name = name_of(target)
    is_path = isinstance(target, (str, Path))
    container = CONTAINERS.get(Path(name).suffix.lower()) if is_path else "WAV"
    if container is None:
        raise BadAudioError(f"{name}: can't write this kind of file; name it {', '.join(CONTAINERS)}")
    if subtype is None:
        subtype = "VORBIS" if container == "OGG" else "PCM_16"
    if not soundfile.check_format(container, subtype):
        known = ", ".join(soundfile.available_subtypes(container))
        raise BadAudioError(f"{name}: {container} can't hold samples of subtype {subtype}; choose from {known}")
    limits = LIMITS[container]
    if channels > limits.channels:
        raise BadAudioError(f"{name}: {container} holds {limits.channels} channels, not {channels}; name it .wav")
    if rate > limits.rate or rate % (limits.step if rate > limits.any_rate else 1):
        raise BadAudioError(f"{name}: {container} can't hold a rate of {rate} Hz; name it .wav")
    if num_samples < limits.samples:  # of such a FLAC, libsndfile leaves a file of 0 bytes, which nothing reads
        raise BadAudioError(f"{name}: {container} can't hold a recording of no samples; name it .wav")
    if container == "WAV" and channels * num_samples * SAMPLE_BYTES.get(subtype, 8) > _WAV_BYTES:
        container = "RF64"  # the same with sizes of 64 bits
    return container, subtype


def _write(target: bytes | BinaryIO, waveform: NDArray[np.float32], rate: int, container: str, subtype: str) -> None:
    """In blocks: one call to libsndfile's Vorbis encoder with more than 2^21 samples overflows the stack."""
    with soundfile.SoundFile(target, "w", rate, len(waveform), subtype, format=container) as file:
        for start in range(0, waveform.shape[1], _BLOCK):
            block = waveform[:, start : start + _BLOCK]
            # libsndfile scales floats by 32767 when writing and 1/32768 when reading; ours gives back the same bits
            file.write(to_int16(block).T if subtype == "PCM_16" else block.T)


def level_remark(waveform: NDArray[np.float32]) -> str | None:
    """What is odd about the level of `[C, T]`, full scale at 1; None if nothing is."""
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak <= FAR_ABOVE:
        return None
    integers = "; samples of integers? divide them by their full scale (16 bits: 32768)" if peak > 100 else ""
    return f"peaks at {peak:g}, {20 * math.log10(peak):.0f} dB above full scale, which is 1{integers}"


def mixdown_remark(waveform: NDArray[np.float32]) -> str | None:
    """What is odd about `[C, T]` and its mean over the channels, which training hears; None if nothing is."""
    if remark := level_remark(waveform):
        return remark
    each = float(np.square(waveform, dtype=np.float64).mean()) if waveform.size else 0.0
    mean = float(np.square(waveform.mean(axis=0, dtype=np.float64)).mean()) if waveform.size else 0.0
    if each < SILENT:
        return "is silent"
    if mean < CANCELLED * each:
        return "has channels that cancel in their mean (one is inverted?); take one of them, or invert one"
    return None


def to_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Floats with full scale at 1 to 16-bit integers, the exact inverse of `from_int16`; what exceeds is clipped."""
    return np.clip(np.rint(waveform * np.float32(32768.0)), -32768, 32767).astype(np.int16)


def from_int16(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """16-bit integers to float32 with full scale at 1."""
    return samples.astype(np.float32) * np.float32(1 / 32768.0)


def _finite(waveform: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    count = 0
    for block in _time_blocks(waveform):
        bad = ~np.isfinite(block)
        count += int(bad.sum())
        block[bad] = 0.0
    if count:
        warnings.warn(f"{name}: {count} samples are NaN or infinite; they are taken as 0", stacklevel=3)
    return waveform


def _time_blocks(waveform: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Views of `[C, T]`, of which what is made of one takes little memory."""
    step = max(1, _BLOCK_VALUES // max(1, len(waveform)))
    return (waveform[:, start : start + step] for start in range(0, waveform.shape[1], step))


def _clipped(waveform: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    if count := sum(int((np.abs(block) > 1.0).sum()) for block in _time_blocks(waveform)):
        warnings.warn(f"{name}: {count} samples exceed full scale and were clipped", stacklevel=3)
        return np.clip(waveform, -1.0, 1.0)
    return waveform
