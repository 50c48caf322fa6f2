"""Quantizers side by side: which code stands where, which prefixes decode, losses and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from audiovq.quantize import FSQ, GroupedVQ, Quantizer, ResidualVQ, SplitVQ, VectorQuantizer

DIM = 12


def trained(quantizer: Quantizer) -> Quantizer:
    for _ in range(8):
        quantizer(torch.randn(4, DIM, 50))
    return quantizer.eval()


def grouped_residual(**options: object) -> GroupedVQ:
    return trained(GroupedVQ([ResidualVQ.of(4, 3, 16, **options), ResidualVQ.of(8, 2, 32, **options)]))


def split(**options: object) -> SplitVQ:
    return trained(
        SplitVQ(
            [
                ResidualVQ.of(DIM, 2, 16, codebook_dim=4, **options),
                ResidualVQ.of(DIM, 3, 32, codebook_dim=5, **options),
            ]
        )
    )


# Groups.


def test_each_group_quantizes_its_own_channels() -> None:
    vq = trained(GroupedVQ([VectorQuantizer(4, 16), VectorQuantizer(8, 32)]))
    z = torch.randn(2, DIM, 11)
    out = vq(z)
    first, second = vq.parts[0](z[:, :4]), vq.parts[1](z[:, 4:])
    assert vq.codebook_sizes == [16, 32]
    assert torch.equal(out.codes, torch.stack([first.codes, second.codes], dim=1))
    assert torch.equal(out.z_q, torch.cat([first.z_q, second.z_q], dim=1))


def test_codes_come_level_by_level_and_group_by_group_within_a_level() -> None:
    vq = grouped_residual()
    z = torch.randn(2, DIM, 11)
    narrow, wide = vq.parts[0].encode(z[:, :4]), vq.parts[1].encode(z[:, 4:])
    expected = torch.stack([narrow[:, 0], wide[:, 0], narrow[:, 1], wide[:, 1], narrow[:, 2]], dim=1)
    assert vq.codebook_sizes == [16, 32, 16, 32, 16]
    assert torch.equal(vq.encode(z), expected)


@pytest.mark.parametrize(("n", "narrow", "wide"), [(2, 1, 1), (3, 2, 1), (4, 2, 2), (5, 3, 2)])
def test_a_prefix_is_a_prefix_of_every_group(n: int, narrow: int, wide: int) -> None:
    vq = grouped_residual()
    z = torch.randn(2, DIM, 11)
    codes = vq.encode(z)
    out = vq(z, num_quantizers=n)
    assert torch.equal(vq.encode(z, n), codes[:, :n])
    assert torch.equal(out.codes, codes[:, :n])
    assert torch.equal(out.z_q, vq.decode(codes[:, :n]))
    parts = [vq.parts[0](z[:, :4], num_quantizers=narrow).z_q, vq.parts[1](z[:, 4:], num_quantizers=wide).z_q]
    assert torch.equal(out.z_q, torch.cat(parts, dim=1))
    assert out.stats["perplexity"].shape == (n,)


def test_a_prefix_that_lacks_a_group_is_refused() -> None:
    vq = grouped_residual()
    z = torch.randn(2, DIM, 11)
    for call in (lambda: vq.encode(z, 1), lambda: vq(z, num_quantizers=1)):
        with pytest.raises(ValueError, match="num_quantizers is 1, want 2 to 5"):
            call()
    with pytest.raises(ValueError, match="codes have 1 levels, want one for each of 2 groups"):
        vq.decode(vq.encode(z)[:, :1])


def test_the_loss_is_the_mean_square_over_all_channels() -> None:
    vq = trained(GroupedVQ([VectorQuantizer(4, 16), VectorQuantizer(8, 32)]))
    z = torch.randn(2, DIM, 11)
    out = vq(z)
    torch.testing.assert_close(out.losses["commitment"], 0.25 * (z - out.z_q).square().mean())
    assert torch.equal(out.loss, out.losses["commitment"])


def test_the_gradient_of_groups_is_exactly_one() -> None:
    z = torch.randn(2, DIM, 11, requires_grad=True)
    gradient = torch.randn(2, DIM, 11)
    vq = grouped_residual().train()
    assert vq.identity_gradient
    vq(z).z_q.backward(gradient)
    assert torch.equal(z.grad, gradient)


def test_a_projection_leads_into_the_groups() -> None:
    vq = GroupedVQ([FSQ(2, [5, 5]), FSQ(3, [5, 5, 5])], dim=DIM)
    z = torch.randn(2, DIM, 11, requires_grad=True)
    vq(z).z_q.square().sum().backward()
    assert vq.project_in.weight.shape == (5, DIM)
    assert vq.project_in.weight.grad.abs().sum() > 0
    assert not vq.identity_gradient


def test_levels_dropped_in_training_are_the_same_at_all_frames_of_an_item() -> None:
    vq = GroupedVQ([ResidualVQ.of(6, 3, 16, level_dropout=True, kmeans_init=False) for _ in range(2)])
    codes = vq(torch.randn(16, DIM, 20)).codes
    used = codes >= 0
    assert (used == used[:, :, :1]).all()
    assert 0 < used[:, 4].float().mean() < 1
    assert used[:, :2].all()


def test_groups_start_side_by_side_level_after_level() -> None:
    vq = GroupedVQ([ResidualVQ.of(6, 3, 16) for _ in range(2)])
    assert not vq.ready
    for step in range(1, 4):
        codes = vq(torch.randn(4, DIM, 50)).codes
        assert ((codes >= 0).all(dim=(0, 2)) == (torch.arange(6) < 2 * max(1, step - 1))).all()
    assert vq.ready


# Parts on the same input.


def test_split_quantizers_see_the_same_input_and_add_up() -> None:
    vq = split()
    z = torch.randn(2, DIM, 11)
    outputs = [part(z) for part in vq.parts]
    out = vq(z)
    assert vq.codebook_sizes == [16, 16, 32, 32, 32]
    assert torch.equal(out.codes, torch.cat([part.codes for part in outputs], dim=1))
    assert torch.equal(out.z_q, outputs[0].z_q + outputs[1].z_q)
    torch.testing.assert_close(out.loss, outputs[0].loss + outputs[1].loss)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_any_prefix_of_a_split_decodes(n: int) -> None:
    vq = split()
    z = torch.randn(2, DIM, 11)
    codes = vq.encode(z)
    out = vq(z, num_quantizers=n)
    assert torch.equal(vq.encode(z, n), codes[:, :n])
    assert torch.equal(vq.decode(codes[:, :n]), out.z_q)
    expected = vq.parts[0](z, num_quantizers=min(n, 2)).z_q
    if n > 2:
        expected = expected + vq.parts[1](z, num_quantizers=n - 2).z_q
    assert torch.equal(out.z_q, expected)


def test_gradients_of_split_quantizers_add_up() -> None:
    vq = split()

    def gradient(part: Quantizer) -> Tensor:
        z = torch.linspace(-1, 1, 2 * DIM * 11).view(2, DIM, 11).requires_grad_()
        part(z).z_q.sum().backward()
        return z.grad

    torch.testing.assert_close(gradient(vq), gradient(vq.parts[0]) + gradient(vq.parts[1]))


# Refusals.


@pytest.mark.parametrize("kind", [GroupedVQ, SplitVQ])
def test_parts_that_do_not_fit_are_refused(kind: type) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__} needs at least one quantizer"):
        kind([])
    with pytest.raises(ValueError, match="leave the quantizers' channel_dim at 1"):
        kind([FSQ(3, [5, 5, 5], channel_dim=-1)])
    with pytest.raises(ValueError, match=f"parts of {kind.__name__} share a quantizer"):
        kind([FSQ(3, [5, 5, 5])] * 2)


def test_split_parts_of_different_dim_are_refused() -> None:
    with pytest.raises(ValueError, match=r"different dim \[2, 3\]"):
        SplitVQ([FSQ(3, [5, 5, 5]), FSQ(2, [5, 5])])
