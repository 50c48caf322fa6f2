"""What quantizers need from torch.distributed, decided at call time: nothing happens in a single process.

Every rank makes the same calls in the same order and receives bit-identical results; no call depends on local data.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks of the default group; 1 if there is none."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_reduce_sum(*tensors: Tensor) -> None:
    """Replace each tensor (one dtype, one device) by its sum over ranks, in one message."""
    if world_size() == 1:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def sample_rows(x: Tensor, keep: Tensor, count: int) -> Tensor:
    """Draw up to `count` distinct rows from the kept rows of x [N, D] of all ranks together.

    Args:
        x: [N, D], N may differ between ranks.
        keep: [N] bool.
        count: the same on all ranks.

    Returns:
        [min(count, kept rows of all ranks), D], the same on all ranks. Randomness is rank 0's default CPU generator.
    """
    rows = keep.nonzero().squeeze(1)
    if world_size() == 1:
        return x[rows[torch.randperm(len(rows))[:count].to(x.device)]]
    sizes = torch.zeros(world_size(), dtype=torch.int64, device=x.device)
    sizes[dist.get_rank()] = len(rows)
    dist.all_reduce(sizes)
    picks = torch.randperm(int(sizes.sum()))[:count].to(x.device)  # drawn everywhere, so that generators stay in step
    dist.broadcast(picks, src=0)
    local = picks - sizes[: dist.get_rank()].sum()
    mine = (local >= 0) & (local < len(rows))
    drawn = x.new_zeros(len(picks), x.shape[1])
    drawn[mine] = x[rows[local[mine]]]
    dist.all_reduce(drawn)  # each row is non-zero on one rank only: the sum is exact
    return drawn
