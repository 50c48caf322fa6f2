"""Several levels as they are often written: as in naive.py, each docstring names the mistake."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from naive import EMA, nearest_expanded, one_hot_stats, straight_through
from torch import Tensor, nn

from audiovq.quantize import VQOutput


class Residual(nn.Module):
    """P14: each level has a straight-through gradient of its own. With detached residuals they add up; without, only
    the first level's commitment reaches the input."""

    def __init__(self, codebooks: Sequence[Tensor], *, detach: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.codebooks, self.detach, self.dropout = list(codebooks), detach, dropout

    def forward(self, x: Tensor, n: int = 0) -> VQOutput:
        residual, total, codes, loss = x, torch.zeros_like(x), [], x.new_zeros(())
        for codebook in self.codebooks[: self.depth(n)]:
            codes.append(nearest_expanded(residual, codebook))
            z_q = straight_through(residual, codebook[codes[-1]])
            loss = loss + (residual - z_q.detach()).square().mean()
            residual, total = residual - (z_q.detach() if self.detach else z_q), total + z_q
        return VQOutput(total, torch.stack(codes, dim=1), loss)

    def depth(self, n: int) -> int:
        """P13: 0 means all; training ignores n; randint excludes its upper end, so the last level is never drawn."""
        if self.training and self.dropout:
            return int(torch.randint(1, len(self.codebooks), ()))
        return len(self.codebooks) if self.training else n or len(self.codebooks)

    def depths(self, items: int) -> Tensor:
        """P13: the first int(items * dropout) items draw their number of levels: none of a batch of one does."""
        depths = torch.full((items,), len(self.codebooks))
        dropped = int(items * self.dropout)
        depths[:dropped] = torch.randint(1, len(self.codebooks) + 1, (dropped,))
        return depths

    def encode(self, x: Tensor) -> Tensor:
        """P12: levels first, whereas decode wants them last; nothing tells when the two are of one size."""
        return self(x).codes.t()

    def decode(self, codes: Tensor) -> Tensor:
        return sum(codebook[codes[:, level]] for level, codebook in enumerate(self.codebooks))


def start_all_levels(x: Tensor, levels: int, codebook_size: int) -> list[Tensor]:
    """P7: k-means of all levels on one batch: each takes most of what a batch of few vectors has."""
    codebooks = []
    for _ in range(levels):
        codebook = x[torch.randperm(len(x))[:codebook_size]]
        for _ in range(10):
            counts, sums = one_hot_stats(nearest_expanded(x, codebook), x, codebook_size)
            codebook = torch.where(counts.unsqueeze(1) > 0, sums / counts.unsqueeze(1), codebook)
        codebooks.append(codebook)
        x = x - codebook[nearest_expanded(x, codebook)]
    return codebooks


def residual_with_one_codebook(vq: EMA, x: Tensor, levels: int) -> Tensor:
    """P25: a shared codebook that learns within the loop has moved before the next level reads it."""
    codes = []
    for _ in range(levels):
        out = vq(x)
        codes.append(out.codes)
        x = x - out.z_q.detach()
    return torch.stack(codes, dim=1)
