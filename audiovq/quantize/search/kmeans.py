"""Lloyd's k-means over the rows of all ranks together, to start a codebook from data."""

import torch
from torch import Tensor

from audiovq.quantize.distributed import all_reduce_sum, sample_rows
from audiovq.quantize.search.nearest import code_stats, nearest


class NoVectorsError(ValueError):
    """A batch has no valid, finite vector, on any rank."""


def kmeans(x: Tensor, k: int, keep: Tensor, iterations: int = 10) -> tuple[Tensor, Tensor]:
    """Cluster the kept rows of x [N, D] float32 (keep: [N] bool) into k.

    Returns:
        centres [k, D] and the number of rows nearest to each [k], the same on all ranks. With fewer rows than k,
        centres repeat. Raises NoVectorsError if no row is kept on any rank.
    """
    centres = sample_rows(x, keep, k)
    if len(centres) == 0:
        raise NoVectorsError("k-means needs data: the first training batch has no valid, finite vector")
    centres = centres[torch.arange(k, device=x.device) % len(centres)]
    for _ in range(iterations):
        counts, sums = _cluster(x, centres, keep)
        centres = torch.where(counts.unsqueeze(1) > 0, sums / counts.clamp(min=1).unsqueeze(1), centres)
        empty = (counts == 0).nonzero().squeeze(1)
        if len(empty):  # start again elsewhere; counts are the same on all ranks, so all come here together
            rows = sample_rows(x, keep, len(empty))
            centres[empty[: len(rows)]] = rows
    return centres, _cluster(x, centres, keep)[0]


def _cluster(x: Tensor, centres: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    counts, sums = code_stats(nearest(x, centres), x, centres.shape[0], keep)
    all_reduce_sum(counts, sums)
    return counts, sums
