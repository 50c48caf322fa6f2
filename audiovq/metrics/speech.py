"""Distances of a decoded signal to its original, each from a library where there is one.

A metric that cannot be computed raises an error; `audiovq.metrics.scores` turns that into NaN and a reason, so that a
failure is never mistaken for a low score. Signals are float32 `[T]` with full scale at 1, both of the same length.
This module does not import torch, so that processes which only score stay small.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiovq.metrics.alignment import lag_ms
from audiovq.metrics.mel import NUM_MELS, mel_distance_db
from audiovq.metrics.pitch import f0_rmse_cents, voicing_error

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Metric:
    """A number that is computed from original and output.

    Attributes:
        name: key in JSON and TSV.
        title: heading in a table, with the unit.
        digits: shown after the point.
        measure: (reference, output, rate) -> value; raises if there is none.
        of_aligned: measured after the delay has been removed; the delay itself is not.
    """

    name: str
    title: str
    digits: int
    measure: Callable[[Waveform, Waveform, int], float]
    of_aligned: bool = True


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


def si_sdr_db(reference: Waveform, output: Waveform, rate: int) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), of mean-free signals.

    It compares waveforms, so that a decoder which invents phases has a negative one, however it sounds. ValueError if
    one of the signals is constant.
    """
    from torch import from_numpy
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    if not np.ptp(reference) or not np.ptp(output):
        raise ValueError("a signal is constant")
    x, y = (from_numpy(np.asarray(signal, np.float64)) for signal in (reference, output))
    return float(scale_invariant_signal_distortion_ratio(y, x, zero_mean=True))


def metrics_for(rate: int) -> tuple[Metric, ...]:
    """All metrics, at 16000 or 8000 Hz; ValueError for another rate, which PESQ does not know."""
    if rate not in NUM_MELS:
        raise ValueError(f"rate {rate} Hz; resample to 16000 or 8000 Hz to score")
    return (
        Metric("pesq", "PESQ-WB" if rate == 16000 else "PESQ-NB", 2, pesq_mos),
        Metric("stoi", "STOI", 3, stoi),
        Metric("estoi", "ESTOI", 3, estoi),
        Metric("si_sdr_db", "SI-SDR dB", 1, si_sdr_db),
        Metric("mel_db", "mel dB", 2, mel_distance_db),
        Metric("f0_cents", "F0 cents", 0, f0_rmse_cents),
        Metric("voicing_percent", "V/UV %", 1, voicing_error),
        Metric("lag_ms", "lag ms", 1, lag_ms, of_aligned=False),
    )


def pesq_and_stoi(reference: Waveform, output: Waveform, rate: int = 16000) -> tuple[float, float]:
    """PESQ and STOI alone, for a validation during training in worker processes; NaN for one that can't be computed.

    Nothing is aligned. The libraries are imported at the first call, torch never.
    """
    values = []
    for measure in (pesq_mos, stoi):
        try:
            values.append(measure(reference, output, rate))
        except Exception:  # the libraries raise many types; to a curve over steps, the reason is the same
            values.append(math.nan)
    return values[0], values[1]


def _stoi(reference: Waveform, output: Waveform, rate: int, *, extended: bool) -> float:
    from pystoi import stoi

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pystoi warns and returns 1e-5 where there is too little speech to score
        return float(stoi(reference, output, rate, extended=extended))
