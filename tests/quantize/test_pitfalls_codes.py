"""Pitfalls of masks, shapes and codes: each shown in its naive form, and absent from ours.

P9   a mask between the projections        test_a_mask_fits_whatever_the_codebook_dim
P10  a mask that changes the loss          test_a_mask_that_keeps_all_changes_nothing
P11  padding that decodes to a vector,     test_padding_decodes_to_zero_and_other_codes_out_of_range_raise,
     codes out of range                    test_codes_of_a_low_precision_model_are_in_range
P12  a projection forgotten, axes mixed    test_projections_are_on_both_ways, test_layout_survives_axes_of_one_size
P13  number of levels                      test_no_levels_are_not_all_levels, test_training_heeds_the_number_of_levels,
                                           test_dropout_reaches_every_item_and_every_depth,
                                           test_any_prefix_of_the_levels_decodes
The same promises are held against every quantizer in test_contract.py.
"""

from __future__ import annotations

import math

import naive
import naive_levels
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from audiovq.quantize import FSQ, ResidualVQ, VectorQuantizer

DIM, K, Q = 6, 16, 4


def quantizer(**options: object) -> VectorQuantizer:
    return VectorQuantizer(DIM, K, **{"channel_dim": -1, "kmeans_init": False, **options})


def residual(**options: object) -> ResidualVQ:
    """Ours, all levels initialised, on rows [N, D]."""
    rvq = ResidualVQ.of(DIM, Q, K, channel_dim=-1, **options)
    for _ in range(Q):
        rvq(torch.randn(200, DIM), num_quantizers=Q)
    return rvq


def codebooks() -> list[Tensor]:
    return [torch.randn(K, DIM) / 2**level for level in range(Q)]


def depths(codes: Tensor) -> Tensor:
    """Levels used by each row of codes [N, Q]."""
    return (codes >= 0).sum(dim=1)


# P9


@pytest.mark.parametrize("codebook_dim", [3, DIM])
def test_a_mask_fits_whatever_the_codebook_dim(codebook_dim: int) -> None:
    """P9: the naive form puts the input, of dim channels, where it wants codebook_dim of them."""
    x, mask = torch.randn(20, DIM), torch.arange(20) < 12
    if codebook_dim != DIM:
        with pytest.raises(RuntimeError, match="must match the size"):
            naive.Projected(DIM, torch.randn(K, codebook_dim))(x, mask)

    vq = quantizer(codebook_dim=codebook_dim).eval()
    masked, whole = vq(x, mask), vq(x)
    assert torch.equal(masked.z_q[mask], whole.z_q[mask])
    assert (masked.z_q[~mask] == 0).all()
    assert (masked.codes[~mask] == -1).all()


# P10


@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_a_mask_that_keeps_all_changes_nothing(distance: str) -> None:
    """P10: with a mask, the naive cosine loss compares vectors of any length with codes of length 1."""
    x, every = 3 * torch.randn(50, DIM), torch.ones(50, dtype=torch.bool)
    codebook = torch.randn(K, DIM)
    assert naive.cosine_commitment(x, codebook, every) > 10 * naive.cosine_commitment(x, codebook)

    vq = quantizer(distance=distance)
    vq.codebook.copy_(F.normalize(codebook, dim=1))
    vq.eval()
    masked, plain = vq(x, every), vq(x)
    torch.testing.assert_close(masked.loss, plain.loss)
    assert torch.equal(masked.z_q, plain.z_q)


# P11


def test_padding_decodes_to_zero_and_other_codes_out_of_range_raise() -> None:
    """P11: a naive lookup takes -1 for the last row, and -2 for the one before."""
    vq = quantizer().eval()
    vq.codebook.normal_()
    textbook = naive.EMA(vq.codebook)
    for below in (-1, -2):
        assert torch.equal(textbook.decode(torch.tensor([below]))[0], vq.codebook[below])

    assert torch.equal(vq.decode(torch.tensor([3, -1])), torch.stack([vq.codebook[3], torch.zeros(DIM)]))
    for wrong in (-2, K):
        with pytest.raises(ValueError, match=f"code {wrong} at level 0"):
            vq.decode(torch.tensor([3, wrong]))


@pytest.mark.parametrize("levels", [[8, 8, 8, 6, 5], [7, 5, 5, 5, 5]])
def test_codes_of_a_low_precision_model_are_in_range(levels: list[int]) -> None:
    """P11: bfloat16 can't hold the number of a code, so that the naive one names another code, or none."""
    size = math.prod(levels)
    fsq = FSQ(len(levels), levels, channel_dim=-1).to(torch.bfloat16)
    z = 3 * torch.randn(2000, len(levels)).to(torch.bfloat16)
    z[0] = 100  # the last code
    out = fsq(z)
    textbook = naive.fsq_code_of_values(out.z_q, levels)
    assert (textbook != out.codes).double().mean() > 0.5
    assert textbook.max() >= size

    assert out.codes.min() >= 0
    assert out.codes.max() == size - 1
    assert torch.equal(fsq.decode(out.codes), out.z_q)
    exact = FSQ(len(levels), levels, channel_dim=-1)
    assert torch.equal(exact.encode(z.float()), out.codes)


# P12


@pytest.mark.parametrize("codebook_dim", [3, DIM])
def test_projections_are_on_both_ways(codebook_dim: int) -> None:
    """P12: without the projection in, naive codes are of another vector where dims are equal; else, they fail."""
    x = torch.randn(20, DIM)
    textbook = naive.Projected(DIM, torch.randn(K, codebook_dim))
    if codebook_dim == DIM:
        assert not torch.equal(textbook.decode(textbook.encode(x)), textbook(x))
    else:
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            textbook.encode(x)

    for vq in (quantizer(codebook_dim=codebook_dim).eval(), residual(codebook_dim=codebook_dim).eval()):
        assert torch.equal(vq.decode(vq.encode(x)), vq(x).z_q)
        assert torch.equal(vq.encode(x), vq(x).codes)


@pytest.mark.parametrize("channel_dim", [1, -1])
def test_layout_survives_axes_of_one_size(channel_dim: int) -> None:
    """P12: with as many items as levels, naive codes [Q, N] pass for [N, Q], and decode to something else."""
    textbook = naive_levels.Residual(codebooks())
    x = torch.randn(Q, DIM)
    assert not torch.allclose(textbook.decode(textbook.encode(x)), textbook(x).z_q)

    rvq = ResidualVQ([VectorQuantizer(Q, K, kmeans_init=False) for _ in range(Q)], channel_dim=channel_dim).eval()
    z = torch.randn(Q, Q, Q)
    codes = rvq.encode(z)
    assert torch.equal(rvq.decode(codes), rvq(z).z_q)
    first = codes.select(channel_dim, 0)  # the levels stand where the channels stood
    rows = z.movedim(channel_dim, -1)
    assert torch.equal(first, (rows[..., None, :] - rvq.levels[0].codebook).square().sum(dim=-1).argmin(dim=-1))


# P13


def test_no_levels_are_not_all_levels() -> None:
    """P13: 0 is false, and so the naive form takes all."""
    x = torch.randn(5, DIM)
    assert naive_levels.Residual(codebooks()).eval()(x, 0).codes.shape[1] == Q
    rvq = residual()
    for call in (lambda: rvq(x, num_quantizers=0), lambda: rvq.encode(x, 0)):
        with pytest.raises(ValueError, match="num_quantizers is 0"):
            call()


@pytest.mark.parametrize("n", [1, Q])
@pytest.mark.parametrize("level_dropout", [False, True])
def test_training_heeds_the_number_of_levels(n: int, level_dropout: bool) -> None:
    """P13: the naive form asks for it in eval mode only."""
    x = torch.randn(50, DIM)
    assert naive_levels.Residual(codebooks()).train()(x, 1).codes.shape[1] == Q
    out = residual(level_dropout=level_dropout)(x, num_quantizers=n)
    assert out.codes.shape == (50, n)
    assert (out.codes >= 0).all()


def test_dropout_reaches_every_item_and_every_depth() -> None:
    """P13: the naive draws leave out batches of one, items at the end of a batch, and the last level."""
    textbook = naive_levels.Residual(codebooks(), dropout=0.5).train()
    assert (torch.cat([textbook.depths(1) for _ in range(100)]) == Q).all()
    assert (torch.stack([textbook.depths(8) for _ in range(100)])[:, 4:] == Q).all()
    assert max(textbook.depth(0) for _ in range(100)) == Q - 1

    rvq = residual(level_dropout=True)
    alone = torch.cat([depths(rvq(torch.randn(1, DIM)).codes) for _ in range(100)])
    batches = torch.stack([depths(rvq(torch.randn(8, DIM)).codes) for _ in range(100)])
    for drawn in (alone, *batches.unbind(dim=1)):
        assert drawn.unique().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("n", range(1, Q + 1))
def test_any_prefix_of_the_levels_decodes(n: int) -> None:
    """P13: the naive form wants all levels, and so do those that were not trained with dropout."""
    x = torch.randn(11, DIM)
    if n < Q:
        with pytest.raises(IndexError):
            naive_levels.Residual(codebooks()).decode(torch.zeros(11, n, dtype=torch.int64))

    rvq = residual().eval()
    codes = rvq.encode(x)
    assert torch.equal(rvq.encode(x, n), codes[:, :n])
    out = rvq(x, num_quantizers=n)
    assert torch.equal(out.codes, codes[:, :n])
    assert torch.equal(rvq.decode(codes[:, :n]), out.z_q)
    padded = codes.clone()
    padded[:, n:] = -1
    assert torch.equal(rvq.decode(padded), out.z_q)
