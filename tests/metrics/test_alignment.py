"""Delays that are known are found, reported and taken out before scoring."""

from __future__ import annotations

import numpy as np
import pytest

from audiovq.metrics.alignment import aligned, lag_ms
from audiovq.metrics.scores import score_file

NOISE = np.random.default_rng(0).standard_normal(32000).astype(np.float32)


def shifted(x, samples):
    """Later by so many samples (earlier if negative), with silence where nothing is known."""
    y = np.zeros_like(x)
    y[max(0, samples) : len(x) + min(0, samples)] = x[max(0, -samples) : len(x) - max(0, samples)]
    return y


def other_phases(x):
    """The same short-time energies in all bands with other phases: Griffin-Lim's task, begun and not finished."""
    from librosa import istft, stft

    spectrum = stft(x, n_fft=512)
    phases = np.exp(2j * np.pi * np.random.default_rng(0).random(spectrum.shape))
    return istft(np.abs(spectrum) * phases, length=len(x)).astype(np.float32)


@pytest.mark.parametrize("samples", [-800, -1, 0, 3, 320, 3100])
def test_lag_of_a_scaled_and_noisy_copy_is_exact(samples, sound):
    x = sound(seconds=2)
    y = 0.3 * shifted(x, samples) + np.float32(0.001) * NOISE
    assert lag_ms(x, y, 16000) == pytest.approx(samples / 16)
    reference, output = aligned(x, y, 16000)
    assert len(reference) == len(output) == len(x) - abs(samples)
    assert np.corrcoef(reference, output)[0, 1] > 0.9


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("milliseconds", [-30, 0, 18, 130])
def test_lag_is_found_where_waveforms_do_not_correlate(milliseconds, rate, sound):
    x = sound(seconds=3, rate=rate)
    y = shifted(other_phases(x), milliseconds * rate // 1000)
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.2
    assert lag_ms(x, y, rate) == pytest.approx(milliseconds, abs=2)
    assert len(aligned(x, y, rate)[0]) == pytest.approx(len(x) - abs(milliseconds) * rate / 1000, abs=0.002 * rate)


def test_a_delayed_output_is_reported_and_not_scored_low(sound):
    x = sound(seconds=2)
    y = x + np.float32(0.01) * NOISE
    prompt, late = (score_file("x", x, shifted(y, samples), 16000) for samples in (0, 640))
    assert prompt.values["lag_ms"] == 0
    assert late.values["lag_ms"] == 40
    assert late.failures.keys() <= {"pesq"}  # where it is not installed
    for name in ("stoi", "estoi", "si_sdr_db", "mel_db"):
        assert late.values[name] == pytest.approx(prompt.values[name], rel=0.05)


def test_a_lag_beyond_the_range_is_a_failure_of_the_lag():
    t = np.arange(32000) / 16000
    early, late = (np.exp(-(((t - centre) / 0.2) ** 2)).astype(np.float32) for centre in (0.6, 1.1))
    score = score_file("x", early * NOISE, late * NOISE[::-1], 16000)
    assert "no lag found within 200 ms" in score.failures["lag_ms"]


def test_silence_has_no_lag():
    with pytest.raises(ValueError, match="variation"):
        lag_ms(NOISE, np.zeros_like(NOISE), 16000)
