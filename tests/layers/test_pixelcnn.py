"""The gated PixelCNN sees every position before its own within reach, none other, and runs a position at a time."""

from __future__ import annotations

import pytest
import torch

from audiovq.layers import GatedPixelCNN


def network(depth: int = 2, kernel_size: int = 3, condition_dim: int = 0) -> GatedPixelCNN:
    torch.manual_seed(0)
    options = {"channels": 6, "depth": depth, "kernel_size": kernel_size, "condition_dim": condition_dim}
    return GatedPixelCNN(**options).double().eval()


def seen(net: GatedPixelCNN, height: int, width: int) -> torch.Tensor:
    """Whether the output at (y, x) changes with the input at (v, u): bool `[H, W, H, W]`."""
    x = torch.randn(1, height, width, 6, dtype=torch.float64)
    before = net(x)
    changed = torch.zeros(height, width, height, width, dtype=torch.bool)
    for v in range(height):
        for u in range(width):
            other = x.clone()
            other[0, v, u] += 1
            changed[:, :, v, u] = (net(other) != before).any(-1)[0]
    return changed


def expected(height: int, width: int, reach: int) -> torch.Tensor:
    y, x, v, u = (
        axis.float() for axis in torch.meshgrid(*(torch.arange(n) for n in (height, width) * 2), indexing="ij")
    )
    above = (y - v >= 1) & (y - v <= 1 + reach) & ((x - u).abs() <= reach)
    left = (y == v) & (x - u >= 1) & (x - u <= 1 + reach)
    return above | left


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(4, 7), (7, 4), (1, 9), (9, 1), (6, 6)])
@pytest.mark.parametrize(("depth", "kernel_size"), [(2, 3), (1, 5), (3, 3), (4, 5)])
def test_sees_all_positions_before_within_reach_and_no_other(height, width, depth, kernel_size):
    net = network(depth, kernel_size)
    assert torch.equal(seen(net, height, width), expected(height, width, net.reach))


@torch.no_grad()
def test_no_blind_spot_on_a_grid_within_reach():
    raster = torch.arange(5 * 8)
    assert torch.equal(seen(network(4, 5), 5, 8).flatten(2).flatten(0, 1), raster[:, None] > raster)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(4, 7), (1, 5), (5, 1)])
@pytest.mark.parametrize("condition_dim", [0, 3])
def test_a_position_at_a_time_equals_the_whole(height, width, condition_dim):
    net = network(3, 5, condition_dim)
    x = torch.randn(2, height, width, 6, dtype=torch.float64)
    condition = torch.randn(2, condition_dim, dtype=torch.float64) if condition_dim else None
    steps = net.steps(2, width, condition)
    before = [None, *x.flatten(1, 2).unbind(1)[:-1]]
    pieces = torch.stack([steps.advance(position) for position in before], dim=1)
    torch.testing.assert_close(pieces, net(x, condition).flatten(1, 2), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_a_condition_reaches_every_position():
    net = network(1, 3, condition_dim=2)
    x = torch.zeros(1, 3, 4, 6, dtype=torch.float64)
    a, b = (net(x, torch.tensor([[value, 0.0]], dtype=torch.float64)) for value in (0.0, 1.0))
    assert (a != b).any(-1).all()


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel_size 4"):
        network(kernel_size=4)
