"""The WaveNet stack: strictly causal, complete within its receptive field, conditions repeated frame by frame."""

import pytest
import torch

from audiovq.layers import WaveNetStack
from audiovq.layers.wavenet.steps import WaveNetSteps


def make_stack(**options):
    torch.manual_seed(0)
    defaults = {
        "channels": 6,
        "gate_channels": 5,
        "skip_channels": 7,
        "kernel_size": 2,
        "dilations": [1, 2, 4],
        "out_channels": 3,
    }
    return WaveNetStack(**(defaults | options)).double()


def test_output_depends_on_exactly_its_receptive_field():
    stack = make_stack(kernel_size=3, dilations=[1, 2, 4, 1])
    x = torch.randn(1, 40, 6, dtype=torch.float64, requires_grad=True)
    at = 30
    stack(x)[0, at].sum().backward()
    seen = (x.grad[0].abs().sum(-1) > 0).nonzero().squeeze(1).tolist()
    assert seen == list(range(at - stack.receptive_field + 1, at + 1))


def test_one_layer_is_the_papers_formula():
    stack = make_stack(dilations=[2], condition_dim=4)
    layer = stack.wavenet_layers[0]
    x, c = torch.randn(1, 6, 6, dtype=torch.float64), torch.randn(1, 3, 4, dtype=torch.float64)
    t, frame = 5, 2  # two samples a frame
    pre = layer.taps.weight @ torch.cat([x[0, t - 2], x[0, t]]) + layer.taps.bias + layer.condition.weight @ c[0, frame]
    gated = torch.tanh(pre[:5]) * torch.sigmoid(pre[5:])
    torch.testing.assert_close(stack(x, c)[0, t], stack.head(stack.skip(gated)))


def test_a_condition_acts_from_its_frame_on_and_not_before():
    stack = make_stack(condition_dim=4)
    x, c = torch.randn(1, 12, 6, dtype=torch.float64), torch.randn(1, 3, 4, dtype=torch.float64)
    changed = c.clone()
    changed[:, 1] += 1
    same = (stack(x, c) == stack(x, changed)).all(dim=-1)[0]
    assert same[:4].all()
    assert not same[4:8].any()


@pytest.mark.parametrize(("kernel_size", "dilations"), [(2, [1, 2, 4, 1]), (3, [1, 3]), (1, [1, 1]), (2, [2])])
def test_step_by_step_gives_what_a_whole_pass_gives(kernel_size, dilations):
    stack = make_stack(kernel_size=kernel_size, dilations=dilations, condition_dim=4)
    x, c = torch.randn(3, 20, 6, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    steps = WaveNetSteps(stack, 3, c)
    with torch.inference_mode():
        pieces = torch.stack([steps.advance(one) for one in x.unbind(1)], dim=1)
        torch.testing.assert_close(pieces, stack(x, c.unsqueeze(1)))
        bare = make_stack(kernel_size=kernel_size, dilations=dilations)
        steps = WaveNetSteps(bare, 3, None)
        pieces = torch.stack([steps.advance(one) for one in x.unbind(1)], dim=1)
        torch.testing.assert_close(pieces, bare(x))
