"""Residual quantization: gradients, dropped levels, prefixes, and the start level by level."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from audiovq.quantize import FSQ, ResidualVQ, VectorQuantizer

DIM, Q = 8, 4


def trained(steps: int = 8, **options: object) -> ResidualVQ:
    rvq = ResidualVQ.of(DIM, Q, 32, **options)
    for _ in range(steps):
        rvq(torch.randn(4, DIM, 50), num_quantizers=Q)
    return rvq


def test_each_level_quantizes_what_is_left() -> None:
    rvq = trained().eval()
    residual = torch.randn(2, DIM, 11)
    codes = rvq.encode(residual)
    for i, level in enumerate(rvq.levels):
        out = level(residual)
        assert torch.equal(codes[:, i], out.codes)
        residual = residual - out.z_q


def test_each_codebook_learns_from_its_own_level_only() -> None:
    rvq = trained(update="loss")
    z = torch.randn(2, DIM, 11)
    rvq(z).loss.backward()
    whole = [level.codebook.grad.clone() for level in rvq.levels]
    residual = z
    for level, gradient in zip(rvq.levels, whole, strict=True):
        level.zero_grad()
        with level.hold_updates():
            out = level(residual)
        out.loss.backward()
        torch.testing.assert_close(level.codebook.grad, gradient)
        residual = residual - out.z_q.detach()


@pytest.mark.parametrize("levels", ["shared", "each"])
def test_projections_receive_gradients(levels: str) -> None:
    if levels == "shared":
        rvq = trained(codebook_dim=3)
        projections = [rvq.project_in, rvq.project_out]
    else:
        rvq = ResidualVQ([VectorQuantizer(DIM, 32, codebook_dim=3, kmeans_init=False) for _ in range(Q)])
        projections = [p for level in rvq.levels for p in (level.project_in, level.project_out)]
    z = torch.randn(2, DIM, 11, requires_grad=True)
    rvq(z).z_q.square().sum().backward()
    assert z.grad.abs().sum() > 0
    assert all(projection.weight.grad.abs().sum() > 0 for projection in projections)


# Prefixes.


def test_more_levels_come_nearer() -> None:
    rvq = trained(30).eval()
    z = torch.randn(4, DIM, 100)
    errors = [(rvq(z, num_quantizers=n).z_q - z).square().mean().item() for n in range(1, Q + 1)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


@pytest.mark.parametrize("levels", [0, Q + 1])
def test_a_wrong_number_of_levels_does_not_decode(levels: int) -> None:
    with pytest.raises(ValueError, match=f"{levels} levels"):
        trained().decode(torch.zeros(2, levels, 5, dtype=torch.int64))


# Level dropout.


def depths(codes: Tensor) -> Tensor:
    """Levels used, [B]; asserts that an item uses the first n at all of its frames."""
    used = codes >= 0
    assert (used == used[:, :, :1]).all()
    assert (used.int().diff(dim=1) <= 0).all()
    return used[:, :, 0].sum(dim=1)


def test_each_item_draws_its_own_depth() -> None:
    rvq = trained(level_dropout=True)
    counts = torch.bincount(depths(rvq(torch.randn(2000, DIM, 3)).codes), minlength=Q + 1)
    assert counts[0] == 0
    assert (counts[1:] > 2000 / Q * 0.8).all()


def test_weights_choose_the_depths() -> None:
    rvq = trained(level_dropout=[0, 1, 0, 3])
    counts = torch.bincount(depths(rvq(torch.randn(2000, DIM, 3)).codes), minlength=Q + 1)
    assert counts.tolist()[:2] == [0, 0]
    assert counts[3] == 0
    assert counts[4] / 2000 == pytest.approx(0.75, abs=0.05)


def test_dropped_levels_add_nothing_to_output_loss_or_statistics() -> None:
    rvq = trained(level_dropout=[1, 0, 0, 1], restart_threshold=0)
    z = torch.randn(6, DIM, 20)
    before = [level.ema_counts.clone() for level in rvq.levels]
    out = rvq(z)
    deep = depths(out.codes) == Q
    assert 0 < deep.sum() < 6
    for i, level in enumerate(rvq.levels):
        counted = (level.ema_counts - 0.99 * before[i]).sum() / 0.01
        assert counted.item() == pytest.approx(20 * (6 if i == 0 else int(deep.sum())), rel=1e-3)


def test_no_level_is_dropped_in_eval_mode_or_when_their_number_is_given() -> None:
    rvq = trained(level_dropout=[1, 0, 0, 0])
    z = torch.randn(3, DIM, 5)
    assert (depths(rvq(z).codes) == 1).all()
    assert (depths(rvq(z, num_quantizers=3).codes) == 3).all()
    assert (depths(rvq.eval()(z).codes) == Q).all()


@pytest.mark.parametrize("weights", [[1, 1], [0, 0, 0, 0], [1, 1, 1, -1]])
def test_wrong_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="want 4 weights"):
        ResidualVQ.of(DIM, Q, 32, level_dropout=weights)


# Start.


def test_levels_start_one_per_step() -> None:
    rvq = ResidualVQ.of(DIM, Q, 32, level_dropout=[1, 0, 0, 0])
    z = torch.randn(4, DIM, 50)
    for step in range(1, Q + 1):
        out = rvq(z)
        assert [level.ready for level in rvq.levels] == [i < step for i in range(Q)]
        assert (depths(out.codes) == max(1, step - 1)).all()  # dropout waits until all levels exist
        assert out.z_q.isfinite().all()
        assert out.stats["perplexity"].shape == (Q,)
        if step < Q:
            with pytest.raises(RuntimeError, match="waits for k-means"):
                rvq.eval().encode(z)
            rvq.train()
    assert (depths(rvq(z).codes) == 1).all()


def test_held_updates_start_only_what_nothing_works_without() -> None:
    rvq = ResidualVQ.of(DIM, Q, 32)
    z = torch.randn(4, DIM, 50)
    with rvq.hold_updates():
        for _ in range(3):
            rvq(z)
    assert [level.ready for level in rvq.levels] == [True, False, False, False]


# Composition.


def test_levels_may_differ_in_kind_and_size() -> None:
    rvq = ResidualVQ([VectorQuantizer(3, 16), FSQ(3, [5, 5, 5], scale=0.5)])
    assert rvq.codebook_sizes == [16, 125]
    with pytest.raises(ValueError, match="different codebook sizes"):
        _ = rvq.codebook_size
    z = torch.randn(4, 3, 50)
    for _ in range(3):
        out = rvq(z)
    assert set(out.losses) == {"commitment"}
    assert torch.equal(rvq.eval().decode(rvq.encode(z)), rvq(z).z_q)


@pytest.mark.parametrize(
    ("quantizers", "message"),
    [
        ([], "at least one"),
        ([FSQ(3, [5, 5, 5]), FSQ(2, [5, 5])], "different dim"),
        ([FSQ(3, [5, 5, 5], channel_dim=2)], "leave their channel_dim"),
    ],
)
def test_levels_that_do_not_fit_are_refused(quantizers: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResidualVQ(quantizers)
