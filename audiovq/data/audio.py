"""Audio files to float32 arrays and back: soundfile reads and writes files.

Arrays are `[C, T]` with full scale at 1; rates are in Hz.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiovq.data.audio_reader import AudioSource, open_audio
from audiovq.data.audio_writer import open_writer

FAR_ABOVE = 4.0  # times full scale, 12 dB: no recording is meant so
SILENT = 1e-9  # mean power, -90 dB of full scale: the last of 16 bits
CANCELLED = 0.01  # of the channels' mean power is left in their mean; -20 dB


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
        return np.ascontiguousarray(waveform), sound.rate


def write_audio(
    target: str | Path | BinaryIO,
    waveform: NDArray[np.float32],
    rate: int,
    *,
    subtype: str | None = None,
    force: bool = False,
) -> None:
    """Write `[C, T]` at `rate` Hz at once; what is written where, and errors, as of `open_writer`."""
    if waveform.ndim != 2:
        raise ValueError(f"waveform must be [channels, samples], got shape {waveform.shape}")
    with open_writer(target, len(waveform), rate, waveform.shape[1], subtype=subtype, force=force) as writer:
        writer.write(waveform)


def level_remark(waveform: NDArray[np.float32]) -> str | None:
    """What is odd about the level of `[C, T]`, full scale at 1; None if nothing is."""
    return peak_remark(float(np.abs(waveform).max(initial=0.0)))


def peak_remark(peak: float) -> str | None:
    """The same of sound whose samples reach up to `peak` either way."""
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
