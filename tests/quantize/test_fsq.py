"""Finite scalar quantization (arXiv 2309.15505): digits, values, gradient."""

from __future__ import annotations

import math

import pytest
import torch

from audiovq.quantize import FSQ


@pytest.mark.parametrize("levels", [[2], [3], [8, 5, 5, 5], [2, 3, 4], [7, 5, 5, 5, 5]])
def test_every_code_decodes_to_its_own_vector_and_back(levels: list[int]) -> None:
    fsq = FSQ(len(levels), levels)
    codes = torch.arange(fsq.codebook_size)
    values = fsq.decode(codes)
    assert fsq.codebook_size == math.prod(levels)
    assert len(values.unique(dim=0)) == len(codes)
    assert (values.abs() <= 1).all()
    for channel, count in enumerate(levels):
        assert len(values[:, channel].unique()) == count
    # tanh(z) (L - 1) / 2 is rounded: an input beyond the value's own place on that curve finds the same digit.
    digits = torch.stack([codes // math.prod(levels[:i]) % n for i, n in enumerate(levels)], dim=1)
    assert torch.equal(fsq.decode((digits * fsq.place).sum(dim=1)), values)


def test_odd_levels_round_the_bounded_input() -> None:
    fsq = FSQ(2, [5, 7], channel_dim=-1)
    z = torch.randn(500, 2)
    half = torch.tensor([2.0, 3.0])
    expected = (torch.tanh(z) * half * 1.001).round() / half
    torch.testing.assert_close(fsq(z).z_q, expected)
    assert torch.equal(fsq(torch.zeros(1, 2)).z_q, torch.zeros(1, 2))


def test_the_gradient_is_that_of_the_bound() -> None:
    fsq = FSQ(2, [5, 7], channel_dim=-1)
    z = torch.randn(50, 2, requires_grad=True)
    fsq(z).z_q.sum().backward()
    torch.testing.assert_close(z.grad, 1.001 * (1 - torch.tanh(z.detach()) ** 2))


def test_scale_stretches_input_and_output_alike() -> None:
    z = torch.randn(50, 3)
    one, small = FSQ(3, [8, 5, 5], channel_dim=-1), FSQ(3, [8, 5, 5], channel_dim=-1, scale=0.25)
    assert torch.equal(one.encode(z), small.encode(z * 0.25))
    torch.testing.assert_close(one(z).z_q * 0.25, small(z * 0.25).z_q)


def test_extreme_inputs_give_codes_in_range() -> None:
    fsq = FSQ(2, [8, 3], channel_dim=-1)
    z = torch.tensor([[1e30, -1e30], [float("inf"), float("-inf")], [float("nan"), 0.0]])
    codes = fsq.encode(z)
    assert ((codes >= 0) & (codes < 24)).all()
    assert torch.equal(codes[0], codes[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"levels": [5, 1]}, "at least 2"), ({"levels": []}, "at least 2"), ({"levels": [2**32, 2**32]}, "int64")],
)
def test_impossible_levels_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FSQ(2, **arguments)
