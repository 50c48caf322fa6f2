"""Pitfall P8, state that outlives a change of the codebook from outside: shown in naive forms, and absent from ours."""

from __future__ import annotations

import copy
from collections.abc import Callable

import naive
import pytest
import torch
from small import quantizer
from torch import Tensor, nn

from audiovq.quantize import VectorQuantizer


def negate_by_optimizer(vq: VectorQuantizer, negative: Tensor) -> None:
    if isinstance(vq.codebook, nn.Parameter):
        vq.codebook.grad = 2 * vq.codebook.detach()
        torch.optim.SGD([vq.codebook], lr=1.0).step()
    else:
        vq.codebook.sub_(2 * vq.codebook)


def assign(vq: VectorQuantizer, negative: Tensor) -> None:
    vq.load_state_dict({**vq.state_dict(), "codebook": negative}, assign=True)


def replace(vq: VectorQuantizer, negative: Tensor) -> None:
    vq.codebook = nn.Parameter(negative) if vq.update == "loss" else negative


CHANGES: dict[str, Callable[[VectorQuantizer, Tensor], object]] = {
    "load_state_dict": lambda vq, negative: vq.load_state_dict({**vq.state_dict(), "codebook": negative}),
    "load_state_dict(assign=True)": assign,
    "in place": lambda vq, negative: vq.codebook.detach().copy_(negative),
    "in place, on .data": lambda vq, negative: vq.codebook.data.copy_(negative),
    "one row, on .data": lambda vq, negative: [vq.codebook.data[i].neg_() for i in range(len(negative))],
    "by an optimizer": negate_by_optimizer,
    "replaced": replace,
}


@pytest.mark.parametrize("update", ["ema", "loss"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_codebook_that_was_changed_is_the_codebook_in_use(
    change: Callable[[VectorQuantizer, Tensor], object], update: str
) -> None:
    """P8: the naive form's derived codebook outlives load_state_dict, not to speak of changes in place."""
    x, start = torch.randn(50, 4), torch.randn(8, 4)
    one, other = naive.CachesItsCodebook(torch.randn(8, 4)), naive.CachesItsCodebook(start)
    stale = other.encode(x)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.encode(x), stale)
    assert not torch.equal(one.encode(x), stale)

    vq = quantizer(start, update=update).eval()
    before, of_negative = vq.encode(x), vq.encode(-x)  # whatever is kept between calls is kept now
    twin = copy.deepcopy(vq)
    assert not torch.equal(before, of_negative)
    change(vq, -start)
    assert torch.equal(vq.codebook, -start)
    assert torch.equal(vq.encode(x), of_negative)
    assert torch.equal(vq(x).codes, of_negative)
    assert torch.equal(twin.encode(x), before)


def test_a_step_is_seen_by_the_next_one() -> None:
    """P8, with training steps and calls in eval mode in turn, one codebook all along."""
    vq = quantizer(torch.randn(8, 4), restart_threshold=0.5)
    for step in range(5):
        x = torch.randn(50, 4) + step
        nearest_code = (x[:, None] - vq.codebook).square().sum(dim=2).argmin(dim=1)
        assert torch.equal(vq.eval().encode(x), nearest_code)
        assert torch.equal(vq.train()(x).codes, nearest_code)


def test_a_codebook_lent_for_one_call_is_used_in_that_call_only() -> None:
    """P8, with torch.func.functional_call, which swaps tensors for the time of a call."""
    x, start = torch.randn(50, 4), torch.randn(8, 4)
    vq = quantizer(start).eval()
    before, of_negative = vq.encode(x), vq.encode(-x)
    lent = torch.func.functional_call(vq, {"codebook": -start}, (x,))
    assert torch.equal(lent.codes, of_negative)
    assert torch.equal(vq.encode(x), before)


def test_a_codebook_made_in_inference_mode_is_used() -> None:
    """P8: tensors made there have no version that could tell of changes."""
    x = torch.randn(50, 4)
    with torch.inference_mode():
        vq = quantizer(torch.randn(8, 4)).eval()
        before, of_negative = vq.encode(x), vq.encode(-x)
        vq.codebook.neg_()
        assert torch.equal(vq.encode(x), of_negative)
        assert not torch.equal(before, of_negative)

    made_before = quantizer(torch.randn(8, 4)).eval()
    with torch.inference_mode():
        before = made_before.encode(x)
    z = x.clone().requires_grad_()  # and what is kept from there serves where gradients are
    out = made_before(z)
    assert torch.equal(out.codes, before)
    (out.loss + out.z_q.sum()).backward()
    assert z.grad.isfinite().all()


def test_a_loaded_codebook_is_not_initialised_again() -> None:
    """P8: the naive flag isn't saved, so that the first batch after loading replaces the codebook."""
    trained = naive.StartsInAnyMode(torch.zeros(8, 4))
    trained(torch.randn(50, 4))
    loaded = naive.StartsInAnyMode(torch.zeros(8, 4)).eval()
    loaded.load_state_dict(trained.state_dict())
    loaded(torch.randn(50, 4) + 100)
    assert loaded.codebook.min() > 90

    vq = VectorQuantizer(4, 8, channel_dim=-1)
    untrained = copy.deepcopy(vq.state_dict())
    vq(torch.randn(50, 4))
    ours = VectorQuantizer(4, 8, channel_dim=-1)
    ours.load_state_dict(vq.state_dict())
    with ours.hold_updates():
        ours(torch.randn(50, 4) + 100)
    assert torch.equal(ours.codebook, vq.codebook)
    x = torch.randn(50, 4)
    assert torch.equal(ours.eval().encode(x), vq.eval().encode(x))
    ours.load_state_dict(untrained)  # and the other way round: it waits for data again
    assert not ours.ready
