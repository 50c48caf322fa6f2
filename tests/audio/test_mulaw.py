"""Mu-law companding."""

import torch

from audiovq.audio.mulaw import mulaw_decode, mulaw_encode


def test_class_to_sample_to_class_is_exact():
    classes = torch.arange(256)
    assert torch.equal(mulaw_encode(mulaw_decode(classes)), classes)


def test_the_curve_is_the_standards():
    # F(x) = sign(x) ln(1 + 255 |x|) / ln 256: half of full scale lies at 0.8755 of the range
    assert mulaw_encode(torch.tensor([0.5])).item() == round((0.87570 + 1) / 2 * 255)
    assert mulaw_encode(torch.tensor([-1.0, 1.0, -7.0, 7.0])).tolist() == [0, 255, 0, 255]


def test_small_samples_are_kept_finer_than_large_ones():
    error = {level: (mulaw_decode(mulaw_encode(torch.tensor([level]))) - level).abs().item() for level in (0.003, 0.7)}
    assert error[0.003] < 0.0005
    assert error[0.7] < 0.02
