"""Augmentation of training segments, so that a codec learns more than clean speech: noise, narrow bands, rooms.

The changed segment is input and target alike, because a codec gives back what it is given. Every draw comes from the
generator that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

Waveform = NDArray[np.float32]
FILTER_ORDER = 8  # of the low-pass, 48 dB an octave


@dataclass(frozen=True)
class Noise:
    """Stationary noise whose power falls by a random slope between white (0) and brown (6 dB an octave).

    Attributes:
        share: of the segments.
        snr_db: range of the ratio of the segment's power to the noise's.
    """

    share: float = 0.2
    snr_db: tuple[float, float] = (5.0, 30.0)

    def __call__(self, samples: Waveform, sample_rate: int, generator: np.random.Generator) -> Waveform:
        """samples `[T]` with noise."""
        exponent, snr = generator.uniform(0, 2), generator.uniform(*self.snr_db)
        spectrum = np.fft.rfft(generator.standard_normal(len(samples)))
        spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (exponent / 2)
        noise = np.fft.irfft(spectrum, len(samples))
        scale = np.sqrt(_power(samples) / max(_power(noise), 1e-20)) * 10 ** (-snr / 20)
        return (samples + scale * noise).astype(np.float32)


@dataclass(frozen=True)
class BandLimit:
    """Nothing above a random frequency, as after a telephone line or a lossy codec (Butterworth, 48 dB an octave).

    Attributes:
        share: of the segments.
        cutoff_hz: range of the frequency.
    """

    share: float = 0.1
    cutoff_hz: tuple[float, float] = (3400.0, 7000.0)

    def __call__(self, samples: Waveform, sample_rate: int, generator: np.random.Generator) -> Waveform:
        """samples `[T]` under the frequency drawn."""
        cutoff = min(generator.uniform(*self.cutoff_hz), 0.99 * sample_rate / 2)
        return sosfilt(butter(FILTER_ORDER, cutoff, fs=sample_rate, output="sos"), samples).astype(np.float32)


@dataclass(frozen=True)
class Room:
    """A reverberating room: the direct sound, and an exponentially decaying tail of white noise (Moorer 1979).

    Attributes:
        share: of the segments.
        rt60_seconds: range of the time in which the tail falls by 60 dB.
        direct_db: range of the ratio of the direct sound's energy to the tail's.
    """

    share: float = 0.2
    rt60_seconds: tuple[float, float] = (0.1, 0.5)
    direct_db: tuple[float, float] = (0.0, 10.0)

    def __call__(self, samples: Waveform, sample_rate: int, generator: np.random.Generator) -> Waveform:
        """samples `[T]` in the room, at their own power."""
        rt60, ratio = generator.uniform(*self.rt60_seconds), generator.uniform(*self.direct_db)
        length = max(2, round(rt60 * sample_rate))
        tail = generator.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
        tail[0] = 0
        tail *= 10 ** (-ratio / 20) / np.linalg.norm(tail)
        tail[0] = 1
        wet = fftconvolve(samples, tail)[: len(samples)]
        return (wet * np.sqrt(_power(samples) / max(_power(wet), 1e-20))).astype(np.float32)


@dataclass(frozen=True)
class Augmentation:
    """Room, noise and band limit, in the order in which sound meets them; each drawn by its own share."""

    room: Room | None = None
    noise: Noise | None = None
    band_limit: BandLimit | None = None

    def __call__(self, samples: Waveform, sample_rate: int, generator: np.random.Generator) -> Waveform:
        """samples: `[T]`, full scale at 1 -> as many, changed by what was drawn; the result may exceed full scale."""
        for change in (self.room, self.noise, self.band_limit):
            if change is not None and generator.random() < change.share:
                samples = change(samples, sample_rate, generator)
        return samples


def _power(samples: NDArray[np.floating]) -> float:
    return float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
