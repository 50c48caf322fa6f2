"""The fused bfloat16 layers give what the stack's own give, forwards and backwards, up to bfloat16's rounding."""

import pytest
import torch

from audiovq.layers import WaveNetStack
from audiovq.layers.wavenet.bf16 import GatedLayers


def make_stack(**options):
    torch.manual_seed(0)
    sizes = {"channels": 16, "gate_channels": 12, "skip_channels": 20, "kernel_size": 2, "dilations": [1, 2, 4, 1, 2]}
    stack = WaveNetStack(**(sizes | {"out_channels": 8, "condition_dim": 6} | options))
    stack.head = lambda skips: skips  # a ReLU that a rounding switches would drown the comparison
    return stack


def outputs_and_gradients(stack, x, condition, bfloat16):
    """Output, then the gradients of the input, the condition and every weight, by name."""
    inputs = {"x": x.clone().requires_grad_()}
    if condition is not None:
        inputs["condition"] = condition.clone().requires_grad_()
    stack.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        y = stack(inputs["x"], inputs.get("condition"))
    pull = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (y.float() * pull).sum().backward()
    tensors = {"y": y.detach().float()} | {k: v.grad for k, v in inputs.items()}
    # of the last layer's residual there is none
    return tensors | {k: p.grad.clone() for k, p in stack.named_parameters() if p.grad is not None}


def distances(a, b):
    assert a.keys() == b.keys()
    return {k: float((a[k] - b[k]).norm() / b[k].norm()) for k in b}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel_size": 3, "dilations": [2, 1, 8]},
        {"dilations": [4]},
        {"condition_dim": 0},
        {"dilations": [64, 1]},  # longer than the sound
    ],
)
def test_it_is_as_close_to_float32_as_the_stacks_layers_under_autocast(options):
    stack = make_stack(**options)
    x = torch.randn(3, 48, 16)
    condition = torch.randn(3, 4, 6) if options.get("condition_dim", 6) else None
    exact = outputs_and_gradients(stack, x, condition, bfloat16=False)
    fused = outputs_and_gradients(stack, x, condition, bfloat16=True)
    assert all(fused[name].dtype == exact[name].dtype for name in exact)
    stack.forward = stack.skips  # what it does without autocast
    autocast = distances(outputs_and_gradients(stack, x, condition, bfloat16=True), exact)
    for name, distance in distances(fused, exact).items():
        assert distance < 2 * autocast[name] + 0.002, name  # those keep the residual path in float32


def test_threads_share_the_batch_without_changing_a_bit():
    stack, x, condition = make_stack(), torch.randn(5, 48, 16), torch.randn(5, 4, 6)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = outputs_and_gradients(stack, x, condition, bfloat16=True)
        torch.set_num_threads(3)
        three = outputs_and_gradients(stack, x, condition, bfloat16=True)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one["y"], three["y"])
    assert max(distances(three, one).values()) < 0.01  # the products' sums go in another order


def test_a_graph_can_be_gone_through_twice():
    stack = make_stack()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = stack(torch.randn(1, 16, 16), torch.randn(1, 2, 6)).float().square().mean()
    weight = stack.wavenet_layers[0].taps.weight
    first, second = (torch.autograd.grad(loss, weight, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_without_autocast_the_stacks_layers_run(monkeypatch):
    def refuse(*args):
        raise AssertionError("float32 must not go through bfloat16")

    monkeypatch.setattr(GatedLayers, "apply", refuse)
    make_stack()(torch.randn(1, 16, 16), torch.randn(1, 2, 6))
