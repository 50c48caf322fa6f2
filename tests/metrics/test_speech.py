"""Metrics on cases whose answer is known, and what happens when one fails."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from audiovq.metrics.alignment import lag_ms
from audiovq.metrics.mel import mel_distance_db
from audiovq.metrics.pitch import f0_rmse_cents, voicing_error
from audiovq.metrics.scores import score_file
from audiovq.metrics.speech import Metric, estoi, metrics_for, pesq_and_stoi, pesq_mos, si_sdr_db, stoi

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


@pytest.mark.parametrize("gain", [0.25, -3.0])
@pytest.mark.parametrize("ratio_db", [20, 0, -10])
def test_si_sdr_is_the_ratio_whatever_the_scale(gain, ratio_db):
    t = np.arange(16000) / 16000
    x, error = np.sin(2 * np.pi * 100 * t), np.sin(2 * np.pi * 333 * t)  # orthogonal, of equal power
    output = gain * (x + 10 ** (-ratio_db / 20) * error)
    assert si_sdr_db(x.astype(np.float32), output.astype(np.float32), 16000) == pytest.approx(ratio_db, abs=0.01)


def tone(frequency, seconds=1.0, rate=16000):
    """Ten harmonics, so that there is a pitch and a timbre."""
    t = np.arange(round(seconds * rate)) / rate
    return sum(0.1 / h * np.sin(2 * np.pi * h * frequency * t) for h in range(1, 11)).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("cents", [-300, 0, 100])
def test_f0_error_of_two_tones_is_their_interval(cents, rate):
    x, y = tone(150, rate=rate), tone(150 * 2 ** (cents / 1200), rate=rate)
    assert f0_rmse_cents(x, y, rate) == pytest.approx(abs(cents), abs=10)  # half a step of the tracker
    assert voicing_error(x, y, rate) == 0


def test_voicing_error_is_the_share_of_frames_that_lost_their_voice():
    x = tone(150, seconds=2)
    y = np.concatenate([x[:24000], 0.1 * np.random.default_rng(1).standard_normal(8000).astype(np.float32)])
    assert voicing_error(x, y, 16000) == pytest.approx(25, abs=3)
    assert f0_rmse_cents(x, y, 16000) < 10  # frames that only one of them voices have no say


def test_pitch_fails_where_nothing_is_voiced():
    score = score_file("noise", NOISE, NOISE, 16000)
    assert "voiced" in score.failures["f0_cents"]
    assert "voiced" in score.failures["voicing_percent"]


def test_pesq_and_stoi_alone_are_nan_where_they_fail(sound):
    pytest.importorskip("pesq")
    x = sound(seconds=2)
    y = x + np.resize(0.1 * NOISE, x.shape)
    assert pesq_and_stoi(x, y) == (pesq_mos(x, y, 16000), stoi(x, y, 16000))
    assert np.isnan(pesq_and_stoi(x[:3000], y[:3000])).all()


def test_scoring_processes_need_no_torch():
    code = (
        "import sys, numpy as np; from audiovq.metrics.speech import pesq_and_stoi;"
        "pesq_and_stoi(np.zeros(100, np.float32), np.zeros(100, np.float32)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
    assert {"mel_db", "lag_ms", "si_sdr_db", "f0_cents", "voicing_percent"} <= set(score.failures)
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


def test_a_library_that_is_missing_is_a_failure_with_the_mend(monkeypatch):
    monkeypatch.setitem(sys.modules, "pystoi", None)
    metrics = [metric for metric in metrics_for(16000) if metric.name == "stoi"]
    assert "pip install 'audiovq[eval]'" in score_file("x", NOISE, NOISE, 16000, metrics=metrics).failures["stoi"]


def test_lengths_must_agree_and_rates_be_known():
    with pytest.raises(ValueError, match="equally long"):
        score_file("x", NOISE, NOISE[:-1], 16000)
    with pytest.raises(ValueError, match="44100"):
        metrics_for(44100)
