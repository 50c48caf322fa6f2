"""What a WaveNet predicts: distributions that sum to one, known values, and sampling that follows them."""

import math

import pytest
import torch

from audiovq.audio import LogisticMixture, MuLawSoftmax
from audiovq.audio.mulaw import mulaw_decode


def test_softmax_probabilities_sum_to_one_over_all_samples():
    torch.manual_seed(0)
    outputs = torch.randn(1, 1, 256).expand(1, 256, 256)
    every = mulaw_decode(torch.arange(256)).unsqueeze(0)
    assert (2 ** -MuLawSoftmax(4, levels=256).bits(outputs, every)).sum().item() == pytest.approx(1.0, abs=1e-5)


def test_mixture_probabilities_sum_to_one_over_all_samples():
    torch.manual_seed(0)
    likelihood = LogisticMixture(4, mixtures=3, sample_bits=8)
    outputs = torch.randn(1, 1, 9)
    outputs[..., 6:] -= 2.0
    every = torch.arange(256) * likelihood.bin_width - 1
    bits = likelihood.bits(outputs.expand(1, 256, 9), every.unsqueeze(0))
    assert (2.0**-bits).sum().item() == pytest.approx(1.0, abs=1e-5)


def test_equal_logits_cost_eight_bits():
    assert MuLawSoftmax(4, levels=256).bits(torch.zeros(1, 3, 256), torch.rand(1, 3)).tolist() == [[8.0, 8.0, 8.0]]


def test_a_logistic_is_the_textbooks():
    likelihood = LogisticMixture(4, mixtures=1, sample_bits=8)
    x = likelihood.quantize(torch.tensor([[0.2]]))
    mean, log_scale = 0.15, -3.0

    def cdf(value: float) -> float:
        return 1 / (1 + math.exp(-(value - mean) / math.exp(log_scale)))

    want = -math.log2(cdf(x.item() + likelihood.bin_width / 2) - cdf(x.item() - likelihood.bin_width / 2))
    assert likelihood.bits(torch.tensor([[[0.0, mean, log_scale]]]), x).item() == pytest.approx(want, rel=1e-4)


def test_a_narrow_and_distant_logistic_has_finite_bits_and_gradient():
    outputs = torch.tensor([[[0.0, 0.9, -30.0]]], requires_grad=True)
    bits = LogisticMixture(4, mixtures=1, sample_bits=16).bits(outputs, torch.tensor([[-0.9]]))
    bits.sum().backward()
    assert bits.isfinite().all()
    assert outputs.grad.isfinite().all()


@pytest.mark.parametrize("likelihood", [MuLawSoftmax(4, levels=256), LogisticMixture(4, mixtures=2, sample_bits=8)])
def test_samples_follow_the_distribution(likelihood):
    torch.manual_seed(0)
    outputs = torch.randn(1, likelihood.num_outputs)
    uniform = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    samples = likelihood.sample(outputs.expand(20000, -1), uniform)
    values, counts = samples.unique(return_counts=True)
    expected = 2 ** -likelihood.bits(outputs.expand(1, len(values), -1), values.unsqueeze(0))[0].double()
    assert (counts / 20000 - expected).abs().max() < 1e-3


def test_the_same_uniform_gives_the_same_sample_in_any_batch():
    torch.manual_seed(0)
    likelihood = MuLawSoftmax(4, levels=256)
    outputs, uniform = torch.randn(5, 256), torch.rand(5, dtype=torch.float64)
    alone = torch.cat([likelihood.sample(outputs[i : i + 1], uniform[i : i + 1]) for i in range(5)])
    assert torch.equal(alone, likelihood.sample(outputs, uniform))
