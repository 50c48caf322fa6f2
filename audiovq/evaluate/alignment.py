"""How far a decoded signal is shifted against its original, from the energies of both: it works where waveforms differ.

A shift is reported, never corrected: a codec that delays is to show it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_LAG = 0.1  # seconds
WINDOW, HOP = 0.010, 0.001  # seconds
FLOOR = 1e-4  # of the highest energy (-40 dB): what is below it is background


def lag_ms(reference: NDArray[np.float32], output: NDArray[np.float32], rate: int) -> float:
    """Milliseconds by which `output` is late (negative: early) against `reference`, both `[T]` at `rate` Hz.

    The shift within 100 ms at which the log-energies (10 ms windows every ms) correlate best. ValueError if one of the
    signals does not vary, as silence does not.
    """
    x, y = _log_energy(reference, rate), _log_energy(output, rate)
    if not x.any() or not y.any():
        raise ValueError("no variation of energy to align by")
    most = min(round(MAX_LAG / HOP), len(x) - 1, len(y) - 1)
    lags = np.arange(-most, most + 1)
    scores = [x[max(0, -lag) : len(y) - lag] @ y[max(0, lag) : len(x) + lag] for lag in lags]
    return float(lags[int(np.argmax(scores))] * HOP * 1000)


def _log_energy(waveform: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Mean-free log-energies, one per millisecond."""
    total = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    starts = np.round(np.arange(0, len(waveform) / rate, HOP) * rate).astype(int)
    energy = total[np.minimum(starts + round(WINDOW * rate), len(waveform))] - total[starts]
    if not len(energy) or energy.max() <= 0:
        return np.zeros(1)
    level = np.log(np.maximum(energy, energy.max() * FLOOR))
    return np.asarray(level - level.mean())
