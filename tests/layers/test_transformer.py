"""The Transformer sees its receptive field and nothing later, and runs a position at a time with a bounded cache."""

from __future__ import annotations

import pytest
import torch

from audiovq.layers import CausalTransformer


def network(depth: int = 2, window: int = 4) -> CausalTransformer:
    torch.manual_seed(0)
    return CausalTransformer(channels=8, depth=depth, heads=2, window=window).double().eval()


@torch.no_grad()
@pytest.mark.parametrize(("depth", "window", "length"), [(1, 4, 11), (2, 3, 12), (1, 1, 4), (2, 20, 9)])
def test_sees_its_receptive_field_and_no_other(depth, window, length):
    net = network(depth, window)
    x = torch.randn(1, length, 8, dtype=torch.float64)
    before, age = net(x), torch.arange(length)[:, None] - torch.arange(length)
    changed = torch.zeros(length, length, dtype=torch.bool)
    for s in range(length):
        other = x.clone()
        other[0, s, 0] += 1
        changed[:, s] = (net(other) != before).any(-1)[0]
    assert torch.equal(changed, (age >= 0) & (age < net.receptive_field))


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 3, 4, 5, 17])
def test_a_position_at_a_time_equals_the_whole(length):
    net = network()
    x = torch.randn(3, length, 8, dtype=torch.float64)
    steps = net.steps(3)
    pieces = torch.stack([steps.advance(position) for position in x.unbind(1)], dim=1)
    torch.testing.assert_close(pieces, net(x), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_only_distances_count_not_places():
    net = network(depth=1)
    x = torch.randn(1, 30, 8, dtype=torch.float64)
    torch.testing.assert_close(net(x)[:, 20:], net(x[:, 10:])[:, 10:], rtol=1e-10, atol=1e-10)


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="multiple of"):
        CausalTransformer(channels=9, depth=1, heads=3, window=4)
