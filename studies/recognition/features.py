"""Features of short recordings for recognising digits and speakers: MFCCs, over time and as statistics of the whole.

It also has the log-mel spectra below them, for classifiers that learn their own features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HOP_SECONDS, WINDOW_SECONDS = 0.010, 0.032
NUM_MELS = 26
FLOOR_DB = 60.0  # under the loudest band; what is softer is background
DELTA_WIDTH, DELTA_WEIGHT = 9, 3.0  # frames; weight against the static coefficients, whose range is wider


def word_features(waveform: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """`[T]` -> `[frames, 24]`, 100 a second: MFCCs 1-12 less their mean, and their slopes. Independent of level."""
    from librosa.feature import delta

    mfcc = _mfcc(waveform, rate, 13)
    mfcc = mfcc - mfcc.mean(axis=1, keepdims=True)
    slopes = delta(mfcc, width=DELTA_WIDTH, mode="nearest")
    return np.concatenate([mfcc, DELTA_WEIGHT * slopes]).T.astype(np.float32)


def voice_features(waveform: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """`[T]` -> `[38]`: mean and standard deviation over time of MFCCs 1-19. Independent of level and length."""
    mfcc = _mfcc(waveform, rate, 20)
    return np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)]).astype(np.float64)


def log_mel(waveform: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """`[T]` -> `[26, frames]`, 100 a second: -1 is 60 dB below the loudest band and less, 1 that band."""
    return (_mel_db(waveform, rate) / (FLOOR_DB / 2) + 1).astype(np.float32)


def _mfcc(waveform: NDArray[np.float32], rate: int, count: int) -> NDArray[Any]:
    """`[count - 1, frames]`: the first, which is the level, is left out."""
    from librosa.feature import mfcc

    return np.asarray(mfcc(S=_mel_db(waveform, rate), n_mfcc=count)[1:])


def _mel_db(waveform: NDArray[np.float32], rate: int) -> NDArray[Any]:
    """`[NUM_MELS, frames]` in dB, from -FLOOR_DB to 0."""
    from librosa import power_to_db
    from librosa.feature import melspectrogram

    window, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
    short = max(0, DELTA_WIDTH * hop - len(waveform))  # too short for a slope: silence is added
    power = melspectrogram(y=np.pad(waveform, (0, short)), sr=rate, n_fft=window, hop_length=hop, n_mels=NUM_MELS)
    return np.asarray(power_to_db(power, ref=np.max, top_db=FLOOR_DB))
