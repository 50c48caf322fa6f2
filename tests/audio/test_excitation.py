"""Pulses and noise: what they are, and that they are functions of place."""

import numpy as np
import pytest
import torch

from audiovq.audio.excitation import (
    PHASE_SECONDS,
    Place,
    PulseState,
    hold_f0,
    next_pulses,
    noise_at,
    pulse_train,
    white_noise,
)

RATE, HOP = 16000, 160
FIRST_SAMPLES = [-1.611701, -1.692052, 0.387807]  # of seed 0, channel 0


def test_noise_is_white_and_of_unit_variance():
    noise = white_noise(0, 0, 0, 200_000).astype(np.float64)
    assert noise.dtype == np.float64
    assert abs(noise.mean()) < 0.01
    assert noise.var() == pytest.approx(1, abs=0.01)
    neighbours = [np.mean(noise[:-k] * noise[k:]) for k in (1, 2, 7, 8, 160)]
    assert np.abs(neighbours).max() < 0.01


@pytest.mark.parametrize(("start", "count"), [(0, 1), (1, 7), (7, 2), (8, 8), (137, 363), (999, 1)])
def test_noise_at_a_place_does_not_depend_on_where_one_begins(start, count):
    whole = white_noise(3, 1, 0, 1000)
    np.testing.assert_array_equal(white_noise(3, 1, start, count), whole[start : start + count])


def test_every_seed_and_channel_has_noise_of_its_own():
    streams = np.stack([white_noise(seed, channel, 0, 4000) for seed in (0, 1, 2**63) for channel in (0, 1)])
    assert np.abs(np.corrcoef(streams) - np.eye(6)).max() < 0.06


def test_noise_is_the_same_for_ever():
    # a runtime in another language must make the same
    np.testing.assert_allclose(white_noise(0, 0, 0, 3), FIRST_SAMPLES, atol=1e-6)


def test_items_of_a_batch_have_the_noise_of_their_channels():
    place = Place(seed=5, first_frame=2, channels=[1, 0, 1])
    noise = noise_at(place, 3, 640, 640, torch.device("cpu")).numpy()
    np.testing.assert_array_equal(noise[0], white_noise(5, 1, 640, 640))
    np.testing.assert_array_equal(noise[0], noise[2])
    assert np.abs(noise[0] - noise[1]).max() > 1


def speech_like(seconds: float, seed: int = 0, voiced_share: float = 0.7) -> tuple[torch.Tensor, torch.Tensor]:
    """F0 that moves, with pauses: `[1, F]` each."""
    generator = torch.Generator().manual_seed(seed)
    frames = round(seconds * 100)
    stretches = torch.rand(1, frames // 30 + 1, generator=generator) < voiced_share
    voiced = stretches.repeat_interleave(30, 1)[:, :frames].float()
    f0 = 120 + 20 * torch.sin(torch.arange(frames) / 17)[None] + torch.rand(1, frames, generator=generator)
    return hold_f0(f0, voiced, fresh()), voiced


def fresh(position: int = 0) -> PulseState:
    return PulseState.fresh(1, torch.device("cpu"), position)


def cycles_of(f0: torch.Tensor, voiced: torch.Tensor) -> torch.Tensor:
    return next_pulses(f0, voiced, fresh(), HOP, RATE)[0].cycles[0].double()


def train_of(f0: torch.Tensor, voiced: torch.Tensor, first_frame: int = 0) -> torch.Tensor:
    return pulse_train(next_pulses(f0, voiced, fresh(first_frame), HOP, RATE)[0], HOP, RATE)


@pytest.mark.parametrize("share", [0.7, 1.0])  # with pauses, and a voice that never stops
@pytest.mark.parametrize("cuts", [[900], [1] * 900, [1, 199, 200, 1, 3, 396, 100], [450, 450]])
def test_frames_in_pieces_have_the_pulses_of_the_whole(share, cuts):
    f0, voiced = speech_like(9.0, voiced_share=share)
    f0 = f0 + 5 * torch.randn(f0.shape, generator=torch.Generator().manual_seed(2))
    state, trains = fresh(), []
    for part, heard in zip(f0.split(cuts, 1), voiced.split(cuts, 1), strict=True):
        pulses, state = next_pulses(part, heard, state, HOP, RATE)
        trains.append(pulse_train(pulses, HOP, RATE))
    torch.testing.assert_close(torch.cat(trains, 1), train_of(f0, voiced), atol=1e-5, rtol=0)


@pytest.mark.parametrize("share", [0.7, 1.0])  # with pauses, and a voice that never stops
@pytest.mark.parametrize("start", [1, 50, 199, 200, 201, 333, 555])
def test_pulses_are_those_of_the_whole_after_the_stated_time(share, start):
    f0, voiced = speech_like(9.0, voiced_share=share)
    whole, part = train_of(f0, voiced), train_of(f0[:, start:], voiced[:, start:], start)
    reach = round((PHASE_SECONDS + 0.02) * RATE)
    difference = (whole[:, start * HOP :] - part).abs()[:, reach:]
    assert difference.max() < 1e-3  # of pulses that are 11 high


def test_pulses_after_an_onset_are_those_of_the_whole_at_once():
    f0 = torch.full((1, 100), 130.0)
    voiced = torch.cat([torch.ones(1, 40), torch.zeros(1, 20), torch.ones(1, 40)], 1)
    whole, part = train_of(f0, voiced), train_of(f0[:, 50:], voiced[:, 50:], 50)
    torch.testing.assert_close(part[:, 5 * HOP :], whole[:, 55 * HOP :], atol=1e-3, rtol=0)


def test_the_grid_is_not_heard_in_the_pitch():
    f0 = torch.full((1, 900), 123.4)
    cycles = cycles_of(f0, torch.ones_like(f0))
    step = cycles.diff()
    rate = (step - step.round()) * RATE  # F0 sample by sample
    assert (rate - 123.4).abs().max() < 2.6
    away = torch.arange(len(rate)) % (2 * RATE) > 0.2 * RATE
    assert (rate[away] - 123.4).abs().max() < 0.01


@pytest.mark.parametrize("f0", [60.0, 123.4, 400.0])
def test_pulses_have_unit_power_and_even_harmonics_up_to_half_the_rate(f0):
    values = torch.full((1, 100), f0)
    train = train_of(values, torch.ones_like(values))[0].double()
    assert train.square().mean() == pytest.approx(1, rel=0.02)
    spectrum = torch.fft.rfft(train * torch.hann_window(len(train), dtype=torch.float64)).abs()
    harmonics = torch.arange(f0, 7600, f0).round().long()
    peaks = torch.stack([spectrum[h - 3 : h + 4].max() for h in harmonics])
    assert peaks.max() / peaks.min() < 1.3
    between = torch.stack([spectrum[h - 3 : h + 4].max() for h in (harmonics + f0 / 2).round().long()])
    assert between.max() < 0.01 * peaks.min()


def test_no_harmonic_appears_at_once():
    f0 = torch.linspace(121.0, 119.0, 200)[None]  # from 64 to 65 harmonics
    train = train_of(f0, torch.ones_like(f0))[0]
    cycles = cycles_of(f0, torch.ones_like(f0))
    away = cycles.abs() > 0.2  # from a pulse, where the sum is small and smooth
    assert train[away].abs().max() < 0.6


def test_without_a_voice_there_are_no_pulses_and_they_fade_over_a_frame():
    voiced = torch.zeros(1, 30)
    voiced[:, 10:20] = 1
    train = train_of(torch.full((1, 30), 100.0), voiced)[0]
    assert not train[: 10 * HOP].any()
    assert not train[21 * HOP :].any()
    assert 0 < train[10 * HOP : 10 * HOP + HOP // 3].abs().max() < 0.5 * train.abs().max()
    assert 0 < train[21 * HOP - HOP // 3 : 21 * HOP].abs().max() < 0.5 * train.abs().max()


def test_a_voice_begins_and_ends_with_its_own_pitch():
    f0 = torch.tensor([[300.0, 300.0, 100.0, 110.0, 300.0, 300.0]])
    voiced = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]])
    held = hold_f0(f0, voiced, fresh())
    assert held.tolist() == [[300.0, 300.0, 100.0, 110.0, 110.0, 300.0]]
    cycles = cycles_of(held, voiced)
    step = cycles.diff()
    rate = (step - step.round()) * RATE
    torch.testing.assert_close(rate[2 * HOP : 3 * HOP - 1], torch.full((HOP - 1,), 100.0).double())
    torch.testing.assert_close(rate[4 * HOP : 5 * HOP - 1], torch.full((HOP - 1,), 110.0).double())
