"""Pitfalls of state and moving averages: each shown in its naive form, and absent from ours.

P1  a restart that the next step undoes        test_a_restarted_code_is_its_sample_and_survives,
                                               test_restarts_follow_data_that_jump_away
P2  k-means, and then a collapse               test_the_batch_that_initialised_the_codebook_does_not_move_it
P3  unused codes that drift                    test_an_unused_code_stays_where_it_was_to_the_last_bit
P4  smoothing that compounds, dead Parameters  test_counts_are_the_moving_average_and_nothing_else,
                                               test_an_optimizer_built_at_the_start_holds_the_live_codebook
P5  update before output                       test_output_and_loss_come_from_the_codebook_before_the_step
P6  k-means in eval mode                       test_eval_never_initialises
P7  k-means of all levels on one batch         test_every_level_starts_on_data_that_the_others_have_not_used_up
"""

from __future__ import annotations

import naive
import naive_levels
import pytest
import torch
from small import quantizer
from torch import Tensor, nn

from audiovq.quantize import ResidualVQ, VectorQuantizer


def clusters(k: int = 8, each: int = 20, dim: int = 4) -> Tensor:
    """k well separated clusters: rows [k * each, dim]."""
    return (10 * torch.randn(k, dim)).repeat_interleave(each, dim=0) + 0.01 * torch.randn(k * each, dim)


def codes_in_use(vq: nn.Module, x: Tensor) -> int:
    return len(vq.eval()(x).codes.unique())


# P1


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_a_restarted_code_is_its_sample_and_survives(update: str) -> None:
    """P1: the naive form's average undoes each restart; ours stays at its sample, and the sample's cluster holds it."""
    x = clusters()
    far = torch.full((8, 4), 1000.0)
    far[0] = x.mean(dim=0)  # takes everything

    textbook = naive.RestartsTheVectorOnly(far)
    for _ in range(40):
        textbook(x)
    assert (textbook.counts[1:] < 0.1).all()  # all were restarted in many steps
    torch.testing.assert_close(textbook.codebook[1:], far[1:])

    vq = quantizer(far, update=update, restart_threshold=0.1)
    restarted = 0
    while restarted == 0:
        restarted = int(vq(x).stats["restarted"])
    assert restarted == 7
    placed = vq.codebook.data.clone()
    assert all((x == row).all(dim=1).any() for row in placed[1:])
    assert vq(x).stats["restarted"] == 0
    # The average moves them among the data, but not back to where they came from.
    assert (vq.codebook.data - placed).norm(dim=1).max() < 0.01 * (far - placed)[1:].norm(dim=1).min()
    for _ in range(200):
        vq(x)
    assert codes_in_use(vq, x) > 4
    assert vq.codebook.abs().max() < 100


def test_restarts_follow_data_that_jump_away() -> None:
    """P1: 50 steps after the data moved, one or two of the naive form's 64 codes are in use."""
    start = torch.randn(64, 4)
    used = {}
    for name, vq in {
        "naive": naive.RestartsTheVectorOnly(start),
        "ours": quantizer(start, restart_threshold=0.1),
    }.items():
        for _ in range(50):
            vq(torch.randn(512, 4) + 30)
        used[name] = codes_in_use(vq, torch.randn(512, 4) + 30)
    assert used["naive"] < 8
    assert used["ours"] > 56


# P2


def test_the_batch_that_initialised_the_codebook_does_not_move_it() -> None:
    """P2: the naive form starts its sums at the means, and divides them by the sizes."""
    x = clusters()
    vq = VectorQuantizer(4, 8, channel_dim=-1, decay=0.9, restart_threshold=0)
    out = vq(x)
    assert torch.equal(out.z_q, vq.codebook[out.codes])
    means, sizes = vq.codebook.clone(), vq.ema_counts.clone()
    vq(x)
    torch.testing.assert_close(vq.codebook, means, rtol=0, atol=1e-5)
    torch.testing.assert_close(vq.ema_sums, means * sizes.unsqueeze(1))

    textbook = naive.StartsFromMeans(means, sizes)
    textbook(x)
    assert textbook.codebook.norm(dim=1).mean() < 0.5 * means.norm(dim=1).mean()
    for _ in range(3):
        textbook(x)
        vq(x)
    assert codes_in_use(vq, x) == len(sizes[sizes > 1])


# P3


def test_an_unused_code_stays_where_it_was_to_the_last_bit() -> None:
    """P3: with counts that start at 0, unused codes fall to 0, or fly off, after one step."""
    start = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    x = torch.tensor([[1.0, 1.0]])
    to_zero, flies_off, vq = naive.EMA(start, count=0.0), naive.EMA(start, count=0.0), quantizer(start)
    to_zero.sums.zero_()
    to_zero(x)
    flies_off(x)
    assert (to_zero.codebook[1:] == 0).all()
    assert flies_off.codebook[1:].norm(dim=1).min() > 1e4

    for _ in range(1100):  # 0.9 ** 1100 is 0 in float32: nothing of its counts is left
        vq(x)
    assert torch.equal(vq.codebook[1:], start[1:])
    vq(torch.tensor([[9.0, 2.0]]))
    torch.testing.assert_close(vq.codebook[1], torch.tensor([9.0, 2.0]))  # and it still learns


# P4


def test_counts_are_the_moving_average_and_nothing_else() -> None:
    """P4: a smoothed count that is stored is smoothed again: rare codes are pulled off their mean for good."""
    start = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    x = torch.cat([start[:1].expand(297, 2), start[1:]])  # each code has its own mean already
    textbook, vq = naive.StoresSmoothedCounts(start), quantizer(start)
    for _ in range(200):
        textbook(x)
        vq(x)
    assert (textbook.codebook[1:] - start[1:]).norm(dim=1).min() > 0.5
    torch.testing.assert_close(vq.codebook, start)
    torch.testing.assert_close(vq.ema_counts, torch.tensor([297.0, 1.0, 1.0, 1.0]))


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_an_optimizer_built_at_the_start_holds_the_live_codebook(update: str) -> None:
    """P4: a Parameter made anew in each step leaves the optimizer with one that nobody reads."""
    start, x = torch.randn(8, 4), torch.randn(30, 4)
    textbook = naive.StoresSmoothedCounts(start)
    (held,) = textbook.parameters()  # as an optimizer would
    textbook(x)
    assert held is not textbook.codebook

    vq = quantizer(start, update=update, restart_threshold=0.5)
    before = {**dict(vq.named_parameters()), **dict(vq.named_buffers())}
    for _ in range(3):
        vq(x)
    after = {**dict(vq.named_parameters()), **dict(vq.named_buffers())}
    assert all(after[name] is tensor for name, tensor in before.items())


# P5


def test_output_and_loss_come_from_the_codebook_before_the_step() -> None:
    """P5: the naive form returns, and computes its loss from, vectors that have already moved towards the batch."""
    start = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    x = torch.tensor([[1.0, 1.0], [9.0, 1.0]])
    expected = 0.25 * (x - start).square().mean()
    late = naive.LearnsFirst(start)(x)
    assert (late.z_q - start).abs().max() > 0.01
    assert late.loss < 0.95 * expected

    vq = quantizer(start)
    out = vq(x)
    assert not torch.equal(vq.codebook, start)
    assert torch.equal(out.z_q, start)
    torch.testing.assert_close(out.loss, expected)


# P6


def test_eval_never_initialises() -> None:
    """P6: a batch of validation initialises the naive codebook, and its encode before that gives zeros."""
    x = torch.randn(20, 4)
    textbook = naive.StartsInAnyMode(torch.zeros(8, 4)).eval()
    assert (textbook.encode(x) == 0).all()
    textbook(x)
    assert textbook.codebook.abs().sum() > 0

    vq = VectorQuantizer(4, 8, channel_dim=-1).eval()
    before = vq.codebook.clone()
    for call in (vq, vq.encode):
        with pytest.raises(RuntimeError, match="train for a step or load a checkpoint"):
            call(x)
    assert torch.equal(vq.codebook, before)
    assert not vq.ready


# P7


def test_every_level_starts_on_data_that_the_others_have_not_used_up() -> None:
    """P7: 300 vectors and 256 codes: the first naive level leaves next to nothing, and later ones get empty codes."""
    levels, k = 4, 256
    fresh = torch.randn(4000, 8)
    residual, used = fresh, []
    for codebook in naive_levels.start_all_levels(torch.randn(300, 8), levels, k):
        codes = naive.nearest_expanded(residual, codebook)
        used.append(len(codes.unique()) / k)
        residual = residual - codebook[codes]
    assert max(used[1:]) < 0.5

    rvq = ResidualVQ.of(8, levels, k, channel_dim=-1)
    for _ in range(levels):
        rvq(torch.randn(300, 8))
    assert rvq.ready
    assert rvq.eval()(fresh).stats["usage"].min() > 0.9
