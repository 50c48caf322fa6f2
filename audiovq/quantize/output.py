"""What every quantizer returns, what its losses and statistics are computed with, and a counter of code use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from audiovq.quantize.distributed import all_reduce_sum


@dataclass
class VQOutput:
    """The result of a quantizer's forward.

    Attributes:
        z_q: quantized features, the shape of the input, in the module's dtype; 0 at masked positions.
        codes: int64, the input's shape without the channel axis (`ResidualVQ`: levels stand on the channel axis);
            -1 at masked positions and dropped levels.
        loss: scalar to add to the training loss; the sum of `losses`.
        losses: its terms by name, weights included: `commitment` (eq. 3, third term) and `codebook` (second term);
            `LFQ` adds `entropy` and `diversity`.
        stats: detached figures of this batch on this process, each [num_quantizers]: `perplexity` (exp of the entropy
            of code use), `usage` (share of codes used), `restarted` (codes replaced in this step).
    """

    z_q: Tensor
    codes: Tensor
    loss: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    stats: dict[str, Tensor] = field(default_factory=dict)


def mean_square(difference: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of squares over the rows of [N, D] that mask [N] keeps (None: all); 0 if there are none."""
    if mask is None:
        return difference.square().mean() if difference.numel() else difference.sum()
    kept = difference.masked_fill(~mask.unsqueeze(1), 0)
    return kept.square().sum() / (mask.sum().clamp(min=1) * difference.shape[1])


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of code use: counts [..., K] -> [...], between 1 and K (1 where nothing was counted)."""
    share = counts.double() / counts.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.special.entr(share).sum(dim=-1).exp().to(torch.float32)


def usage(counts: Tensor) -> Tensor:
    """Share of codes that were used at least once: counts [..., K] -> [...]."""
    return (counts > 0).to(torch.float32).mean(dim=-1)


def code_use(codes: Tensor, codebook_size: int) -> dict[str, Tensor]:
    """`stats` of one level from the codes that occur, [N] without -1: the codebook may be far larger than memory."""
    counts = codes.unique(return_counts=True)[1]
    return {
        "perplexity": perplexity(counts).view(1),
        "usage": torch.tensor([counts.numel() / codebook_size], device=codes.device),
        "restarted": torch.zeros(1, device=codes.device),
    }


class CodeUsage:
    """Counts code use level by level over an epoch; perplexity of one batch is bounded by the batch's size.

    >>> use = CodeUsage(quantizer.codebook_sizes)
    >>> for batch in epoch:
    ...     use.update(quantizer.encode(batch))
    >>> use.compute(reduce=True)["perplexity"]  # [num_quantizers]
    """

    def __init__(self, codebook_sizes: Sequence[int]) -> None:
        self.codebook_sizes = list(codebook_sizes)
        self.reset()

    def reset(self) -> None:
        """Forget everything counted so far."""
        self.counts = [torch.zeros(size, dtype=torch.int64) for size in self.codebook_sizes]

    def update(self, codes: Tensor, level_dim: int = 1) -> None:
        """Count codes [B, Q, F] (levels on `level_dim`), or codes of any shape if there is one level; -1 is skipped."""
        levels = codes.unsqueeze(0) if len(self.counts) == 1 else codes.movedim(level_dim, 0)
        if levels.shape[0] > len(self.counts):
            raise ValueError(f"codes have {levels.shape[0]} levels, {len(self.counts)} are counted")
        for level, size in zip(range(levels.shape[0]), self.codebook_sizes, strict=False):
            flat = levels[level].reshape(-1)
            counted = torch.bincount(flat[flat >= 0], minlength=size)
            if counted.numel() > size:
                raise ValueError(f"level {level}: code {counted.numel() - 1} seen, codebook has {size}")
            self.counts[level] = self.counts[level].to(counted.device) + counted

    def compute(self, *, reduce: bool = False) -> dict[str, Tensor]:
        """`perplexity` and `usage`, each [num_quantizers] float32; `reduce` sums over all ranks (all must call it)."""
        counts = [count.clone() for count in self.counts]
        if reduce:
            all_reduce_sum(*counts)
        return {
            "perplexity": torch.stack([perplexity(count) for count in counts]),
            "usage": torch.stack([usage(count) for count in counts]),
        }
