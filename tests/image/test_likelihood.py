"""What a decoder predicts of a pixel: distributions that sum to one, known values, and samples that follow them."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from audiovq.errors import BadDataError
from audiovq.image.likelihood import (
    DiscretizedLogistic,
    ImageLikelihood,
    LogisticMixture,
    Softmax,
    bits_per_dim,
    to_unit,
)

SMALL = [
    DiscretizedLogistic(3, 4),
    LogisticMixture(3, 4, components=3),
    Softmax(3, 4),
    DiscretizedLogistic(1, 5),
    LogisticMixture(1, 5, components=2),
    Softmax(1, 5),
]


def name_of(likelihood: ImageLikelihood) -> str:
    return f"{type(likelihood).__name__}-{likelihood.channels}x{likelihood.values}"


def every_pixel(channels: int, values: int) -> Tensor:
    """All pixels there are, one an item: `[V^C, C, 1, 1]`."""
    return torch.tensor(list(itertools.product(range(values), repeat=channels)))[..., None, None]


def probabilities(likelihood: ImageLikelihood, outputs: Tensor, x: Tensor) -> Tensor:
    """p of whole items x `[N, C, H, W]` under the same outputs `[1, P, H, W]`."""
    return 2.0 ** -likelihood.bits(outputs.expand(len(x), -1, -1, -1), x).flatten(1).sum(1)


def logistic_outputs(likelihood: ImageLikelihood, mean: float, scale: float) -> Tensor:
    """Outputs `[1, P, 1, 1]` whose logistics all have this mean and scale, and equal weights."""
    outputs = torch.zeros(1, likelihood.num_outputs, 1, 1)
    start = getattr(likelihood, "components", 0)  # the mixture's weights come first
    count = likelihood.channels * max(start, 1)
    outputs[:, start : start + count] = mean
    outputs[:, start + count : start + 2 * count] = math.log(scale)
    return outputs


@pytest.mark.parametrize("likelihood", SMALL, ids=name_of)
@pytest.mark.parametrize("width", [0.3, 1.0, 3.0])
def test_probabilities_of_all_pixels_sum_to_one(likelihood, width):
    torch.manual_seed(0)
    outputs = width * torch.randn(1, likelihood.num_outputs, 1, 1)
    p = probabilities(likelihood, outputs, every_pixel(likelihood.channels, likelihood.values))
    assert p.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_mixture_of_three_channels_with_eight_values_sums_to_one():
    torch.manual_seed(1)
    likelihood = LogisticMixture(3, 8, components=4)
    outputs = torch.randn(1, likelihood.num_outputs, 1, 1)
    assert probabilities(likelihood, outputs, every_pixel(3, 8)).sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("likelihood", [DiscretizedLogistic(1), LogisticMixture(1), Softmax(1)], ids=name_of)
def test_probabilities_of_256_values_sum_to_one(likelihood):
    torch.manual_seed(0)
    outputs = torch.randn(1, likelihood.num_outputs, 1, 1)
    assert probabilities(likelihood, outputs, every_pixel(1, 256)).sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("likelihood", [DiscretizedLogistic(1), LogisticMixture(1)], ids=name_of)
@pytest.mark.parametrize("scale", [1e-3, 1e-2, 1.0, 1e3])
@pytest.mark.parametrize("mean", [-1.0, 0.0, 0.37, 1.0])
def test_logistics_sum_to_one_at_any_scale_and_at_the_ends(likelihood, mean, scale):
    p = probabilities(likelihood, logistic_outputs(likelihood, mean, scale), every_pixel(1, 256))
    assert p.sum().item() == pytest.approx(1.0, abs=1e-4)
    assert p.min() >= 0
    if abs(mean) == 1.0 and scale < 0.01:  # the open bin holds all that is outside
        assert p[0 if mean < 0 else 255].item() > 0.9


@pytest.mark.parametrize("values", [2, 256])
def test_a_logistic_is_the_textbooks(values):
    likelihood, mean, scale = DiscretizedLogistic(1, values), 0.15, 0.2
    x = torch.arange(values).view(-1, 1, 1, 1)
    got = likelihood.bits(logistic_outputs(likelihood, mean, scale).expand(values, -1, -1, -1), x).flatten()

    def cdf(value: float) -> float:
        return 1 / (1 + math.exp(-(value - mean) / scale))

    half = 1 / (values - 1)
    for k in range(values):
        middle = 2 * k / (values - 1) - 1
        above = 1.0 if k == values - 1 else cdf(middle + half)
        below = 0.0 if k == 0 else cdf(middle - half)
        assert got[k].item() == pytest.approx(-math.log2(above - below), rel=1e-4)


def test_a_mixture_of_equal_components_without_coefficients_is_a_logistic():
    torch.manual_seed(0)
    mixture, logistic = LogisticMixture(3, components=4), DiscretizedLogistic(3)
    outputs, x = torch.randn(2, 6, 5, 4), torch.randint(256, (2, 3, 5, 4))
    same = outputs.repeat_interleave(4, dim=1)  # every mean and scale for each of four components
    padded = torch.cat([torch.zeros(2, 4, 5, 4), same, torch.zeros(2, 12, 5, 4)], dim=1)
    want = logistic.bits(outputs, x).sum(1, keepdim=True)
    torch.testing.assert_close(mixture.bits(padded, x), want, rtol=1e-5, atol=1e-4)


def test_mixture_moves_a_channels_mean_with_those_before():
    """One component, narrow: with the coefficients atanh(1/2) on channels 0 and 1, channel 2 lies at half their sum."""
    likelihood = LogisticMixture(3, 256, components=1)
    outputs = torch.zeros(1, 10, 1, 1)
    outputs[:, 4:7] = math.log(1e-3)
    outputs[:, 8:] = math.atanh(0.5)
    outputs[:, 1], outputs[:, 2] = 0.6, 0.3
    pixel = torch.tensor([204, 166, (204 + 166) // 2]).view(1, 3, 1, 1)
    assert torch.equal(likelihood.sample(outputs, torch.full((1, 4, 1, 1), 0.5, dtype=torch.float64)), pixel)
    assert likelihood.bits(outputs, pixel).item() < 1
    assert likelihood.bits(outputs, torch.tensor([204, 166, 128]).view(1, 3, 1, 1)).item() > 50
    assert (likelihood.mean(outputs) - pixel).abs().max() < 0.5


def test_equal_logits_cost_exactly_eight_bits_per_dim():
    likelihood, x = Softmax(3), torch.randint(256, (2, 3, 4, 6), dtype=torch.uint8)
    bits = likelihood.bits(torch.zeros(2, likelihood.num_outputs, 4, 6), x)
    assert bits.shape == x.shape
    assert bits_per_dim(bits.flatten(1).sum(1), x.shape[1:]).tolist() == [8.0, 8.0]


@pytest.mark.parametrize("channels_last", [False, True])
def test_softmax_is_cross_entropy_in_value_and_gradient(channels_last):
    torch.manual_seed(0)
    likelihood, x = Softmax(3, 7), torch.randint(7, (2, 3, 4, 5))
    outputs = torch.randn(2, 21, 4, 5)
    if channels_last:
        outputs = outputs.contiguous(memory_format=torch.channels_last)
    outputs.requires_grad_()
    weights = torch.rand(2, 3, 4, 5)
    want = torch.nn.functional.cross_entropy(outputs.unflatten(1, (3, 7)).movedim(1, 2), x, reduction="none")
    (want_grad,) = torch.autograd.grad((want * weights).sum() / math.log(2), outputs)
    bits = likelihood.bits(outputs, x)
    (grad,) = torch.autograd.grad((bits * weights).sum(), outputs)
    torch.testing.assert_close(bits * math.log(2), want)
    torch.testing.assert_close(grad, want_grad)


@pytest.mark.parametrize("likelihood", [DiscretizedLogistic(3), LogisticMixture(3), Softmax(3)], ids=name_of)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 1e4])
def test_bits_and_gradients_are_finite(likelihood, dtype, size):
    torch.manual_seed(0)
    outputs = (size * torch.randn(4, likelihood.num_outputs, 8, 8)).to(dtype).requires_grad_()
    x = torch.randint(256, (4, 3, 8, 8))
    x[0], x[1] = 0, 255
    bits = likelihood.bits(outputs, x)
    assert bits.dtype == torch.float32
    bits.sum().backward()
    assert bits.isfinite().all()
    assert outputs.grad.isfinite().all()


@pytest.mark.parametrize("likelihood", SMALL, ids=name_of)
def test_gradients_are_those_of_finite_differences(likelihood):
    torch.manual_seed(0)
    outputs = torch.randn(2, likelihood.num_outputs, 2, 1, dtype=torch.float64, requires_grad=True)
    x = torch.randint(likelihood.values, (2, likelihood.channels, 2, 1))
    assert torch.autograd.gradcheck(lambda outputs: likelihood.bits(outputs, x), (outputs,))


@pytest.mark.parametrize("likelihood", [DiscretizedLogistic(3), LogisticMixture(3), Softmax(3)], ids=name_of)
def test_memory_layout_and_integer_type_make_no_difference(likelihood):
    torch.manual_seed(0)
    outputs, x = torch.randn(2, likelihood.num_outputs, 5, 3), torch.randint(256, (2, 3, 5, 3))
    plain = likelihood.bits(outputs, x)
    other = likelihood.bits(outputs.contiguous(memory_format=torch.channels_last), x.to(torch.uint8))
    torch.testing.assert_close(other, plain)


@pytest.mark.parametrize("likelihood", [DiscretizedLogistic(1), LogisticMixture(1), Softmax(1)], ids=name_of)
def test_what_is_no_integer_or_out_of_range_is_refused(likelihood):
    outputs = torch.zeros(1, likelihood.num_outputs, 2, 2)
    for bad in (torch.rand(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.bool)):
        with pytest.raises(BadDataError, match="unscaled"):
            likelihood.bits(outputs, bad)
    with pytest.raises(BadDataError, match="0 to 256"):
        likelihood.bits(outputs, torch.tensor([0, 1, 2, 256]).view(1, 1, 2, 2))
    with pytest.raises(BadDataError, match="-1"):
        likelihood.bits(outputs, torch.tensor([0, 1, 2, -1]).view(1, 1, 2, 2))


def test_eight_bit_pixels_are_checked_where_a_model_has_fewer_values():
    with pytest.raises(BadDataError, match="takes 0 to 15"):
        Softmax(1, 16).bits(torch.zeros(1, 16, 1, 1), torch.full((1, 1, 1, 1), 16, dtype=torch.uint8))


@pytest.mark.parametrize("likelihood", [like for like in SMALL if like.channels == 1], ids=name_of)
def test_samples_follow_the_distribution(likelihood):
    """With evenly spaced uniforms; the mixture's two numbers on a lattice that fills the square as evenly."""
    torch.manual_seed(0)
    outputs, count = torch.randn(1, likelihood.num_outputs, 1, 1), 20000
    place = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    uniform = torch.stack([place, (place * count * 0.6180339887498949) % 1])[: likelihood.num_uniforms]
    samples = likelihood.sample(outputs.expand(count, -1, -1, -1), uniform.T[..., None, None])
    assert samples.dtype == torch.int64
    shares = samples.flatten().bincount(minlength=likelihood.values) / count
    expected = probabilities(likelihood, outputs, every_pixel(1, likelihood.values))
    assert (shares - expected).abs().max() < 1e-3


@pytest.mark.parametrize("likelihood", [like for like in SMALL if like.channels == 3], ids=name_of)
def test_samples_of_whole_pixels_follow_the_joint_distribution(likelihood):
    torch.manual_seed(0)
    outputs, count = torch.randn(1, likelihood.num_outputs, 1, 1), 40000
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(count, likelihood.num_uniforms, 1, 1, dtype=torch.float64, generator=generator)
    samples = likelihood.sample(outputs.expand(count, -1, -1, -1), uniform)
    index = (samples[:, :, 0, 0] * torch.tensor([16, 4, 1])).sum(1)
    shares = index.bincount(minlength=64) / count
    expected = probabilities(likelihood, outputs, every_pixel(3, 4))
    assert ((shares - expected).abs() < 5 * (expected / count).sqrt() + 1e-4).all()


@pytest.mark.parametrize("likelihood", [DiscretizedLogistic(3), LogisticMixture(3), Softmax(3)], ids=name_of)
def test_the_same_uniforms_give_the_same_sample_in_any_batch(likelihood):
    torch.manual_seed(0)
    outputs = torch.randn(3, likelihood.num_outputs, 2, 3)
    uniform = torch.rand(3, likelihood.num_uniforms, 2, 3, dtype=torch.float64)
    uniform[0, 0, 0, 0] = 0.0
    together = likelihood.sample(outputs, uniform)
    alone = torch.cat([likelihood.sample(outputs[i : i + 1], uniform[i : i + 1]) for i in range(3)])
    assert together.shape == (3, 3, 2, 3)
    assert torch.equal(together, alone)
    assert together.min() >= 0
    assert together.max() <= 255


@pytest.mark.parametrize("likelihood", SMALL, ids=name_of)
def test_mean_is_the_expected_pixel(likelihood):
    torch.manual_seed(0)
    outputs = 0.5 * torch.randn(1, likelihood.num_outputs, 1, 1)
    pixels = every_pixel(likelihood.channels, likelihood.values)
    expected = (probabilities(likelihood, outputs, pixels)[:, None] * pixels.flatten(1)).sum(0)
    tolerance = 1e-4 if isinstance(likelihood, Softmax) else 0.25 if isinstance(likelihood, LogisticMixture) else 0.02
    assert (likelihood.mean(outputs).flatten() - expected).abs().max() < tolerance


@pytest.mark.parametrize("scale", [1e-3, 3e-2, 1.0, 1e3])
def test_mean_of_256_values_is_right_at_any_scale(scale):
    likelihood, values = DiscretizedLogistic(1), every_pixel(1, 256)
    outputs = logistic_outputs(likelihood, 0.9, scale)
    expected = (probabilities(likelihood, outputs, values) * values.flatten()).sum()
    assert likelihood.mean(outputs).item() == pytest.approx(expected.item(), abs=0.5 if scale < 0.01 else 0.02)


def test_to_unit_reaches_both_ends():
    assert to_unit(torch.tensor([0, 255], dtype=torch.uint8), 256).tolist() == [-1.0, 1.0]
