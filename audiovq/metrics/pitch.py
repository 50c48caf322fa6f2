"""Errors of pitch and voicing, by probabilistic YIN (Mauch and Dixon 2014, as in librosa) on original and output.

pYIN tracks over the whole file. Trackers that decide frame by frame, and WORLD's, jump by octaves on coded speech, so
that their own errors dominate those of the codec.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = 60.0, 500.0  # Hz
WINDOW, HOP = 0.064, 0.010  # seconds
STEP = 0.2  # semitones between candidates; half of that takes five times the time and changes the errors little
# Prior of YIN's threshold, the most lenient of the three that the authors tried: with the strictest, librosa's default,
# noisy recordings of speech have no voiced frame at all. White noise has none with this one either.
THRESHOLD_PRIOR = (2, 8)


def f0_rmse_cents(reference: NDArray[np.float32], output: NDArray[np.float32], rate: int) -> float:
    """Root mean square of the difference of log F0, in cents (1/1200 octave), over frames that are voiced in both.

    ValueError if there is none.
    """
    x, y = (_track(signal.tobytes(), rate) for signal in (reference, output))
    both = (x > 0) & (y > 0)
    if not both.any():
        raise ValueError("no frame is voiced in both signals")
    return float(1200 * np.sqrt(np.mean(np.log2(y[both] / x[both]) ** 2)))


def voicing_error(reference: NDArray[np.float32], output: NDArray[np.float32], rate: int) -> float:
    """Percentage of all frames (one every 10 ms) that are voiced in one signal and not in the other.

    ValueError if the original has no voiced frame.
    """
    x, y = (_track(signal.tobytes(), rate) > 0 for signal in (reference, output))
    if not x.any():
        raise ValueError("no frame of the original is voiced")
    return float(100 * np.mean(x != y))


@lru_cache(maxsize=4)  # both errors, and all codecs that are compared on a file, use the original's track
def _track(waveform: bytes, rate: int) -> NDArray[np.float64]:
    """F0 in Hz of float32 samples, 0 where unvoiced."""
    from librosa import pyin

    samples = np.frombuffer(waveform, np.float32)
    window = round(WINDOW * rate)
    if len(samples) < window:
        raise ValueError(f"{len(samples) / rate:.3f} s is too short to track pitch in")
    f0, voiced, _ = pyin(
        samples,
        fmin=LOWEST,
        fmax=HIGHEST,
        sr=rate,
        frame_length=window,
        hop_length=round(HOP * rate),
        beta_parameters=THRESHOLD_PRIOR,
        resolution=STEP,
        fill_na=0.0,
    )
    return np.where(voiced, f0, 0.0)
