"""Losses of a decoder with a source, and runs that train one."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from audiovq.audio import AudioVQVAE
from audiovq.audio.excitation import Pulses, PulseState, next_pulses, pulse_train
from audiovq.audio.pitch import track_pitch
from audiovq.audio.source_decoder import F0_BINS, decode_pitch
from audiovq.data.corpus.pack import pack
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import ConfigError
from audiovq.train.experiment import parse_experiment
from audiovq.train.run import train
from audiovq.train.speech.objectives import analysis_distance
from audiovq.train.speech.source import BANDS, PeriodicityLoss, pitch_loss
from audiovq.train.speech.spectral import PowerLoss, SpectralLoss

from ..test_run import losses

RATE = 16000


def steady(f0: float = 120.0, frames: int = 100) -> Pulses:
    values, voiced = torch.full((1, frames), f0), torch.ones(1, frames)
    return next_pulses(values, voiced, PulseState.fresh(1, values.device), 160, RATE)[0]


def noise(samples: int = 16000) -> torch.Tensor:
    return torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("f0", [80.0, 150.0, 300.0])
def test_pulses_are_periodic_in_every_band_and_noise_in_none(f0):
    loss, pulses = PeriodicityLoss(RATE), steady(f0)
    voice = pulse_train(pulses, 160, RATE)
    inner = slice(5, -8)
    assert loss.periodicity(voice, pulses.f0)[..., inner].amin() > 0.8
    found = loss.periodicity(noise()[:, 0], pulses.f0)[..., inner]
    assert found.shape[1] == len(BANDS)
    assert found.mean(-1).abs().max() < 0.25


def test_periodicity_is_blind_to_level_and_shift():
    loss, pulses = PeriodicityLoss(RATE), steady()
    voice = pulse_train(pulses, 160, RATE)[:, None] + 0.5 * noise()
    assert loss(voice, voice, pulses) == 0
    assert loss(0.1 * voice, voice, pulses) < 1e-3
    assert loss(voice.roll(7, -1), voice, pulses) < 0.05
    assert loss(noise(), voice, pulses) > 0.2


def test_only_voiced_frames_count():
    loss, pulses = PeriodicityLoss(RATE), steady()
    silent = replace(pulses, voiced=torch.zeros_like(pulses.voiced))
    assert loss(noise(), pulse_train(pulses, 160, RATE)[:, None], silent) == 0


def test_its_gradient_finds_the_share_of_noise():
    loss, pulses = PeriodicityLoss(RATE), steady()
    voice, hiss = pulse_train(pulses, 160, RATE)[:, None], noise()
    target = 0.8 * voice + 0.6 * hiss.flip(-1)
    share = torch.tensor(0.0, requires_grad=True)
    optimizer = torch.optim.Adam([share], 0.1)
    for _ in range(60):
        value = loss(share.sigmoid().sqrt() * voice + (1 - share.sigmoid()).sqrt() * hiss, target, pulses)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert share.sigmoid().item() == pytest.approx(0.64, abs=0.08)


def test_the_f0_head_is_right_where_its_loss_is_zero():
    pulses = steady(137.0, 20)
    logits = torch.zeros(1, 20, F0_BINS + 1, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.3)
    for _ in range(200):
        divergence, voicing = pitch_loss(logits, pulses)
        optimizer.zero_grad()
        (divergence + voicing).backward()
        optimizer.step()
    f0, voiced = decode_pitch(logits.detach())
    assert divergence < 0.01
    assert (1200 * torch.log2(f0 / 137)).abs().max() < 5
    assert voiced.all()


def test_power_of_a_patch_counts_what_is_loud_and_not_where():
    loss = PowerLoss(RATE)
    sound = 0.1 * noise()
    early, late, smeared = (sound.clone() for _ in range(3))
    gate = (torch.arange(16000) // 320) % 2  # 20 ms on, 20 ms off
    early, late = early * gate, late * (1 - gate)
    smeared = sound * 0.5
    assert loss(sound, sound) == 0
    assert loss(late, early) < 0.25  # as much power, elsewhere
    assert loss(smeared, early) > 0.3  # the same mean magnitude, half the power
    assert SpectralLoss(RATE, [256], [32], 1)(late, early)["mel"] > 0.5


def test_a_distance_that_seeks_modes_counts_small_differences_whole_and_large_ones_less():
    plain, seeking = SpectralLoss(RATE, [512], [40], 1), SpectralLoss(RATE, [512], [40], 1, mode_scale=0.3)
    sound = 0.1 * noise()
    near, far = 1.01 * sound, 4 * sound
    assert seeking(near, sound)["mel"].item() == pytest.approx(plain(near, sound)["mel"].item(), rel=0.03)
    assert seeking(far, sound)["mel"] < 0.5 * plain(far, sound)["mel"]
    assert seeking(far, sound)["linear"] == plain(far, sound)["linear"]


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """A pack of four synthetic voices of a second, with pauses, at 16 kHz."""
    root = tmp_path_factory.mktemp("voices")
    utterances = []
    for i in range(4):
        seconds = np.arange(RATE) / RATE
        f0 = (100 + 30 * i) * 2 ** (0.2 * np.sin(5 * seconds))
        tone = sum(np.cos(2 * np.pi * k * np.cumsum(f0) / RATE) / k for k in range(1, 20))
        hiss = np.random.default_rng(i).standard_normal(RATE)
        sound = 0.05 * np.where(seconds % 0.4 < 0.25, tone, hiss)
        soundfile.write(root / f"{i}.wav", sound, RATE)
        utterances.append(Utterance(f"v{i}", "v", str(root / f"{i}.wav")))
    DataDir(utterances, {}).write(root / "data")
    pack(root / "data", root / "dump", RATE)
    return root / "dump"


def tree(voices, **train_options):
    return {
        "model": {
            "sample_rate": RATE,
            "latent_dim": 8,
            "encoder": {"kind": "log-mel", "channels": 16, "depth": 1},
            "quantizer": {"kind": "vq", "num_quantizers": 2, "codebook_size": 16},
            "decoders": {"fast": {"kind": "source", "channels": 24, "depth": 1, "fine_channels": 24, "fine_depth": 1}},
        },
        "data": {
            "train": [{"path": str(voices)}],
            "valid": str(voices),
            "segment_samples": 6400,
            "valid_samples": 6400,
            "batch_size": 4,
            "valid_segments": 4,
            "num_workers": 0,
        },
        "objective": {
            "kind": "spectral",
            "windows": [256, 512],
            "num_mels": [20, 40],
            "periodicity_weight": 1.0,
            "power_weight": 0.3,
        },
        "train": {"max_steps": 6, "valid_every": 3, "save_every": 3, "log_every": 1, "warmup_steps": 2} | train_options,
    }


def test_training_learns_pitch_and_spectrum_from_the_recordings_own(voices, tmp_path):
    config = parse_experiment(tree(voices, max_steps=60, valid_every=60, save_every=60, learning_rate=5e-3), "test")
    folder = train(config, tmp_path, device="cpu", progress=False)
    curve = losses(tmp_path)
    first, last = (np.mean([curve[s] for s in steps]) for steps in (range(3), range(55, 60)))
    assert last < 0.75 * first
    model = AudioVQVAE.from_pretrained(folder / "latest")
    sound, _ = soundfile.read(voices.parent / "0.wav", dtype="float32")
    wanted = track_pitch(sound, RATE).f0
    with torch.inference_mode():
        z_q = model.quantizer.decode(model.encode(torch.from_numpy(sound)[None, None]))
        _, voiced = decode_pitch(model.decoder().controls(z_q).pitch)
    agreed = ((voiced[0].numpy() > 0) == (wanted > 0)).mean()
    assert agreed > 0.75


def test_a_run_of_some_minutes_saves_exports_and_is_gone_on_with(voices, tmp_path, capsys):
    whole = parse_experiment(tree(voices), "test")
    train(whole, tmp_path / "whole", device="cpu", progress=False)
    short = parse_experiment(tree(voices, max_minutes=1e-6), "test")
    for step in range(1, 6):
        train(short, tmp_path / "parts", device="cpu", progress=False)
        assert f"stopped at step {step}; the same command goes on" in capsys.readouterr().out
        ready = step >= 3  # the codebooks, one a step
        assert (tmp_path / "parts" / "models" / "latest" / "model.safetensors").is_file() or not ready
        assert not (tmp_path / "parts" / "trained.json").exists()
    train(short, tmp_path / "parts", device="cpu", progress=False)
    assert (tmp_path / "parts" / "trained.json").exists()
    one, two = (AudioVQVAE.from_pretrained(tmp_path / run / "models" / "latest") for run in ("whole", "parts"))
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_an_encoder_that_is_trained_itself_is_no_judge(voices):
    wrong = tree(voices)
    wrong["objective"]["analysis_weight"] = 0.5
    for init in ({}, {"init": {"model": "m"}}, {"init": {"model": "m", "train": ["decoders.fast", "encoder"]}}):
        with pytest.raises(ConfigError, match=r"analysis_weight: needs an encoder that rests"):
            parse_experiment(wrong | init, "test")
    parse_experiment(wrong | {"init": {"model": "m", "train": ["decoders.fast"]}}, "test")


def test_what_the_encoder_makes_of_the_output_is_compared(voices):
    config = parse_experiment(tree(voices), "test")
    model = AudioVQVAE.from_config(config.model).eval()
    sound = 0.1 * noise(6400)
    assert analysis_distance(model, sound, sound) == 0
    output = (0.3 * sound).requires_grad_()
    distance = analysis_distance(model, output, sound)
    distance.backward()
    assert distance > 0
    assert output.grad.abs().max() > 0
    model.zero_grad()
