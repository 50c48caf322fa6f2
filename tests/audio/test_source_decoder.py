"""The decoder with a source: a function of codes and place, whose pitch, noise and envelope do what they are told."""

from dataclasses import replace

import pytest
import torch

from audiovq.audio import Place
from audiovq.audio.config import AudioModelConfig
from audiovq.audio.excitation import PHASE_SECONDS, PulseState, next_pulses, pulse_train, white_noise
from audiovq.audio.source_decoder import F0_BINS, Controls, SourceFilter, decode_pitch, minimum_phase, smoothing_matrix

from .conftest import make_model

SOURCE = {"kind": "source", "channels": 16, "depth": 1, "fine_channels": 16, "fine_depth": 1}
RATE, HOP = 16000, 320


def source_model(**changes):
    model = make_model(
        sample_rate=RATE,
        encoder={"kind": "log-mel", "channels": 12, "depth": 1},
        quantizer={"kind": "vq", "num_quantizers": 2, "codebook_size": 16, "kmeans_init": False},
        decoders={"fast": SOURCE | changes},
    )
    decoder = model.decoder()
    with torch.no_grad():  # an untrained head says much the same of all codes
        for layer, spread in ((decoder.pitch_head[2], 0.5), (decoder.spectrum_head, 0.1)):
            layer.weight.normal_(std=spread, generator=torch.Generator().manual_seed(1))
        logits = decoder.controls(model.quantizer.decode(some_codes(200))).pitch[..., F0_BINS]
        decoder.pitch_head[2].bias[F0_BINS] -= logits.median()  # a voice half of the time
    return model


def some_codes(frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(16, (1, 2, frames), generator=generator).repeat_interleave(5, 2)[:, :, :frames]


def test_sound_has_a_hop_of_samples_for_each_frame_and_both_sources_in_it():
    model = source_model()
    codes = some_codes(40)
    sound = model.decode(codes)
    assert sound.shape == (1, 1, 40 * HOP)
    decoder = model.decoder()
    controls = decoder.controls(model.quantizer.decode(codes))
    _, voiced = decode_pitch(controls.pitch)
    assert 0.1 < voiced.mean() < 0.9


@pytest.mark.parametrize("changes", [{}, {"fine_lookahead": 1}, {"window_length": 640, "spectra_per_frame": 1}])
def test_a_piece_with_its_context_has_the_sound_of_the_whole(changes):
    model = source_model(**changes)
    left, right = model.decoder_context()
    codes = some_codes(400)
    whole = model.decode(codes, place=Place(seed=7))
    for first, last in ((150, 200), (233, 260), (380, 400)):
        before = first - left
        assert before >= 0
        part = model.decode(codes[..., before : last + right], place=Place(seed=7, first_frame=before))
        wanted = whole[..., first * HOP : last * HOP]
        found = part[..., left * HOP : (left + last - first) * HOP]
        assert wanted.abs().max() > 0.01
        torch.testing.assert_close(found / wanted.abs().max(), wanted / wanted.abs().max(), atol=3e-5, rtol=0)


def test_codes_change_no_sound_beyond_the_stated_context():
    model = source_model()
    left, right = model.decoder_context()
    codes = some_codes(300)
    changed = codes.clone()
    changed[..., 100:103] = (changed[..., 100:103] + 7) % 16
    moved = (model.decode(codes) - model.decode(changed)).reshape(300, HOP).abs().amax(1) > 1e-4
    frames = moved.nonzero()
    assert frames.min() >= 100 - right
    assert frames.max() <= 102 + left


@pytest.mark.parametrize("fine_lookahead", [0, 1])
def test_sound_looks_ahead_as_little_as_the_model_card_says(fine_lookahead):
    model = source_model(fine_lookahead=fine_lookahead)
    codes = some_codes(60)
    earliest = []
    for frame in range(20, 50, 3):
        changed = codes.clone()
        changed[..., frame:] = (changed[..., frame:] + 7) % 16
        moved = (model.decode(codes) - model.decode(changed))[0, 0].abs() > 1e-6
        earliest.append(frame * HOP - int(moved.nonzero()[0]))
    # a frame of codes, fine frames, and from a pulse to the ends of the windows that hold it
    assert model.decoder().lookahead == HOP + 160 * fine_lookahead + 200
    assert model.decoder().lookahead - 10 < max(earliest) <= model.decoder().lookahead


def test_the_context_says_how_far_back_the_phase_of_a_pulse_reaches():
    left, _ = source_model().decoder_context()
    assert left * HOP / RATE > PHASE_SECONDS


def test_an_item_of_a_batch_sounds_as_it_does_alone():
    model = source_model()
    one, two = some_codes(30, 1), some_codes(30, 2)
    both = model.decode(torch.cat([one, two]))
    torch.testing.assert_close(both[0], model.decode(one)[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(both[1], model.decode(two)[0], atol=1e-5, rtol=0)


def test_seed_and_channel_change_the_noise_and_nothing_else():
    model = source_model()
    codes = some_codes(60).repeat(2, 1, 1)
    same = model.decode(codes)
    channels = model.decode(codes, place=Place(channels=range(2)))
    seeds = model.decode(codes[:1], place=Place(seed=1))
    torch.testing.assert_close(same[0], same[1])
    torch.testing.assert_close(channels[0], same[0])
    for other in (channels[1], seeds[0]):
        assert not torch.allclose(other, same[0], atol=1e-3)
        ratio = other.square().mean() / same[0].square().mean()
        assert 0.5 < ratio < 2


def harmonic_controls(model, f0_bin: int, frames: int = 50) -> Controls:
    """A steady voice with a flat envelope."""
    decoder = model.decoder()
    pitch = torch.full((1, 2 * frames, F0_BINS + 1), -20.0)
    pitch[..., f0_bin] = pitch[..., F0_BINS] = 20.0
    spectra = 2 * frames * decoder.spectrum_head.out_features // (2 * decoder.bins)
    return Controls(torch.full((1, spectra, decoder.bins), -3.0), torch.full((1, spectra, decoder.bins), 12.0), pitch)


@pytest.mark.parametrize("shift", [-12.0, 0.0, 5.0])
def test_pitch_is_shifted_by_semitones(shift):
    model = source_model()
    decoder = model.decoder()
    controls = harmonic_controls(model, 24)  # an octave over the lowest: 120 Hz
    pulses, _ = decoder.pulses(controls, decoder.initial_state(1, Place(pitch_shift=shift)))
    wanted = 120 * 2 ** (shift / 12)
    assert pulses.f0.mean().item() == pytest.approx(wanted, rel=1e-3)
    sound = decoder.synthesize(controls, pulses, torch.zeros(1, 50 * HOP))[0, 0].detach()
    spectrum = torch.fft.rfft(sound * torch.hann_window(len(sound))).abs()
    strongest = spectrum[: round(1.5 * wanted * len(sound) / RATE)].argmax() * RATE / len(sound)
    assert strongest.item() == pytest.approx(wanted, abs=RATE / len(sound))


def test_the_share_of_noise_is_that_of_the_power():
    filter_ = SourceFilter(RATE, 320, 80, "zero")
    frames = 400
    f0 = torch.full((1, frames), 100.0)
    pulses, _ = next_pulses(f0, torch.ones(1, frames), PulseState.fresh(1, f0.device), 160, RATE)
    train = pulse_train(pulses, 160, RATE)
    voice = torch.ones_like(train)
    noise = torch.randn(1, frames * 160, generator=torch.Generator().manual_seed(0))
    for logit, share in ((-20.0, 0.0), (0.0, 0.5), (20.0, 1.0)):
        controls = Controls(torch.zeros(1, 2 * frames, 161), torch.full((1, 2 * frames, 161), logit), torch.zeros(1))
        alone = filter_(controls, train, voice, torch.zeros_like(noise))
        both = filter_(controls, train, voice, noise)
        assert alone.square().mean().item() == pytest.approx(share, abs=0.03)
        assert both.square().mean().item() == pytest.approx(1, abs=0.05)


def test_sharpening_raises_formants_and_keeps_the_power_about_them():
    filter_ = SourceFilter(RATE, 320, 80, "zero")
    frequency = torch.arange(161) * 50.0
    formants = torch.stack([torch.exp(-(((frequency - f) / 150) ** 2)) for f in (500, 1500, 2500, 3600)]).sum(0)
    envelope = (2 * formants - frequency / 2000)[None, None]
    sharp = filter_.sharpen(envelope, 0.3)
    peaks, valleys = [10, 30, 50], [20, 40]
    contrast = [(x[0, 0, peaks].mean() - x[0, 0, valleys].mean()).item() for x in (envelope, sharp)]
    assert contrast[1] == pytest.approx(1.3 * contrast[0], rel=0.1)
    assert (sharp - envelope)[0, 0, 10] > 0.02  # at a formant
    assert (sharp - envelope)[0, 0, 20] < -0.05  # between two
    band = slice(10, 70)
    power = [(2 * x[..., band]).exp().sum().log() for x in (envelope, sharp)]
    assert abs(power[0] - power[1]) < 0.1
    torch.testing.assert_close(filter_.sharpen(envelope, 0.0), envelope)


def test_sharpening_is_part_of_the_models_configuration():
    plain, sharp = source_model(), source_model(sharpening=0.5)
    sharp.load_state_dict(plain.state_dict())
    codes = some_codes(30)
    assert not torch.allclose(plain.decode(codes), sharp.decode(codes), atol=1e-3)


def test_smoothing_keeps_a_constant_and_weighs_neighbours():
    matrix = smoothing_matrix(161, 20)
    torch.testing.assert_close(torch.ones(161) @ matrix, torch.ones(161))
    spike = torch.zeros(161)
    spike[80] = 1
    found = spike @ matrix
    assert found.argmax() == 80
    assert found[60:101].gt(0).all()
    assert not found[:59].any()


def test_f0_is_the_mean_about_the_likeliest_bin():
    logits = torch.full((1, 1, F0_BINS + 1), -30.0)
    logits[..., 24], logits[..., 25], logits[..., 60] = 0.0, 0.0, -0.1
    f0, voiced = decode_pitch(logits)
    assert f0.item() == pytest.approx(60 * 2 ** (24.5 / 24), rel=1e-4)
    assert voiced.item() == 0
    assert decode_pitch(replace_last(logits, 1.0))[1].item() == 1


def replace_last(logits: torch.Tensor, value: float) -> torch.Tensor:
    changed = logits.clone()
    changed[..., -1] = value
    return changed


def test_fine_frames_must_be_those_that_pitch_is_tracked_in():
    tree = source_model().config.model_dump()
    tree["decoders"]["fast"]["upsample"] = 4
    with pytest.raises(ValueError, match="fine frames of 10 ms"):
        AudioModelConfig.model_validate(tree)


def test_a_place_is_made_for_a_piece():
    assert replace(Place(seed=3), first_frame=9) == Place(3, 9)


def test_a_filter_of_minimum_phase_has_its_magnitude_and_comes_early():
    log_magnitude = torch.cos(torch.arange(161) / 25)[None]
    spectrum = minimum_phase(log_magnitude)
    torch.testing.assert_close(spectrum.abs().log(), log_magnitude)
    early = torch.fft.irfft(spectrum)[0].square()
    even = torch.fft.irfft(log_magnitude.exp())[0].square()
    assert early[:20].sum() > 0.99 * early.sum()  # zero phase has half of it before the pulse, at the end
    assert even[-20:].sum() > 0.05 * even.sum()


def test_the_balance_of_so_many_levels_is_added_to_the_envelope():
    model = source_model()
    codes = some_codes(40)
    before = [model.decode(codes[:, :q]) for q in (1, 2)]
    model.decoder().balance[0] = 0.5
    after = [model.decode(codes[:, :q]) for q in (1, 2)]
    torch.testing.assert_close(after[1], before[1])
    torch.testing.assert_close(after[0], before[0] * torch.tensor(0.5).exp(), atol=1e-6, rtol=1e-4)


def test_even_noise_varies_less_and_keeps_its_power():
    filter_ = SourceFilter(RATE, 320, 80, "zero")
    noise = filter_.stft(torch.from_numpy(white_noise(0, 0, 0, 4 * RATE))[None])
    inner = slice(5, -5), slice(1, -1)  # at 0 Hz and half the rate spectra are real
    plain = noise[0][inner].abs()
    spread = plain.std() / plain.mean()
    for evenness in (0.5, 1.0):
        even = filter_.even(noise, evenness)[0][inner].abs()
        assert even.square().mean().item() == pytest.approx(plain.square().mean().item(), rel=0.02)
        assert even.std() / even.mean() < (1.1 - evenness) * spread
    torch.testing.assert_close(filter_.even(noise, 0.0), noise)
