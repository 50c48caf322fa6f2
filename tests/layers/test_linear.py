"""The fast linear layer is a linear layer, learns as one, and has its weights' names."""

import pytest
import torch
from torch import nn

from audiovq.layers.linear import FastLinear


@pytest.fixture
def layers():
    torch.manual_seed(0)
    fast, plain = FastLinear(24, 40), nn.Linear(24, 40)
    plain.load_state_dict(fast.state_dict())
    return fast, plain


@pytest.mark.parametrize("shape", [(24,), (1, 24), (3, 500, 24), (2, 0, 24)])
@pytest.mark.parametrize("kept", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_it_multiplies_as_a_linear_layer(layers, shape, kept):
    fast, plain = layers
    with kept():
        x = torch.randn(shape)
        torch.testing.assert_close(fast(x), plain(x), atol=1e-5, rtol=1e-5)
        across = torch.randn(*shape[:-1], 24, 2)[..., 0]  # not contiguous
        torch.testing.assert_close(fast(across), plain(across), atol=1e-5, rtol=1e-5)


def test_it_learns_and_takes_other_types(layers):
    fast, plain = layers
    x = torch.randn(7, 24)
    for layer in (fast, plain):
        layer(x).square().sum().backward()
    assert torch.equal(fast.weight.grad, plain.weight.grad)
    with torch.no_grad():
        assert torch.equal(fast.double()(x.double()), plain.double()(x.double()))
        with torch.autocast("cpu"):
            assert fast.float()(x).dtype == torch.bfloat16
