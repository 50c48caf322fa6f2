"""`nearest` and `code_stats` against their plain definitions.

Rounding, ties, autocast: test_pitfalls_numerics.py. Large batches: test_search_kernel.py.
"""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from audiovq.quantize import code_stats, nearest
from audiovq.quantize.search.nearest import _search_device, _tile, search_table


def plain(x: Tensor, codebook: Tensor) -> Tensor:
    """Equation 1 in float64 with the whole N x K table."""
    return torch.cdist(x.double(), codebook.double(), compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)


def wrong_share(x: Tensor, codebook: Tensor) -> float:
    return (nearest(x, codebook) != plain(x, codebook)).double().mean().item()


@pytest.mark.parametrize(
    ("n", "k", "d"), [(1, 1, 1), (7, 3, 2), (513, 512, 8), (1025, 513, 16), (600, 1500, 5), (3, 2000, 64)]
)
def test_nearest_is_equation_1(n: int, k: int, d: int) -> None:
    x, codebook = torch.randn(n, d), torch.randn(k, d)
    codes = nearest(x, codebook)
    assert codes.dtype == torch.int64
    assert torch.equal(codes, plain(x, codebook))


@pytest.mark.parametrize(("n", "k"), [(9000, 300), (50, 5000), (8193, 4097)])
def test_the_search_for_other_devices_finds_the_same_codes(n: int, k: int) -> None:
    x, codebook = torch.randn(n, 6), torch.randn(k, 6)
    found = _search_device(x, search_table(codebook))
    assert (found != plain(x, codebook)).double().mean() < 1e-3  # rounding decides the closest calls


def test_no_rows_give_no_codes() -> None:
    assert nearest(torch.randn(0, 4), torch.randn(5, 4)).shape == (0,)


def test_tiles_are_even_so_that_none_is_a_sliver() -> None:
    assert _tile(10_000, 513, (2**16, 512)) == (255, 257)
    assert _tile(3, 512, (2**16, 512)) == (3, 512)


def test_a_global_low_precision_for_products_is_lifted_and_restored() -> None:
    before = torch.get_float32_matmul_precision()
    x, codebook = torch.randn(4000, 16), torch.randn(512, 16)
    try:
        torch.set_float32_matmul_precision("medium")
        assert wrong_share(x, codebook) < 1e-3
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_row_of_nan_or_infinity_harms_only_itself() -> None:
    x, codebook = torch.randn(600, 8), torch.randn(1100, 8)
    expected = nearest(x, codebook)
    x[3], x[5, 0], x[7] = float("nan"), float("inf"), -float("inf")
    codes = nearest(x, codebook)
    others = [i for i in range(600) if i not in (3, 5, 7)]
    assert torch.equal(codes[others], expected[others])
    assert ((codes >= 0) & (codes < 1100)).all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[N, D\] and \[K, D\]"):
        nearest(torch.randn(5, 4), torch.randn(3, 8))


def test_the_search_never_holds_a_table_of_all_scores() -> None:
    """200 000 x 4096 scores are 3.3 GB; input, codes and one tile are 6 MB."""
    resource = pytest.importorskip("resource")
    unit = 1 if sys.platform == "darwin" else 1024
    x, codebook = torch.randn(200_000, 4), torch.randn(4096, 4)
    nearest(x[:20_000], codebook)  # as large as brings in the compiled search, which takes memory itself
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    nearest(x, codebook)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 32 * 2**20


def test_code_stats_count_and_sum_what_each_code_received() -> None:
    x, codes = torch.randn(50, 3), torch.randint(0, 6, (50,))
    mask = torch.rand(50) > 0.3
    counts, sums = code_stats(codes, x, 7, mask)
    for code in range(7):
        chosen = x[(codes == code) & mask]
        assert counts[code] == len(chosen)
        torch.testing.assert_close(sums[code], chosen.sum(dim=0))


def test_code_stats_leave_out_padding_and_rows_that_are_not_finite() -> None:
    x = torch.ones(6, 2)
    x[1, 0], x[2, 1] = float("nan"), float("inf")
    codes = torch.tensor([0, 0, 1, -1, 1, 2])
    counts, sums = code_stats(codes, x, 3)
    assert counts.tolist() == [1, 1, 1]
    assert torch.equal(sums, torch.ones(3, 2))
