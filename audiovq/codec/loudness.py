"""The gain that brings a recording to a common loudness (ITU-R BS.1770), and the factor that a gain stands for."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from audiovq.errors import BadCodesError

TARGET_LUFS = -23.0  # EBU R 128
MAX_GAIN_DB = 700.0  # whose factor a float32 still holds
SILENCE_LUFS = -70.0  # the absolute gate of BS.1770: what is quieter counts as silence
_BLOCK_SECONDS, _MOST_CHANNELS = 0.4, 5  # what BS.1770 measures


def gain_to_target(sound: NDArray[np.float32], rate: int) -> float | None:
    """Decibels that bring `[C, T]` at `rate` Hz to -23 LUFS; None for silence, which no gain makes speech.

    Less than 0.4 s, or more than five channels, which BS.1770 does not measure, count by their power alone.
    """
    from pyloudnorm import Meter  # slow to import, and rarely wanted

    if sound.shape[1] >= _BLOCK_SECONDS * rate and len(sound) <= _MOST_CHANNELS:
        lufs = float(Meter(rate).integrated_loudness(sound.T.astype(np.float64)))
    else:
        power = float(np.square(sound, dtype=np.float64).mean(axis=1).sum()) if sound.size else 0.0
        lufs = -0.691 + 10 * math.log10(power) if power else -math.inf
    return TARGET_LUFS - lufs if math.isfinite(lufs) and lufs > SILENCE_LUFS else None


def factor(gain_db: float) -> np.float32:
    """What to multiply samples by for a gain in decibels; BadCodesError for one that no recording has."""
    if not abs(gain_db) <= MAX_GAIN_DB:
        raise BadCodesError(f"a gain of {gain_db:g} dB, as no recording has; encode it again")
    return np.float32(10 ** (gain_db / 20))
