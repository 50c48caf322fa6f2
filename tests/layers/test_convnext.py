"""ConvNeXt stacks: stated context and look-ahead are the true ones."""

import pytest
import torch

from audiovq.layers import ConvNeXtBlock, ConvNeXtStack


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_output_depends_on_exactly_the_stated_frames(lookahead):
    torch.manual_seed(0)
    stack = ConvNeXtStack(3, 8, depth=2, kernel_size=3, lookahead=lookahead).double()
    x = torch.randn(1, 40, 3, dtype=torch.float64, requires_grad=True)
    at = 20
    direction = torch.randn(8, dtype=torch.float64)  # a plain sum is constant under the last layer norm
    (stack(x)[0, at] * direction).sum().backward()
    seen = (x.grad[0].abs().sum(-1) > 0).nonzero().squeeze(1)
    assert seen.min() == at - stack.context
    assert seen.max() == at + lookahead


def test_a_condition_changes_the_output():
    stack = ConvNeXtStack(3, 8, depth=1, condition_dim=2)
    x = torch.randn(1, 5, 3)
    assert not torch.equal(stack(x, torch.zeros(1, 2)), stack(x, torch.ones(1, 2)))


def test_a_lookahead_beyond_the_first_layer_is_refused():
    with pytest.raises(ValueError, match="between 0 and 2"):
        ConvNeXtStack(3, 8, depth=1, lookahead=3)


def test_the_depthwise_convolution_works_in_channels_last_memory():
    # what torch chose shows in its output: a size-1 axis of stride 1 makes the input ambiguous, and it takes the other
    block = ConvNeXtBlock(8)
    layouts = []
    block.depthwise.register_forward_hook(
        lambda _module, _inputs, h: layouts.append(h.is_contiguous(memory_format=torch.channels_last))
    )
    block(torch.randn(2, 20, 8))
    assert layouts == [True]
