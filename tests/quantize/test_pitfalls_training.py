"""Pitfalls of training loops, and of finite scalar quantization: each shown in its naive form, and absent from ours.

P23  checkpointing, accumulation,    test_activation_checkpointing_learns_once,
     freezing, backward              test_micro_batches_see_one_codebook, test_a_frozen_codebook_stays,
                                     test_a_step_leaves_earlier_graphs_alone
P24  ranks that drift                test_distributed.py: test_ranks_agree_after_every_step,
                                     test_ranks_of_the_naive_forms_drift
P25  one codebook in all levels      test_training_gives_the_codes_of_eval, test_levels_do_not_share_a_codebook
P26  perplexity of a batch           test_an_epoch_of_small_batches_counts_as_one_large_one
P27  FSQ: rounding, scale, table     test_every_number_of_levels_gives_as_many_values,
                                     test_finite_scalar_levels_refine_each_other,
                                     test_a_codebook_larger_than_memory_costs_nothing
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext

import naive
import naive_levels
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from audiovq.quantize import FSQ, CodeUsage, Quantizer, ResidualVQ, VectorQuantizer
from audiovq.quantize.output import perplexity, usage

DIM, K = 6, 16


def quantizer(**options: object) -> VectorQuantizer:
    """Ours on rows [N, D], with updates that are easily seen."""
    settings: dict = {"channel_dim": -1, "decay": 0.8, "kmeans_init": False, "restart_threshold": 0.5, **options}
    vq = VectorQuantizer(DIM, K, **settings)
    vq.codebook.data.normal_()
    if vq.update == "ema":
        vq.ema_sums.copy_(vq.codebook)
    return vq


def residual() -> ResidualVQ:
    return ResidualVQ([quantizer(), quantizer(), quantizer()], channel_dim=-1, level_dropout=True)


KINDS: dict[str, Callable[[], Quantizer]] = {
    "ema": quantizer,
    "loss": lambda: quantizer(update="loss"),
    "projected": lambda: quantizer(codebook_dim=3),
    "cosine": lambda: quantizer(distance="cosine"),
    "cosine-loss": lambda: quantizer(distance="cosine", update="loss"),
    "rotation": lambda: quantizer(gradient="rotation"),
    "residual": residual,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def state(module: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(dict(module.state_dict()))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


# P23


@every_kind
def test_activation_checkpointing_learns_once(kind: str) -> None:
    """P23: recomputed, the naive form learns twice. Ours is held in the first pass and learns in the second, so that
    both see one codebook: the step is that of a loop without checkpointing, to the last bit."""
    x = torch.randn(80, DIM)

    def step(vq: nn.Module, wrap: Callable) -> tuple[Tensor, dict[str, Tensor]]:
        torch.manual_seed(3)
        z = x.clone().requires_grad_()

        def forward(z: Tensor) -> Tensor:
            out = vq(z)
            return out.loss + out.z_q.square().sum()

        wrap(forward, z).backward()
        return z.grad, state(vq)

    def plainly(forward: Callable, z: Tensor) -> Tensor:
        return forward(z)

    def recomputed(forward: Callable, z: Tensor) -> Tensor:
        return checkpoint(forward, z, use_reentrant=False)

    start = torch.randn(K, DIM)
    assert not same(step(naive.EMA(start), plainly)[1], step(naive.EMA(start), recomputed)[1])

    vq = KINDS[kind]()
    other = copy.deepcopy(vq)

    def held_first(forward: Callable, z: Tensor) -> Tensor:
        contexts = (other.hold_updates(), nullcontext())
        return checkpoint(forward, z, use_reentrant=False, context_fn=lambda: contexts)

    before = state(vq)
    gradient, after = step(vq, plainly)
    checkpointed_gradient, checkpointed = step(other, held_first)
    assert not same(before, after)
    assert same(after, checkpointed)
    assert torch.equal(gradient, checkpointed_gradient)


@pytest.mark.parametrize("kind", ["ema", "loss", "projected"])
def test_micro_batches_see_one_codebook(kind: str) -> None:
    """P23: the naive codebook moves between the micro-batches of one optimizer step, so that their gradients don't add
    up to that of the whole batch; ours learns from the last one."""
    x = torch.randn(3, 40, DIM)

    def gradient(vq: nn.Module, batches: Tensor, hold: bool) -> tuple[Tensor, Tensor]:
        z = batches.clone().requires_grad_()
        codes = []
        for i, micro in enumerate(z):
            with vq.hold_updates() if hold and i < len(z) - 1 else nullcontext():
                out = vq(micro)
            codes.append(out.codes)
            ((out.loss + out.z_q.square().mean()) / len(z)).backward()
        return z.grad.flatten(0, 1), torch.cat(codes)

    start = torch.randn(K, DIM)
    whole, codes = gradient(naive.EMA(start, decay=0.5), x.view(1, 120, DIM), hold=False)
    parts, codes_of_parts = gradient(naive.EMA(start, decay=0.5), x, hold=False)
    assert not torch.equal(codes, codes_of_parts)
    assert (whole - parts).abs().max() > 0.01 * whole.abs().max()

    vq = KINDS[kind]()
    whole, codes = gradient(copy.deepcopy(vq), x.view(1, 120, DIM), hold=False)
    last_alone, accumulated = copy.deepcopy(vq), copy.deepcopy(vq)
    torch.manual_seed(4)
    parts, codes_of_parts = gradient(accumulated, x, hold=True)
    assert torch.equal(codes, codes_of_parts)
    torch.testing.assert_close(whole, parts)
    torch.manual_seed(4)
    last_alone(x[-1])
    assert same(state(accumulated), state(last_alone))


@every_kind
def test_a_frozen_codebook_stays(kind: str) -> None:
    """P23: no gradient flows into a naive codebook, so that requires_grad_(False) doesn't freeze it."""
    x = torch.randn(80, DIM) + 2
    textbook = naive.EMA(torch.randn(K, DIM)).requires_grad_(False)
    before = textbook.codebook.clone()
    textbook(x)
    assert not torch.equal(textbook.codebook, before)

    vq = KINDS[kind]()
    before = state(vq)
    vq.eval()(x)
    assert same(before, state(vq))
    vq.train()
    with vq.hold_updates(), vq.hold_updates():
        vq(x)
    assert same(before, state(vq))
    vq(x)
    assert not same(before, state(vq))


@every_kind
def test_a_step_leaves_earlier_graphs_alone(kind: str) -> None:
    """P23: a naive graph holds the codebook itself, which the next forward overwrites before backward has read it."""
    x = torch.randn(80, DIM)
    textbook = naive.DerivesItsLossFromTheTable(torch.randn(K, DIM))
    z = x.clone().requires_grad_()
    earlier = textbook(z).loss
    textbook(x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        earlier.backward()

    vq = KINDS[kind]()
    other = copy.deepcopy(vq)

    def gradients(vq: Quantizer, move_on: bool) -> list[Tensor | None]:
        torch.manual_seed(5)
        z = x.clone().requires_grad_()
        out = vq(z)
        if move_on:
            vq(x + 1)
        (out.loss + out.z_q.square().sum()).backward()
        return [z.grad, *(parameter.grad for parameter in vq.parameters())]

    torch.testing.assert_close(gradients(vq, True), gradients(other, False), rtol=0, atol=0)


# P25


@every_kind
def test_training_gives_the_codes_of_eval(kind: str) -> None:
    """P25: with one codebook that learns within the loop, later naive levels read another than they will in eval."""
    x, start = torch.randn(80, DIM), torch.randn(K, DIM)
    codes = naive_levels.residual_with_one_codebook(naive.EMA(start, decay=0.5), x, 3)
    expected = naive_levels.residual_with_one_codebook(naive.EMA(start, decay=0.5).eval(), x, 3)
    assert torch.equal(codes[:, 0], expected[:, 0])
    assert (codes[:, 2] != expected[:, 2]).double().mean() > 0.1

    vq = KINDS[kind]()
    if list(vq.parameters()):
        vq(x).loss.backward()
        torch.optim.SGD(vq.parameters(), lr=1.0).step()  # the codebook may be what an optimizer left
    levels = vq.num_quantizers if kind == "residual" else None
    expected = copy.deepcopy(vq).eval()(x, num_quantizers=levels)
    out = vq.train()(x, num_quantizers=levels)
    assert torch.equal(out.codes, expected.codes)
    assert torch.equal(out.z_q, expected.z_q)
    torch.testing.assert_close(out.loss, expected.loss)


def test_levels_do_not_share_a_codebook() -> None:
    """P25: the same mistake with our own parts is refused."""
    with pytest.raises(ValueError, match="share"):
        ResidualVQ([quantizer(channel_dim=1)] * 3)


# P26


def test_an_epoch_of_small_batches_counts_as_one_large_one() -> None:
    """P26: no batch of 7 vectors shows more than 7 codes, nor does the naive mean over any number of them."""
    codes = torch.randint(0, 50, (300, 2, 7))
    codes[:, 1] = codes[:, 1] % 5
    assert naive.mean_perplexity(list(codes[:, 0]), 50) < 7

    use = CodeUsage([50, 50])
    for batch in codes.split(1):
        use.update(batch)
    counts = torch.stack([torch.bincount(codes[:, level].flatten(), minlength=50) for level in (0, 1)])
    torch.testing.assert_close(use.compute()["perplexity"], perplexity(counts))
    assert use.compute()["perplexity"].tolist() == pytest.approx([50, 5], rel=0.03)
    assert use.compute()["usage"].tolist() == pytest.approx([usage(counts)[0].item(), 0.1])
    use.reset()
    assert use.compute()["usage"].tolist() == [0.0, 0.0]


# P27


@pytest.mark.parametrize("levels", [[3, 5, 7], [4, 6, 8], [2, 2, 2]])
def test_every_number_of_levels_gives_as_many_values(levels: list[int]) -> None:
    """P27: rounded after scaling, naive values are three; rounded without an offset, an even number is one too many."""
    line = torch.linspace(-12, 12, 5001)
    fsq = FSQ(3, levels, channel_dim=-1)
    z = line.unsqueeze(1).expand(-1, 3)
    digits = fsq.encode(z).unsqueeze(1) // fsq.place % fsq.base
    for channel, count in enumerate(levels):
        assert len(naive.fsq_values_rounded_late(line, count).unique()) == 3
        if count % 2 == 0:
            assert len(naive.fsq_digits_without_offset(line, count).unique()) == count + 1
        assert (digits[:, channel].diff() >= 0).all()  # larger input, larger digit
        assert digits[:, channel].unique().tolist() == list(range(count))
    assert torch.equal(fsq.decode(fsq.encode(z)), fsq(z).z_q)


def test_finite_scalar_levels_refine_each_other() -> None:
    """P27: at one scale for all, levels after the first round nearly everything to 0."""
    z = torch.rand(4, 3, 100) - 0.5

    def errors(scales: list[float]) -> list[float]:
        rvq = ResidualVQ([FSQ(3, [5, 5, 5], scale=scale) for scale in scales])
        return [(rvq(z, num_quantizers=n).z_q - z).square().mean().item() for n in (1, 2, 3)]

    one_scale = errors([1, 1, 1])
    assert one_scale[2] > 0.5 * one_scale[0]
    first, second, third = errors([1, 0.25, 0.25**2])
    assert first > 4 * second > 16 * third


def test_a_codebook_larger_than_memory_costs_nothing() -> None:
    """P27: a naive table of 2^48 vectors is a petabyte and more."""
    levels = [64] * 8
    with pytest.raises(RuntimeError, match="memory"):
        naive.fsq_table(levels)
    fsq = FSQ(8, levels, channel_dim=-1)
    assert fsq.codebook_size == 2**48
    out = fsq(torch.randn(100, 8))
    assert torch.equal(fsq.decode(out.codes), out.z_q)
    assert out.stats["perplexity"].item() == pytest.approx(100, rel=1e-4)
    assert not fsq.state_dict()
