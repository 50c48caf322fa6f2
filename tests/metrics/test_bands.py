"""Periodicity, levels and lines by band, on sounds of which they are known."""

import numpy as np
import pytest

from audiovq.data.kaldi.utterance import Utterance
from audiovq.evaluate.tally import bands_tally
from audiovq.metrics.bands import line_strengths, measure_bands, summarize_bands

RATE = 16000


def voice(noise_share: float = 0.0, seed: int = 0) -> np.ndarray:
    """Two seconds at 120 Hz: harmonics, and above 1 kHz that share of their power as noise."""
    time = np.arange(2 * RATE) / RATE
    low = sum(np.cos(2 * np.pi * 120 * k * time) for k in range(1, 8))
    high = sum(np.cos(2 * np.pi * 120 * k * time) for k in range(8, 60))
    hiss = np.random.default_rng(seed).standard_normal(len(time))
    spectrum = np.fft.rfft(hiss)
    spectrum[: (1000 * 2)] = 0
    hiss = np.fft.irfft(spectrum, len(time))
    hiss *= high.std() / hiss.std()
    return (0.01 * (low + np.sqrt(1 - noise_share) * high + np.sqrt(noise_share) * hiss)).astype(np.float32)


def row(reference: np.ndarray, output: np.ndarray) -> dict[str, float]:
    return summarize_bands([measure_bands(reference, output)])


def test_a_voice_is_periodic_and_noise_in_its_place_is_not():
    clean = row(voice(), voice())
    assert min(clean[f"periodicity_{low}"] for low in (1000, 2000, 3000)) > 0.9
    noisy = row(voice(), voice(1.0))
    assert max(noisy[f"periodicity_{low}"] for low in (1000, 2000, 3000)) < 0.2
    half = row(voice(), voice(0.5))
    assert noisy["periodicity_2000"] + 0.1 < half["periodicity_2000"] < clean["periodicity_2000"] - 0.1


def test_levels_are_in_db_against_the_original():
    levels = row(voice(0.2), 0.5 * voice(0.2))
    for low in (50, 1000, 2000, 4000):
        assert levels[f"level_db_{low}"] == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize("line", [50, 200, 250])
def test_a_buzz_at_a_frame_rate_is_a_line(line):
    noise = 0.1 * np.random.default_rng(1).standard_normal(8 * RATE).astype(np.float32)
    buzz = noise * (1 + 0.4 * np.cos(2 * np.pi * line * np.arange(8 * RATE) / RATE)).astype(np.float32)
    assert row(noise, noise)["line"] < 2.6
    assert row(noise, buzz)["line"] > 10
    strengths = line_strengths(measure_bands(noise, buzz)[7:])
    assert max(strengths, key=strengths.get) == line


def test_figures_are_means_over_files_and_a_file_without_a_voice_has_no_periodicity():
    whisper = 0.1 * np.random.default_rng(2).standard_normal(RATE).astype(np.float32)
    both = summarize_bands([measure_bands(voice(), voice()), measure_bands(whisper, whisper)])
    assert both["periodicity_1000"] == row(voice(), voice())["periodicity_1000"]
    assert both["level_db_50"] == 0


def test_a_file_without_samples_adds_nothing():
    nothing = np.zeros(0, np.float32)
    assert bands_tally().measure(Utterance("a", "a", "a.wav"), nothing, nothing) is None


@pytest.mark.parametrize("length", [700, 1000, 4000])
def test_short_files_are_measured(length):
    assert np.isfinite(row(voice()[:length], voice()[:length])["level_db_50"])
