"""Measures of a voice by band: periodicity, level, and lines that a frame rate leaves in the envelope.

They need no model and no package. They detect faults that scores such as PESQ hardly notice: upper harmonics that have
become noise, a buzz at the frame rate, a dull sound.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RATE = 16000  # Hz, at which outputs are compared
PITCH_BAND = (100, 1000)  # Hz, in which a voice's period is looked for
PERIODICITY_BANDS = ((1000, 2000), (2000, 3000), (3000, 4000))
LEVEL_BANDS = ((50, 1000), (1000, 2000), (2000, 4000), (4000, 8000))
LINES = (50, 100, 150, 200, 250, 300, 400)  # Hz, multiples of common frame rates
WINDOW, HOP = 640, 160  # samples
LONGEST = 300  # lag, samples
PITCH_LAGS = (40, 266)  # samples: 60 to 400 Hz
VOICED = 0.7  # autocorrelation from which on a frame counts as voiced, if it is within 20 dB of the loudest
ENVELOPE_BAND = (4000, 7600)
ENVELOPE_RATE, ENVELOPE_SIZE = 2000, 2048  # Hz; values of an envelope's spectrum


def measure_bands(reference: NDArray[np.float32], output: NDArray[np.float32]) -> Array:
    """What one file adds to a row of the table: `[3 + 4 + 1025]`, of signals `[T]` at 16 kHz, aligned.

    Periodicity of the output in three bands (NaN without a voiced frame), its level in four against the original's in
    dB, and the power spectrum of its envelope from 4 to 7.6 kHz.

    Periodicity: autocorrelation of a band's envelope at the original's pitch period, mean over its voiced frames.
    """
    x, y = reference.astype(np.float64), output.astype(np.float64)
    lag, voiced = _pitch(x)
    rows = np.flatnonzero(voiced)
    periodicity = [
        float(_autocorrelation(_envelope(y, *band))[rows, lag[rows]].mean()) if len(rows) else np.nan
        for band in PERIODICITY_BANDS
    ]
    return np.concatenate([periodicity, _levels(y) - _levels(x), _envelope_spectrum(y)])


def summarize_bands(files: Sequence[Array]) -> dict[str, float]:
    """Means over files: `periodicity_1000` and so on, `level_db_50` and so on, and `line`: the strongest of the lines
    in the mean spectrum over the median of 25 Hz about it."""
    table = np.stack(files)
    voiced = table[~np.isnan(table[:, 0]), :3]  # of the files that have a voice
    periodicity = voiced.mean(axis=0) if len(voiced) else np.full(3, np.nan)
    levels = table[:, 3:7].mean(axis=0)
    named = {f"periodicity_{low}": float(v) for (low, _), v in zip(PERIODICITY_BANDS, periodicity, strict=True)}
    named |= {f"level_db_{low}": float(v) for (low, _), v in zip(LEVEL_BANDS, levels, strict=True)}
    return named | {"line": max(line_strengths(table[:, 7:].mean(axis=0)).values())}


def line_strengths(spectrum: Array) -> dict[int, float]:
    """Of a mean spectrum of the envelope, the peak about each of `LINES` over its surroundings; 1 or so for none."""
    frequency = np.fft.rfftfreq(ENVELOPE_SIZE, 1 / ENVELOPE_RATE)
    return {
        line: float(spectrum[np.abs(frequency - line) < 3].max() / np.median(spectrum[np.abs(frequency - line) < 25]))
        for line in LINES
    }


def _pitch(signal: Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The period of each frame in samples, and whether it is voiced."""
    correlation = _autocorrelation(_band(signal, *PITCH_BAND))
    lags = np.arange(LONGEST)
    inside = np.where((lags >= PITCH_LAGS[0]) & (lags <= PITCH_LAGS[1]), correlation, -1.0)
    energy = np.square(_frames(signal)).mean(axis=1)
    return inside.argmax(axis=1), (inside.max(axis=1) > VOICED) & (energy > 1e-2 * energy.max())


def _autocorrelation(signal: Array) -> Array:
    """Normalised, and divided by the window's: `[F, LONGEST]`."""
    size = 2048
    frames = _frames(signal)
    window = np.hanning(WINDOW)
    frames = (frames - frames.mean(axis=1, keepdims=True)) * window
    found = np.fft.irfft(np.abs(np.fft.rfft(frames, size)) ** 2)[:, :LONGEST]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)[:LONGEST]
    return np.asarray(found / (found[:, :1] + 1e-12) / (own / own[0]))


def _frames(signal: Array) -> Array:
    padded = np.pad(signal, (0, max(0, WINDOW - len(signal))))
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]


def _band(signal: Array, low: float, high: float, order: int = 4) -> Array:
    from scipy.signal import butter, sosfiltfilt

    filtered = sosfiltfilt(butter(order, [low, high], "band", fs=RATE, output="sos"), signal, padlen=0)
    return np.asarray(filtered)


def _envelope(signal: Array, low: float, high: float, order: int = 4) -> Array:
    from scipy.signal import hilbert

    return np.asarray(np.abs(hilbert(_band(signal, low, high, order))))


def _levels(signal: Array) -> Array:
    """Energy of each of `LEVEL_BANDS`, dB."""
    power = np.abs(np.fft.rfft(_frames(signal) * np.hanning(WINDOW), 1024)) ** 2
    frequency = np.fft.rfftfreq(1024, 1 / RATE)
    energies = [power[:, (frequency >= low) & (frequency < high)].sum() for low, high in LEVEL_BANDS]
    return np.asarray(10 * np.log10(np.array(energies) + 1e-12))


def _envelope_spectrum(signal: Array) -> Array:
    """Mean power spectrum of the envelope, relative to its mean, over pieces of a second."""
    step = RATE // ENVELOPE_RATE
    envelope = _envelope(signal, *ENVELOPE_BAND, order=6)
    envelope = envelope[: len(envelope) // step * step].reshape(-1, step).mean(axis=1)
    starts = range(0, max(1, len(envelope) - ENVELOPE_SIZE), ENVELOPE_SIZE // 2)
    pieces = [envelope[i : i + ENVELOPE_SIZE] for i in starts]
    spectra = [np.fft.rfft((p - p.mean()) / (p.mean() + 1e-9) * np.hanning(len(p)), ENVELOPE_SIZE) for p in pieces]
    return np.asarray(np.mean(np.abs(np.stack(spectra)) ** 2, axis=0))
