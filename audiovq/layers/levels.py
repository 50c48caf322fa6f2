"""Several integers at a position, one after the other: codes of several levels, or the colours of a pixel.

Autoregressive networks use this at both ends. Integers come in as one vector for each position. A position's features
go out as one distribution after the other, each conditioned on the integers before it ("depth" order).
"""

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn


class LevelEmbedding(nn.Module):
    """A vector for every code of every level; -1, which is no code, has zeros."""

    def __init__(self, codebook_sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        self.offsets = [0, *np.cumsum(codebook_sizes).tolist()]
        self.table = nn.Embedding(self.offsets[-1], dim)

    def forward(self, codes: Tensor, level: int) -> Tensor:
        """codes of one level, any shape -> `[..., dim]`."""
        vectors = self.table(codes.clamp_min(0) + self.offsets[level])
        return vectors.masked_fill((codes < 0).unsqueeze(-1), 0.0)


class DepthHead(nn.Module):
    """Logits of one level after the other, from a position's features and the embedded levels before it, summed."""

    def __init__(self, channels: int, codebook_sizes: Sequence[int]) -> None:
        super().__init__()
        levels = range(len(codebook_sizes))
        self.features = nn.ModuleList(nn.Linear(channels, channels) for _ in levels)
        self.coarser = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in levels[1:])
        self.logits = nn.ModuleList(nn.Linear(channels, size) for size in codebook_sizes)

    def forward(self, level: int, features: Tensor, coarser: Tensor) -> Tensor:
        """features, coarser: `[..., C]` -> `[..., K]`; the first level does not look at `coarser`."""
        x = self.features[level](features)
        if level:
            x = x + self.coarser[level - 1](coarser)
        return self.logits[level](F.gelu(x))
