"""Encoders: frames per input and causality; what every kind promises is in test_contract."""

import pytest
import torch

from audiovq.audio import LogMelEncoder, WaveformEncoder


def waveform_encoder():
    torch.manual_seed(0)
    return WaveformEncoder(4, channels=8, strides=[2] * 6, kernel_size=4, dilations=[1, 3]).double()


def log_mel_encoder():
    torch.manual_seed(0)
    return LogMelEncoder(
        4,
        sample_rate=16000,
        hop_length=320,
        num_mels=20,
        window_length=512,
        mel_frames_per_code=2,
        channels=8,
        depth=2,
        kernel_size=3,
        expansion=2,
        lookahead=1,
    )


def test_the_papers_encoder_has_hop_64_and_window_4():
    encoder = waveform_encoder()
    assert encoder.hop_length == 64
    assert [conv.kernel_size for conv in encoder.downsample] == [(4,)] * 6


@pytest.mark.parametrize("encoder", [waveform_encoder().float(), log_mel_encoder()], ids=["waveform", "log-mel"])
@pytest.mark.parametrize("samples", [1, 63, 64, 65, 1000])
def test_frames_are_the_samples_over_the_hop_rounded_up(encoder, samples):
    z = encoder(torch.randn(2, 1, samples))
    assert z.shape == (2, 4, -(-samples // encoder.hop_length))


def test_the_waveform_encoder_is_causal():
    encoder = waveform_encoder()
    x = torch.randn(1, 1, 640, dtype=torch.float64)
    changed = x.clone()
    changed[..., 320:] += 1
    same = (encoder(x) == encoder(changed)).all(dim=1)[0]
    assert same.tolist() == [True] * 5 + [False] * 5
