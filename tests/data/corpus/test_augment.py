"""Noise, band limits and rooms on training segments."""

import numpy as np
import pytest

from audiovq.data.corpus.augment import Augmentation, BandLimit, Noise, Room

RATE = 16000


@pytest.fixture
def speech():
    """A second of a modulated buzz."""
    time = np.arange(RATE) / RATE
    buzz = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 40))
    return (0.1 * buzz * (1 + np.sin(2 * np.pi * 3 * time))).astype(np.float32)


def generator(seed=0):
    return np.random.default_rng(seed)


def level_db(x):
    return 10 * np.log10(np.mean(np.square(x, dtype=np.float64)))


def test_noise_has_the_ratio_asked_for(speech):
    noisy = Noise(1, (12, 12))(speech, RATE, generator())
    assert level_db(speech) - level_db(noisy - speech) == pytest.approx(12, abs=0.01)


def test_noise_falls_with_frequency_by_the_slope_drawn(speech):
    slopes = []
    for seed in range(30):
        noise = Noise(1, (0, 0))(speech, RATE, generator(seed)) - speech
        power = np.abs(np.fft.rfft(noise)) ** 2
        octaves = [np.log2(power[2**k : 2 ** (k + 1)].mean()) for k in range(5, 13)]
        slopes.append(-np.polyfit(range(8), octaves, 1)[0])
    assert -0.2 < min(slopes) < 0.3
    assert 1.7 < max(slopes) < 2.2


def test_nothing_is_left_above_the_cutoff(speech):
    limited = BandLimit(1, (3000, 3000))(speech, RATE, generator())
    before, after = (np.abs(np.fft.rfft(x)) for x in (speech, limited))
    assert after[5000:].max() < 0.01 * before[5000:].max()
    np.testing.assert_allclose(after[150:2000:150], before[150:2000:150], rtol=0.05)


def test_a_cutoff_over_half_the_rate_is_no_error(speech):
    assert np.isfinite(BandLimit(1, (9000, 9000))(speech, RATE, generator())).all()


def test_a_room_decays_as_asked_and_keeps_the_level():
    click = np.zeros(RATE, np.float32)
    click[100] = 0.5
    heard = Room(1, (0.5, 0.5), (0, 0))(click, RATE, generator()).astype(np.float64)
    assert level_db(heard) == pytest.approx(level_db(click), abs=0.01)
    assert np.abs(heard[:100]).max() < 1e-6
    tail = heard[101:]
    assert heard[100] ** 2 / np.sum(tail**2) == pytest.approx(1, rel=0.01)
    pieces = [level_db(tail[k : k + 800]) for k in (0, 4000)]  # a quarter of a second apart: half of 60 dB
    assert pieces[0] - pieces[1] == pytest.approx(30, abs=1.5)


def test_shares_and_draws_depend_on_the_generator_only(speech):
    change = Augmentation(Room(0.3, (0.1, 0.4), (0, 10)), Noise(0.5, (5, 30)), BandLimit(0.2, (3000, 7000)))
    results = [change(speech, RATE, generator(i)) for i in range(100)]
    untouched = sum(np.array_equal(r, speech) for r in results)
    assert pytest.approx(untouched, abs=12) == 0.7 * 0.5 * 0.8 * 100
    assert np.array_equal(results[3], change(speech, RATE, generator(3)))
    assert all(len(r) == len(speech) and r.dtype == np.float32 for r in results)


def test_silence_stays_silent_and_empty_stays_empty():
    change = Augmentation(Room(1, (0.2, 0.2), (0, 0)), Noise(1, (0, 0)), BandLimit(1, (4000, 4000)))
    assert not change(np.zeros(1000, np.float32), RATE, generator()).any()


def test_without_anything_the_segment_is_the_same(speech):
    assert Augmentation()(speech, RATE, generator()) is speech
