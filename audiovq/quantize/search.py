"""Two functions under every quantizer: `nearest` finds each vector's code, `code_stats` sums what each code received.

Equations 1 and 2 of arXiv 1711.00937, without an N x K table: scores live in one small tile that stays in cache.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

_CPU_TILE = (512, 512)  # rows x codes: 1 MB of float32 scores fits a core's L2 cache
_DEVICE_TILE = (8192, 4096)  # 128 MB: large enough to fill a GPU, small against the features themselves


def nearest(x: Tensor, codebook: Tensor) -> Tensor:
    """Index of the codebook vector with the least Euclidean distance to each row of `x`.

    Args:
        x: vectors [N, D], any floating type; computed in float32 whatever autocast says.
        codebook: [K, D].

    Returns:
        codes [N] int64 in 0..K-1. The lowest index wins a tie. A row with NaN gets some valid index and harms no other.

    Two calls that hold the same row in batches of different size may round its scores differently in the last bit, so
    a row that lies midway between two codes to within 1e-6 can be given to either.
    """
    if x.ndim != 2 or codebook.ndim != 2 or x.shape[1] != codebook.shape[1]:
        raise ValueError(f"nearest: x is {list(x.shape)}, codebook is {list(codebook.shape)}; need [N, D] and [K, D]")
    return torch.ops.audiovq.nearest(x.detach(), codebook.detach())


def code_stats(codes: Tensor, x: Tensor, codebook_size: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """How many rows each code received and their sum: n_i and sum_j z_ij of appendix A.1.

    Args:
        codes: [N] int64; -1 marks a row without a code.
        x: [N, D] float32.
        codebook_size: K.
        mask: [N] bool, True = counts; None = all.

    Returns:
        counts [K] and sums [K, D], float32. Rows that are masked, have no code, or hold NaN or infinity are left out.
    """
    keep = valid_rows(x, mask) & (codes >= 0)
    # Rows left out land in one extra bin that is cut off: no N x D copy, and NaN never meets another row.
    bins = torch.where(keep, codes, codebook_size)
    counts = x.new_zeros(codebook_size + 1).index_add_(0, bins, x.new_ones(x.shape[0]))
    sums = x.new_zeros(codebook_size + 1, x.shape[1]).index_add_(0, bins, x)
    return counts[:codebook_size], sums[:codebook_size]


def valid_rows(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Which rows of x [N, D] are finite and not masked: [N] bool. (A row's sum is finite only if all of it is.)"""
    finite = x.sum(dim=1).isfinite()
    return finite if mask is None else finite & mask


def _nearest(x: Tensor, codebook: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False), _full_float32(x.device):
        # argmin |x - c|^2 = argmax x.c - |c|^2 / 2. Both sides lose the codebook's mean first: distances don't change,
        # but data far from the origin would otherwise drown its differences in rounding.
        codebook = codebook.float()
        mean = codebook.mean(dim=0)
        centred = codebook - mean
        bias = centred.square().sum(dim=1).mul_(-0.5)
        search = _search_numpy if x.device.type == "cpu" else _search_torch
        return search(x, mean, centred, bias)


def _fake_nearest(x: Tensor, codebook: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], dtype=torch.int64)


# An operator of its own, so that torch.export and torch.compile take the search as one node. The decorator
# torch.library.custom_op would do the same, but its first call imports the compiler: seconds before any output.
torch.library.define("audiovq::nearest", "(Tensor x, Tensor codebook) -> Tensor", tags=torch.Tag.pt2_compliant_tag)
torch.library.impl("audiovq::nearest", "default", _nearest)
torch.library.register_fake("audiovq::nearest", _fake_nearest)


def _search_numpy(x: Tensor, mean: Tensor, centred: Tensor, bias: Tensor) -> Tensor:
    """The CPU search: torch multiplies, numpy takes argmax of the same memory (ten times faster than torch's)."""
    rows, width = _tile(x.shape[0], centred.shape[0], _CPU_TILE)
    scores = torch.empty(rows * width)
    codes = np.empty(x.shape[0], dtype=np.int64)
    for start in range(0, x.shape[0], rows):
        block = x[start : start + rows].float() - mean
        n = block.shape[0]
        best = codes[start : start + n]
        best_score = None
        for first in range(0, centred.shape[0], width):
            part = centred[first : first + width]
            k = part.shape[0]
            # A contiguous view, so that numpy doesn't copy it; rows of the tile are the scores of one vector.
            tile = torch.addmm(bias[first : first + k], block, part.t(), out=scores[: n * k].view(n, k)).numpy()
            index = tile.argmax(axis=1)
            if centred.shape[0] <= width:
                best[:] = index
                continue
            score = tile[np.arange(n), index]
            if best_score is None:
                best[:], best_score = index, score
            else:
                better = score > best_score  # strictly, so that the lowest index wins a tie
                best[better] = index[better] + first
                best_score[better] = score[better]
    return torch.from_numpy(codes)


def _search_torch(x: Tensor, mean: Tensor, centred: Tensor, bias: Tensor) -> Tensor:
    """The plain definition of the tiled search, for every device but the CPU."""
    rows, width = _tile(x.shape[0], centred.shape[0], _DEVICE_TILE)
    codes = torch.empty(x.shape[0], dtype=torch.int64, device=x.device)
    for start in range(0, x.shape[0], rows):
        block = x[start : start + rows].float() - mean
        best_score, best = torch.addmm(bias[:width], block, centred[:width].t()).max(dim=1)
        for first in range(width, centred.shape[0], width):
            last = first + width
            score, index = torch.addmm(bias[first:last], block, centred[first:last].t()).max(dim=1)
            better = score > best_score
            best = torch.where(better, index + first, best)
            best_score = torch.where(better, score, best_score)
        codes[start : start + rows] = best
    return codes


def _tile(n: int, k: int, largest: tuple[int, int]) -> tuple[int, int]:
    """Rows and codes of a tile; codes are shared out evenly, so that no tile is a sliver with other rounding."""
    tiles = -(-k // largest[1])
    return max(1, min(n, largest[0])), -(-k // tiles)


@contextmanager
def _full_float32(device: torch.device) -> Iterator[None]:
    """Turn off TF32 and bfloat16 inside float32 products: they change about one index in a hundred."""
    matmul: Any = getattr(torch.backends.mkldnn if device.type == "cpu" else torch.backends.cuda, "matmul", None)
    if hasattr(matmul, "fp32_precision"):  # torch >= 2.9: the older call raises once somebody has used this one
        before, full = matmul.fp32_precision, "ieee"

        def choose(precision: str) -> None:
            matmul.fp32_precision = precision

    else:
        before, full, choose = torch.get_float32_matmul_precision(), "highest", torch.set_float32_matmul_precision
    if before in (full, "none"):
        yield
        return
    choose(full)
    try:
        yield
    finally:
        choose(before)
