"""16-bit integers and floats with full scale at 1: each the exact inverse of the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Floats with full scale at 1 to 16-bit integers, the exact inverse of `from_int16`; what exceeds is clipped."""
    return np.clip(np.rint(waveform * np.float32(32768.0)), -32768, 32767).astype(np.int16)


def from_int16(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """16-bit integers to float32 with full scale at 1."""
    return samples.astype(np.float32) * np.float32(1 / 32768.0)
