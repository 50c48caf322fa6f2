"""The gain that brings a recording to a common loudness (ITU-R BS.1770), and the factor that a gain stands for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.codec.sound import recut
from audiovq.errors import BadCodesError

TARGET_LUFS = -23.0  # EBU R 128
MAX_GAIN_DB = 700.0  # whose factor a float32 still holds
SILENCE_LUFS = -70.0  # the absolute gate of BS.1770: what is quieter counts as silence
_GATE_LU = 10.0  # what is so much quieter than the mean does not count
_BLOCK_SECONDS = 0.4
_CHANNEL_GAINS = np.array([1.0, 1.0, 1.0, 1.41, 1.41])
_MOST_CHANNELS = len(_CHANNEL_GAINS)  # that BS.1770 measures


def gain_to_target(pieces: Iterable[NDArray[np.float32]], rate: int, channels: int) -> float | None:
    """Decibels that bring sound in pieces `[C, n]` at `rate` Hz to -23 LUFS; None for silence, which stays silence.

    The cuts do not matter. Less than 0.4 s, or more than five channels, which BS.1770 does not measure, count by their
    power alone.
    """
    gated = channels <= _MOST_CHANNELS
    weighting = _KWeighting(rate, channels) if gated else None
    energies: list[NDArray[np.float64]] = []  # of tenths of a second, [2, C, n]: as it is, and weighted
    num_samples = 0
    for block in recut(pieces, 10 * rate):
        num_samples += block.shape[1]
        tenths = np.arange(100) * rate // 10
        both = np.stack([block, weighting(block) if weighting is not None else block])
        energies.append(np.add.reduceat(np.square(both, dtype=np.float64), tenths[tenths < block.shape[1]], axis=2))
    if not num_samples:
        return None
    plain, weighted = np.concatenate(energies, axis=2)
    if gated and num_samples >= _BLOCK_SECONDS * rate:
        lufs = _integrated(weighted, rate, num_samples)
    else:
        lufs = _lufs(plain.sum() / num_samples)
    return TARGET_LUFS - lufs if lufs > SILENCE_LUFS else None


class _KWeighting:
    """The two filters of BS.1770 before its mean square, for sound that comes in blocks `[C, n]`."""

    def __init__(self, rate: int, channels: int) -> None:
        from pyloudnorm import Meter  # slow to import, and rarely wanted

        filters = Meter(rate)._filters.values()
        self._filters = [(one.passband_gain * one.b, one.a) for one in filters]
        self._states = [np.zeros((channels, 2)) for _ in self._filters]

    def __call__(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        from scipy.signal import lfilter

        sound = block.astype(np.float64)
        for k, (b, a) in enumerate(self._filters):
            sound, self._states[k] = lfilter(b, a, sound, axis=1, zi=self._states[k])
        return sound


def _integrated(tenths: NDArray[np.float64], rate: int, num_samples: int) -> float:
    """LUFS with both gates of BS.1770, from weighted energies `[C, n]` of tenths of a second."""
    blocks = round((num_samples / rate - _BLOCK_SECONDS) * 10) + 1
    tenths = np.pad(tenths, ((0, 0), (0, max(0, blocks + 3 - tenths.shape[1]))))
    powers = np.stack([tenths[:, k : k + blocks] for k in range(4)]).sum(axis=0) / (_BLOCK_SECONDS * rate)
    powers = _CHANNEL_GAINS[: len(tenths)] @ powers  # [blocks]
    heard = powers[_lufs(powers) >= SILENCE_LUFS]
    if not len(heard):
        return -math.inf
    return float(_lufs(heard[_lufs(heard) > _lufs(heard.mean()) - _GATE_LU].mean()))


def _lufs(power: Any) -> Any:
    with np.errstate(divide="ignore"):
        return -0.691 + 10 * np.log10(power)


def factor(gain_db: float) -> np.float32:
    """What to multiply samples by for a gain in decibels; BadCodesError for one that no recording has."""
    if not abs(gain_db) <= MAX_GAIN_DB:
        raise BadCodesError(f"a gain of {gain_db:g} dB, as no recording has; encode it again")
    return np.float32(10 ** (gain_db / 20))
