"""Metrics on cases whose answer is known, and what happens when one fails."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audiovq.evaluate.alignment import lag_ms
from audiovq.evaluate.metrics import Metric, estoi, mel_distance_db, metrics_for, pesq_mos, stoi
from audiovq.evaluate.scores import score_file

NOISE = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1


@pytest.mark.parametrize("rate", [8000, 16000])
def test_identical_signals_are_perfect(rate, sound):
    x = sound(rate=rate)
    assert mel_distance_db(x, x.copy(), rate) == 0
    assert stoi(x, x.copy(), rate) == pytest.approx(1, abs=1e-6)
    assert estoi(x, x.copy(), rate) == pytest.approx(1, abs=1e-6)
    assert lag_ms(x, x.copy(), rate) == 0


@pytest.mark.parametrize(("rate", "best"), [(8000, 4.55), (16000, 4.64)])
def test_pesq_of_identical_signals_is_its_maximum(rate, best, sound):
    pytest.importorskip("pesq")
    x = sound(seconds=2, rate=rate)
    assert pesq_mos(x, x, rate) == pytest.approx(best, abs=0.01)
    assert pesq_mos(x, x + 0.1 * NOISE[0] + np.resize(NOISE, x.shape), rate) < 3


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("gain_db", [-6.0206, -3, 6.0206])
def test_mel_distance_of_a_gain_is_the_gain_where_nothing_is_floored(gain_db, rate):
    assert mel_distance_db(NOISE, NOISE * np.float32(10 ** (gain_db / 20)), rate) == pytest.approx(
        abs(gain_db), abs=1e-3
    )


def test_mel_distance_does_not_hear_what_is_60_db_under_the_peak(sound):
    x = sound()
    silence, whisper = np.zeros(16000, np.float32), NOISE * np.float32(1e-4)
    assert mel_distance_db(np.concatenate([x, silence]), np.concatenate([x, whisper]), 16000) < 0.1
    assert mel_distance_db(np.concatenate([x, silence]), np.concatenate([x, NOISE]), 16000) > 5


def test_mel_distance_grows_with_noise(sound):
    x = sound()
    distances = [mel_distance_db(x, x + np.float32(level) * NOISE, 16000) for level in (0, 0.01, 0.1, 1)]
    assert distances == sorted(distances)
    assert distances[-1] > distances[1] > 0


@pytest.mark.parametrize("shift", [-0.05, -0.01, 0.02, 0.08])
def test_lag_finds_a_shift_in_a_scaled_and_noisy_copy(shift, sound):
    x = sound(seconds=2)
    samples = round(shift * 16000)
    y = np.roll(x, samples) * 0.3
    y[:samples] = 0 if samples > 0 else y[:samples]
    y += 0.001 * np.resize(NOISE, y.shape)
    assert lag_ms(x, y, 16000) == pytest.approx(1000 * shift, abs=2)


@pytest.mark.parametrize("name", ["pesq", "stoi", "estoi"])
def test_too_little_speech_fails_instead_of_scoring_low(name, sound):
    if name == "pesq":
        pytest.importorskip("pesq")
    x = sound(seconds=0.2)
    score = score_file("short", x, x, 16000)
    assert math.isnan(score.values[name])
    assert score.failures[name]
    assert score.values["mel_db"] == 0
    assert "mel_db" not in score.failures


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_silence_fails_where_there_is_nothing_to_compare():
    silence = np.zeros(16000, np.float32)
    score = score_file("silence", silence, silence, 16000)
    assert {"mel_db", "lag_ms"} <= set(score.failures)
    assert math.isnan(score.values["mel_db"])


def test_nan_and_exceptions_are_failures_with_their_reason():
    def broken(reference, output, rate):
        raise RuntimeError("out\nof order")

    metrics = [
        Metric("a", "A", 1, broken),
        Metric("b", "B", 1, lambda x, y, r: math.inf),
        Metric("c", "C", 1, lambda *_: 2),
    ]
    score = score_file("x", NOISE, NOISE, 16000, metrics=metrics)
    assert score.failures == {"a": "RuntimeError: out of order", "b": "not a finite number"}
    assert [math.isnan(score.values[m]) for m in "abc"] == [True, True, False]


def test_lengths_must_agree_and_rates_be_known():
    with pytest.raises(ValueError, match="equally long"):
        score_file("x", NOISE, NOISE[:-1], 16000)
    with pytest.raises(ValueError, match="44100"):
        metrics_for(44100)
