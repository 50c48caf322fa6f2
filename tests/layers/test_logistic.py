"""The discretized logistic against its definition: values, gradients, and what is far from everything."""

import pytest
import torch
from torch import Tensor

from audiovq.layers.logistic import discretized_logistic


def definition(x: Tensor, means: Tensor, log_scales: Tensor, bin_width: float) -> Tensor:
    upper = torch.sigmoid((x - means + bin_width / 2) / log_scales.exp())
    lower = torch.sigmoid((x - means - bin_width / 2) / log_scales.exp())
    upper = torch.where(x > 1 - bin_width / 2, 1.0, upper)
    lower = torch.where(x < -1 + bin_width / 2, 0.0, lower)
    return torch.log(upper - lower)


@pytest.mark.parametrize("values", [2, 3, 256])
def test_value_and_gradients_are_those_of_the_definition(values):
    torch.manual_seed(0)
    width = 2 / (values - 1)
    x = torch.linspace(-1, 1, values, dtype=torch.float64)[:, None]
    means = 0.7 * torch.randn(values, 50, dtype=torch.float64)
    log_scales = (0.5 * torch.randn(values, 50, dtype=torch.float64)).requires_grad_()
    means.requires_grad_()
    weights = torch.randn(values, 50, dtype=torch.float64)
    got, want = (f(x, means, log_scales, width) for f in (discretized_logistic, definition))
    torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-10)
    grads = [torch.autograd.grad((y * weights).sum(), (means, log_scales)) for y in (got, want)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("log_scale", [-10.0, -7.0, 0.0, 7.0, 20.0])
def test_float32_agrees_with_float64_and_stays_finite(bits, log_scale):
    """Also where the definition takes the logarithm of 0."""
    width = 2 / (2**bits - 1)
    x = torch.arange(0, 2**bits, 2 ** (bits - 8) + 1, dtype=torch.float64) * width - 1
    means = torch.linspace(-3, 3, len(x), dtype=torch.float64)
    results = {}
    for dtype in (torch.float32, torch.float64):
        inputs = [means.to(dtype).requires_grad_(), torch.full_like(x, log_scale, dtype=dtype).requires_grad_()]
        value = discretized_logistic(x.to(dtype), *inputs, width)
        results[dtype] = [value, *torch.autograd.grad(value.sum(), inputs)]
        assert all(result.isfinite().all() for result in results[dtype])
    torch.testing.assert_close(results[torch.float32][0].double(), results[torch.float64][0], rtol=2e-3, atol=1e-4)


def test_nothing_is_infinitely_unlikely():
    means = torch.tensor([0.9, -1e4, 1e4], requires_grad=True)
    value = discretized_logistic(torch.tensor(-0.9), means, torch.full((3,), -12.0), 2 / 255)
    assert value.isfinite().all()
    assert (value < -1e4).all()
    value.sum().backward()
    assert means.grad.sign().tolist() == [-1.0, 1.0, -1.0]


def test_backward_keeps_three_tensors_of_the_result_and_a_mask():
    means = torch.zeros(1000, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        discretized_logistic(torch.zeros(1), means, torch.zeros(1000, requires_grad=True), 0.1)
    assert sum(t.numel() for t in kept if t.is_floating_point()) <= 3000
