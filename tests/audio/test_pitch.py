"""The pitch tracker, on sounds whose pitch is known and on speech."""

from importlib import resources

import numpy as np
import pytest

from audiovq.audio.pitch import F0_MAX, F0_MIN, track_f0, track_pitch
from audiovq.data.audio import read_audio
from audiovq.data.resampling import resample

RATE, HOP = 16000, 160


def voice(f0: np.ndarray, harmonics: int = 12) -> np.ndarray:
    """Harmonics that fall off, at F0 in Hz per sample, and a little noise."""
    cycles = np.cumsum(f0) / RATE
    sound = sum(np.cos(2 * np.pi * k * cycles) / k for k in range(1, harmonics + 1))
    return (0.1 * sound + 1e-3 * np.random.default_rng(0).standard_normal(len(f0))).astype(np.float32)


@pytest.mark.parametrize("f0", [70.0, 110.0, 220.0, 420.0])
@pytest.mark.parametrize("rate_of_change", [-0.3, 0.0, 0.3])  # octaves a second
def test_a_gliding_voice_is_followed_to_some_cents(f0, rate_of_change):
    seconds = np.arange(RATE) / RATE - 0.5
    wanted = np.clip(f0 * 2 ** (rate_of_change * seconds), F0_MIN + 3, F0_MAX - 20)
    found = track_pitch(voice(wanted), RATE).f0
    ends = np.append(wanted[HOP::HOP], wanted[-1])
    assert (found[3:-3] > 0).all()
    assert np.abs(1200 * np.log2(found[3:-3] / ends[3:-3])).max() < 15


def test_noise_and_silence_have_no_voice():
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    assert (track_f0(noise, RATE) > 0).mean() < 0.05
    assert not track_f0(np.zeros(RATE, np.float32), RATE).any()


@pytest.mark.parametrize("length", [0, 1, 159, 160, 161, 1000])
def test_short_sounds_have_a_track(length):
    track = track_pitch(np.ones(length, np.float32), RATE)
    f0, voiced, cycles = track.between(0, 320)
    assert f0.shape == voiced.shape == (2,)
    assert cycles.shape == (320,)
    assert (f0 > 0).all()


def test_pulses_fall_in_step_with_the_recording():
    wanted = 120 + 15 * np.sin(np.arange(RATE) / 3000)
    track = track_pitch(voice(wanted), RATE)
    true = np.cumsum(wanted) / RATE
    off = track.cycles(0, RATE) - true
    off = np.abs(off - np.round(off))[5 * HOP : -5 * HOP]
    assert off.max() < 0.03


def test_a_piece_is_that_part_of_the_whole():
    track = track_pitch(voice(np.full(RATE, 150.0)), RATE)
    whole, part = track.between(0, RATE), track.between(10 * HOP, 30 * HOP)
    np.testing.assert_array_equal(part[0], whole[0][10:40])
    np.testing.assert_allclose(part[2], whole[2][10 * HOP : 40 * HOP], atol=1e-6)
    beyond = track.between(90 * HOP, 20 * HOP)
    assert not beyond[1][10:].any()


def test_the_phase_of_a_piece_is_that_of_the_whole_where_pitch_moves():
    track = track_pitch(voice(np.linspace(90.0, 180.0, RATE)), RATE)
    difference = track.cycles(20 * HOP, 50 * HOP) - track.cycles(0, RATE)[20 * HOP : 70 * HOP]
    assert np.abs(difference).max() < 1e-9


def test_on_speech_it_agrees_with_pyin():
    librosa = pytest.importorskip("librosa")
    with resources.as_file(resources.files("audiovq") / "assets/sample.flac") as path:
        waveform, rate = read_audio(path)
    sound = resample(waveform[:1], rate, RATE)[0]
    ours = track_pitch(sound, RATE).f0
    f0, voiced, _ = librosa.pyin(
        sound, fmin=F0_MIN, fmax=F0_MAX, sr=RATE, frame_length=1024, hop_length=HOP, beta_parameters=(2, 8)
    )
    theirs = np.where(voiced, f0, 0.0)[: len(ours)]
    both = (ours > 0) & (theirs > 0)
    octaves = np.abs(np.log2(ours[both] / theirs[both])) > 0.5
    assert both.sum() > 0.25 * len(ours)
    assert octaves.mean() < 0.02
    assert np.mean((ours > 0) != (theirs > 0)) < 0.2
