"""The distance of log-mel spectra at three resolutions. It counts everything lost, added or changed in level."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOWS = (512, 1024, 2048)  # FFT sizes at 16 kHz; at 8 kHz the same durations
NUM_MELS = {16000: 64, 8000: 48}  # by rate: bands as wide at both
FLOOR_DB = 60.0  # under the loudest band of the original; what is softer counts as equally silent


def mel_distance_db(reference: NDArray[np.float32], output: NDArray[np.float32], rate: int) -> float:
    """Mean |difference| of log-mel power in dB over three FFT sizes; no gain matching, so a change of level counts.

    Bands: HTK's mel scale from 0 Hz to half the rate, triangles of height 1, hop a quarter of the window. In each
    resolution both spectra are floored 60 dB under the original's loudest band. ValueError if the original is silent,
    or for another rate than 16000 or 8000 Hz.
    """
    if rate not in NUM_MELS:
        raise ValueError(f"rate {rate} Hz; resample to 16000 or 8000 Hz to score")
    distances = []
    for size in WINDOWS:
        x, y = (_mel_power(signal, rate, round(size * rate / 16000)) for signal in (reference, output))
        peak = float(x.max())
        if peak <= 0:
            raise ValueError("the original is silent")
        floor = peak * 10 ** (-FLOOR_DB / 10)
        distances.append(float(np.abs(10 * np.log10(np.maximum(x, floor) / np.maximum(y, floor))).mean()))
    return float(np.mean(distances))


def _mel_power(waveform: NDArray[np.float32], rate: int, window: int) -> NDArray[Any]:
    """`[T]` -> power of mel bands `[num_mels, frames]`."""
    from librosa import stft

    padded = np.pad(np.asarray(waveform, np.float32), (0, max(0, window - len(waveform))))
    spectrum = stft(padded, n_fft=window, hop_length=window // 4, pad_mode="constant")
    return np.asarray(_mel_bank(rate, window) @ np.abs(spectrum) ** 2)


@lru_cache(maxsize=16)
def _mel_bank(rate: int, window: int) -> NDArray[Any]:
    """`[num_mels, bins]`."""
    from librosa.filters import mel

    return np.asarray(mel(sr=rate, n_fft=window, n_mels=NUM_MELS[rate], htk=True, norm=None))
