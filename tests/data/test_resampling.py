"""Resampling: exact lengths, in place, and the same to the last bit however the sound is cut up."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
import soxr

from audiovq.data.resampling import Resampler, resample, resampled_blocks

from .conftest import tone


@pytest.mark.parametrize(
    ("rate_in", "rate_out"),
    [(44100, 16000), (48000, 16000), (16000, 44100), (8000, 16000), (11025, 16000), (7919, 8000)],
)
@pytest.mark.parametrize("samples", [0, 1, 2, 3, 441, 44101])
def test_resampling_gives_exactly_the_ceiling_of_the_length(rate_in: int, rate_out: int, samples: int):
    resampled = resample(np.zeros((2, samples), np.float32), rate_in, rate_out)
    assert resampled.dtype == np.float32
    assert resampled.shape == (2, -(-samples * rate_out // rate_in))


def test_resampling_keeps_a_tone_in_place():
    resampled = resample(np.concatenate([tone(44100, 1.0), tone(44100, 1.0, 1000)]), 44100, 16000)
    wanted = np.concatenate([tone(16000, 1.0), tone(16000, 1.0, 1000)])
    np.testing.assert_allclose(resampled[:, 200:-200], wanted[:, 200:-200], atol=1e-3)


def test_resampling_removes_what_the_lower_rate_cannot_hold():
    assert np.abs(resample(tone(48000, 0.5, 11000), 48000, 16000)[:, 200:-200]).max() < 1e-3


def test_resampling_to_the_same_rate_changes_nothing():
    waveform = tone(16000, 0.1)
    np.testing.assert_array_equal(resample(waveform, 16000, 16000), waveform)
    with pytest.raises(ValueError, match="positive"):
        resample(waveform, 0, 16000)


def cut(waveform, lengths):
    """Pieces of these lengths, and the rest."""
    places = np.cumsum([0, *lengths])
    return [*(waveform[:, a:b] for a, b in itertools.pairwise(places)), waveform[:, places[-1] :]]


RATES = [(44100, 16000), (16000, 48000), (16000, 7), (3, 16000), (768000, 16000), (7919, 8000), (9, 9)]


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
@pytest.mark.parametrize(
    "lengths", [[1] * 300, [0, 7000, 0, 0, 3], [20_000, 1, 1], []], ids=["ones", "uneven", "long", "whole"]
)
def test_pieces_joined_equal_the_whole_to_the_last_bit(rate_in, rate_out, lengths, monkeypatch):
    samples = min(30_000, 40 * rate_in)
    waveform = np.random.default_rng(0).standard_normal((3, samples)).astype(np.float32)
    whole = resample(waveform, rate_in, rate_out)
    pieces = [piece for piece in cut(waveform, lengths) if piece.shape[1] or samples > 10_000]
    resampler = Resampler(rate_in, rate_out, 3)
    joined = np.concatenate([*map(resampler.push, pieces), resampler.flush()], axis=1)
    np.testing.assert_array_equal(joined, whole)
    monkeypatch.setattr("audiovq.data.resampling._BLOCK_VALUES", 5000)
    np.testing.assert_array_equal(np.concatenate(list(resampled_blocks(pieces, rate_in, rate_out, 3)), axis=1), whole)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(44100, 16000), (16000, 48000), (768000, 16000)])
def test_the_whole_is_what_soxr_makes_of_it(rate_in, rate_out):
    waveform = np.random.default_rng(0).standard_normal((2, 30_000)).astype(np.float32)
    padded = np.pad(waveform, ((0, 0), (0, 2 + 2 * rate_in // rate_out)))
    whole = soxr.resample(padded.T, rate_in, rate_out, quality="HQ").T
    np.testing.assert_array_equal(resample(waveform, rate_in, rate_out), whole[:, : -(-30_000 * rate_out // rate_in)])


@pytest.mark.parametrize(("rate_in", "rate_out"), [(1, 16000), (16000, 768_000)])
def test_stages_sound_as_one_step_does(rate_in, rate_out, monkeypatch):
    waveform = np.sin(np.arange(40.0)).astype(np.float32)[None]
    joined = resample(waveform, rate_in, rate_out)
    monkeypatch.setattr("audiovq.data.resampling._MOST_AT_ONCE", 2**30)
    in_one = resample(waveform, rate_in, rate_out)
    middle = slice(8 * rate_out // rate_in, -8 * rate_out // rate_in)
    assert np.abs(joined - in_one)[:, middle].max() < 1e-3 * np.abs(in_one).max()


@pytest.mark.parametrize("channels", [1, 255])
def test_a_low_rate_comes_in_blocks_of_some_mb(channels):
    tracemalloc.start()
    try:
        pieces = (np.ones((channels, 1), np.float32) for _ in range(3))
        biggest = max(block.nbytes for block in resampled_blocks(pieces, 1, 16000, channels))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert biggest < 20e6
    assert peak < 60e6
