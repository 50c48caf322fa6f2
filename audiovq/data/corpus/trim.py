"""Finds where an utterance begins and ends within its silence, by energy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TRIM_MARGIN = 0.1  # seconds kept before and after what is found


def trim_range(
    waveform: NDArray[np.float32], rate: int, trim_db: float, margin: float = TRIM_MARGIN
) -> tuple[int, int]:
    """Start and end sample of what is left of `[T]` when silence at both ends is cut; (0, 0) if all is silent.

    A frame (25 ms, hop 10 ms) is silent if its power is `trim_db` under the loudest frame's; `margin` seconds before
    and after stay. As `librosa.effects.trim`, but with a margin, and without librosa's slow import in every worker.
    """
    hop = max(1, rate // 100)
    width = max(1, rate // 40)
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    starts = np.arange(0, len(waveform), hop)
    power = (energy[np.minimum(starts + width, len(waveform))] - energy[starts]) / width
    if not len(power) or power.max() <= 1e-10:  # -100 dB re full scale
        return 0, 0
    loud = np.flatnonzero(power > power.max() * 10 ** (-trim_db / 10))
    kept = round(margin * rate)
    return max(0, int(starts[loud[0]]) - kept), min(len(waveform), int(starts[loud[-1]]) + width + kept)
