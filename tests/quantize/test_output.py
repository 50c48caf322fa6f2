"""Perplexity and usage, of a batch and of an epoch."""

from __future__ import annotations

import math

import pytest
import torch

from audiovq.quantize import CodeUsage, VectorQuantizer
from audiovq.quantize.output import perplexity, usage


def test_perplexity_is_exp_of_the_entropy() -> None:
    counts = torch.tensor([[1.0, 1, 1, 1], [5, 0, 0, 0], [3, 1, 0, 0], [0, 0, 0, 0]])
    skew = math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    torch.testing.assert_close(perplexity(counts), torch.tensor([4.0, 1.0, skew, 1.0]))
    assert usage(counts).tolist() == [1.0, 0.25, 0.5, 0.0]


def test_a_forward_reports_its_batch_without_padding() -> None:
    vq = VectorQuantizer(1, 4, channel_dim=-1, kmeans_init=False).eval()
    vq.codebook.copy_(torch.tensor([[0.0], [1.0], [2.0], [3.0]]))
    z = torch.tensor([0.0, 0, 1, 1, 2, 3]).unsqueeze(1).requires_grad_()
    stats = vq(z, torch.tensor([True, True, True, True, False, False])).stats
    assert stats["perplexity"].tolist() == pytest.approx([2.0])
    assert stats["usage"].tolist() == [0.5]
    assert not any(value.requires_grad for value in stats.values())


def test_padding_and_missing_levels_are_not_counted() -> None:
    use = CodeUsage([4, 8])
    use.update(torch.tensor([[[0, 1, -1]]]))  # one level of two
    assert [count.sum().item() for count in use.counts] == [2, 0]
    use.update(torch.tensor([[[0, 1]], [[7, -1]]]).movedim(0, 1).movedim(1, -1), level_dim=-1)
    assert [count.sum().item() for count in use.counts] == [4, 1]


def test_a_single_level_counts_codes_of_any_shape() -> None:
    for shape in ((6,), (2, 3), (1, 2, 3)):
        use = CodeUsage([6])
        use.update(torch.arange(6).view(shape))
        assert use.compute()["perplexity"].item() == pytest.approx(6)


def test_codes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="code 9 seen"):
        CodeUsage([4]).update(torch.tensor([9]))
    with pytest.raises(ValueError, match="3 levels"):
        CodeUsage([4, 4]).update(torch.zeros(1, 3, 5, dtype=torch.int64))
