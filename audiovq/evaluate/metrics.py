"""Distances of a decoded signal to its original: PESQ, STOI, ESTOI and a multi-resolution log-mel distance.

A metric that cannot be computed raises; `audiovq.evaluate.scores` turns that into NaN and a reason, so that a failure
is never mistaken for a low score. Signals are float32 `[T]` with full scale at 1, both of the same length.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.evaluate.alignment import lag_ms

Waveform = NDArray[np.float32]
WINDOWS = (512, 1024, 2048)  # FFT sizes at 16 kHz; at 8 kHz the same durations
NUM_MELS = {16000: 80, 8000: 62}  # by rate: bands as wide at both
FLOOR_DB = 60.0  # under the loudest band of the original; what is softer counts as equally silent


@dataclass(frozen=True)
class Metric:
    """A number that is computed from original and output.

    Attributes:
        name: key in JSON and TSV.
        title: heading in a table, with the unit.
        digits: shown after the point.
        measure: (reference, output, rate) -> value; raises if there is none.
    """

    name: str
    title: str
    digits: int
    measure: Callable[[Waveform, Waveform, int], float]


def mel_distance_db(reference: Waveform, output: Waveform, rate: int) -> float:
    """Mean |difference| of log-mel power in dB over three FFT sizes; no gain matching, so a change of level counts.

    Bands: Slaney's mel scale, triangles of height 1, hop a quarter of the window. In each resolution both spectra are
    floored 60 dB under the original's loudest band. ValueError if the original is silent, or for another rate than
    16000 or 8000 Hz.
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
        distances.append(float((10 * (x.clamp_min(floor) / y.clamp_min(floor)).log10()).abs().mean()))
    return float(np.mean(distances))


def pesq_mos(reference: Waveform, output: Waveform, rate: int) -> float:
    """PESQ as MOS-LQO: wide-band (P.862.2) at 16 kHz, narrow-band (P.862.1) at 8 kHz; no other rate."""
    from pesq import pesq  # needs a compiler to install, so it may be absent

    return float(pesq(rate, reference, output, {16000: "wb", 8000: "nb"}[rate]))


def stoi(reference: Waveform, output: Waveform, rate: int) -> float:
    """Short-time objective intelligibility (Taal et al. 2011); raises under 0.4 s of speech."""
    return _stoi(reference, output, rate, extended=False)


def estoi(reference: Waveform, output: Waveform, rate: int) -> float:
    """Extended STOI (Jensen and Taal 2016); raises under 0.4 s of speech."""
    return _stoi(reference, output, rate, extended=True)


def metrics_for(rate: int) -> tuple[Metric, ...]:
    """All metrics, at 16000 or 8000 Hz; ValueError for another rate, which PESQ does not know."""
    if rate not in NUM_MELS:
        raise ValueError(f"rate {rate} Hz; resample to 16000 or 8000 Hz to score")
    return (
        Metric("pesq", "PESQ-WB" if rate == 16000 else "PESQ-NB", 2, pesq_mos),
        Metric("stoi", "STOI", 3, stoi),
        Metric("estoi", "ESTOI", 3, estoi),
        Metric("mel_db", "mel dB", 2, mel_distance_db),
        Metric("lag_ms", "lag ms", 1, lag_ms),
    )


def _stoi(reference: Waveform, output: Waveform, rate: int, *, extended: bool) -> float:
    from pystoi import stoi

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pystoi warns and returns 1e-5 where there is too little speech to score
        return float(stoi(reference, output, rate, extended=extended))


def _mel_power(waveform: Waveform, rate: int, window: int) -> torch.Tensor:
    """`[T]` -> power of mel bands `[num_mels, frames]`."""
    spectrum = torch.stft(
        torch.tensor(waveform, dtype=torch.float32),
        window,
        window // 4,
        window=torch.hann_window(window),
        pad_mode="constant",
        return_complex=True,
    )
    return _mel_bank(rate, window) @ spectrum.abs().square()


@lru_cache(maxsize=16)
def _mel_bank(rate: int, window: int) -> torch.Tensor:
    """`[num_mels, bins]`."""
    from torchaudio.functional import melscale_fbanks  # slow to import

    return melscale_fbanks(window // 2 + 1, 0.0, rate / 2, NUM_MELS[rate], rate, norm=None, mel_scale="slaney").T
