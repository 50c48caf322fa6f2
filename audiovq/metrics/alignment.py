"""The shift of a decoded signal against its original, and both signals without that shift.

Codecs delay their output, and metrics that compare instant by instant would take a delay for damage. So the delay is
measured, reported and removed before anything else is measured.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_LAG = 0.2  # seconds, and no more than half of the signal
CORRELATED = 0.5  # from this correlation of the waveforms on, they tell the shift to the sample
EDGES = (0, 400, 800, 1300, 2000, 2800, 4000)  # Hz, of bands that every codec keeps
WINDOW, HOP = 0.020, 0.001  # seconds
FLOOR = 1e-4  # of a band's highest energy (-40 dB): what is below it is background
TOLERANCE = 0.002  # seconds; by energies, the shift of one file is known to 1 or 2 ms only


def lag_ms(reference: NDArray[np.float32], output: NDArray[np.float32], rate: int) -> float:
    """Milliseconds by which `output` is late (negative: early) against `reference`, both `[T]` at `rate` Hz.

    Found within 200 ms: where the waveforms correlate best, if they do by 0.5 at least; otherwise, as after a codec
    that invents its phases, where the log-energies of six bands do (20 ms windows every ms). ValueError if that is at
    the end of the range, or if one of the signals does not vary, as silence does not.
    """
    return 1000 * _lag(reference, output, rate)[0] / rate


def aligned(
    reference: NDArray[np.float32], output: NDArray[np.float32], rate: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both signals, equally long, without the part that the lag leaves without a partner.

    As they are if no lag can be found, or if it is found by energies and no more than their 2 ms.
    """
    try:
        lag, exact = _lag(reference, output, rate)
    except ValueError:
        return reference, output
    if lag == 0 or (not exact and abs(lag) <= TOLERANCE * rate):
        return reference, output
    length = min(len(reference), len(output)) - abs(lag)
    return reference[max(0, -lag) :][:length], output[max(0, lag) :][:length]


def _lag(reference: NDArray[np.float32], output: NDArray[np.float32], rate: int) -> tuple[int, bool]:
    """The lag in samples, and whether the waveforms tell it."""
    return _find_lag(*(np.asarray(signal, np.float32).tobytes() for signal in (reference, output)), rate)


@lru_cache(maxsize=1)  # scores, tallies and the lag itself ask about the same pair
def _find_lag(original: bytes, made: bytes, rate: int) -> tuple[int, bool]:
    """The same of float32 samples."""
    reference, output = (np.frombuffer(samples, np.float32) for samples in (original, made))
    if not np.ptp(reference) or not np.ptp(output):
        raise ValueError("no variation to align by")
    x, y = reference.astype(np.float64), output.astype(np.float64)
    lag, product = _best_lag(x[None], y[None], min(round(MAX_LAG * rate), len(x) // 2))
    if product >= CORRELATED * np.sqrt((x @ x) * (y @ y)):
        return lag, True
    levels, output_levels = _log_energies(reference, rate), _log_energies(output, rate)
    most = min(round(MAX_LAG / HOP), levels.shape[1] // 2)
    lag, _ = _best_lag(levels, output_levels, most)
    if abs(lag) == most:
        raise ValueError(f"no lag found within {most * HOP * 1000:.0f} ms; the scores are of the signals as they are")
    return round(lag * HOP * rate), False


def _best_lag(x: NDArray[Any], y: NDArray[Any], most: int) -> tuple[int, float]:
    """Lag, up to `most`, of `y` `[bands, frames]` with the greatest inner product with `x`, and that product."""
    size = 1 << (max(x.shape[1], y.shape[1]) + most).bit_length()
    spectrum = np.conj(np.fft.rfft(x, size)) * np.fft.rfft(y, size)
    products = np.fft.irfft(spectrum.sum(axis=0), size)
    products = np.concatenate([products[size - most :], products[: most + 1]])
    best = int(np.argmax(products))
    return best - most, float(products[best])


def _log_energies(waveform: NDArray[np.float32], rate: int) -> NDArray[Any]:
    """Mean-free log-energies `[6, frames]`, one frame per millisecond."""
    from librosa import stft

    size = round(WINDOW * rate)
    padded = np.pad(waveform, (0, max(0, size - len(waveform))))
    power = np.abs(stft(padded, n_fft=size, hop_length=round(HOP * rate), pad_mode="constant")) ** 2
    frequencies = np.arange(len(power)) * rate / size
    bands = [(frequencies >= low) & (frequencies < high) for low, high in pairwise(EDGES)]
    energies = np.stack([power[band].sum(axis=0) for band in bands])
    levels = np.log(np.maximum(energies, energies.max(axis=1, keepdims=True) * FLOOR + 1e-30))
    return np.asarray(levels - levels.mean(axis=1, keepdims=True))
