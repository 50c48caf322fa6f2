"""Lookup-free quantization (MAGVIT-2, arXiv 2310.05737): each channel gives its sign as one bit, the bits are the code.

An entropy loss keeps bits decided and codes in use; it is computed exactly, and without an N x K table.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from audiovq.quantize.base import Quantizer
from audiovq.quantize.distributed import all_reduce_sum, world_size
from audiovq.quantize.gradients import straight_through
from audiovq.quantize.output import VQOutput, code_use, mean_square
from audiovq.quantize.search.nearest import valid_rows

_JOINT_BITS = 16  # bits whose joint distribution is held at once: 2^16 numbers, and two tables of N x 2^8


class LFQ(Quantizer):
    """Replaces each channel by +scale where it is positive and by -scale elsewhere; bit i of the code is channel i's.

    Args:
        dim: channels of the input; if not `bits`, a linear layer leads in and one out.
        bits: channels that are quantized; the codebook has 2^bits codes.
        channel_dim: axis of the channels.
        scale: half the step. Levels of a `ResidualVQ` need about half that of the one before.
        beta: weight of the commitment loss.
        entropy_weight: weight of the entropy loss E[H(q(z))] - H[E(q(z))], in nats. The first term, `entropy`, asks
            each vector to decide for a code; the second, `diversity`, asks the batch to use all codes alike.
        temperature: of the soft assignment q(c | z) ~ exp(-|z - c|^2 / (temperature scale^2)).

    Under q the bits of one vector are independent, so H(q(z)) is the sum of the bits' entropies. The mean E(q(z)) is
    no product; with its bits in two halves it is A^T B / N, where A and B [N, 2^(bits / 2)] hold the halves' joint
    probabilities. That is exact up to 16 bits; more are cut into parts of at most 16, whose entropies are added up:
    an upper bound of H[E(q(z))], equal to it if the parts are independent over the batch (the paper's section 3.1).
    Several processes, in training, take the mean over all of their batches.
    """

    place: Tensor

    def __init__(
        self,
        dim: int,
        bits: int,
        *,
        channel_dim: int = 1,
        scale: float = 1.0,
        beta: float = 0.25,
        entropy_weight: float = 0.1,
        temperature: float = 1.0,
    ) -> None:
        if not 1 <= bits <= 62:
            raise ValueError(f"bits is {bits}, want 1 to 62: codes are int64")
        if scale <= 0 or temperature <= 0:
            raise ValueError(f"scale is {scale}, temperature is {temperature}; want positive numbers")
        super().__init__(dim, bits, channel_dim)
        self.bits = bits
        self.scale = scale
        self.beta = beta
        self.entropy_weight = entropy_weight
        self.temperature = temperature
        self.register_buffer("place", torch.arange(bits), persistent=False)  # integers: no cast touches them

    @property
    def codebook_sizes(self) -> list[int]:
        return [2**self.bits]

    @property
    def identity_gradient(self) -> bool:
        return self.bits == self.dim

    def _quantize(self, x: Tensor, mask: Tensor | None, num_quantizers: int | None, items: int) -> VQOutput:
        if mask is not None:
            x = x.masked_fill(~mask.unsqueeze(1), 0)
        codes = self._assign(x.detach(), num_quantizers)
        z_q = self._lookup(codes)
        if mask is not None:
            codes, z_q = codes.masked_fill(~mask, -1), z_q.masked_fill(~mask.unsqueeze(1), 0)
        losses = {"commitment": self.beta * mean_square(x - z_q, mask)}
        if self.entropy_weight:
            logits = x * (4 / (self.scale * self.temperature))  # of a bit being 1: (|z + s|^2 - |z - s|^2) / T s^2
            losses["entropy"] = self.entropy_weight * _mean_entropy(logits, mask)
            losses["diversity"] = -self.entropy_weight * _entropy_of_mean(logits, mask, reduce=self.training)
        stats = code_use(codes[valid_rows(x.detach(), mask)], self.codebook_size)
        return VQOutput(straight_through(x, z_q), codes, sum(losses.values(), x.new_zeros(())), losses, stats)

    def _assign(self, x: Tensor, num_quantizers: int | None) -> Tensor:
        return ((x > 0).long() << self.place).sum(dim=1)

    def _lookup(self, codes: Tensor) -> Tensor:
        bits = (codes.clamp(min=0).unsqueeze(1) >> self.place) & 1
        return (bits * 2 - 1).to(torch.float32) * self.scale


def _mean_entropy(logits: Tensor, mask: Tensor | None) -> Tensor:
    """E[H(q(z))]: the sum of the bits' entropies, meaned over valid rows of logits [N, bits]; nats."""
    entropy = (F.softplus(logits) - logits * logits.sigmoid()).sum(dim=1)
    if mask is None:
        return entropy.mean() if len(entropy) else entropy.sum()
    return entropy.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)


def _entropy_of_mean(logits: Tensor, mask: Tensor | None, *, reduce: bool = False) -> Tensor:
    """H[E(q(z))] over valid rows of logits [N, bits], summed over parts of at most 16 bits; nats. `reduce`: all ranks'
    rows (all must call it)."""
    rows = logits.new_tensor(float(len(logits))) if mask is None else mask.sum().to(logits.dtype)
    total = logits.new_zeros(())
    for part in logits.chunk(-(-logits.shape[1] // _JOINT_BITS), dim=1):
        half = part.shape[1] // 2
        first, second = _joint(part[:, :half]), _joint(part[:, half:])
        if mask is not None:
            first = first * mask.unsqueeze(1)
        sums = first.t() @ second  # [2^half, 2^rest]: the rows' joint distributions, added up
        mean = _mean_over_ranks(sums, rows) if reduce else sums / rows.clamp(min=1)
        # A code of probability 0 has the entropy 0 but an infinite slope.
        total = total + torch.special.entr(mean.clamp(min=1e-30)).sum()
    return total


def _joint(logits: Tensor) -> Tensor:
    """Joint distribution of independent bits: logits [N, b] -> [N, 2^b]."""
    table = logits.new_ones(logits.shape[0], 1)
    for one, zero in zip(logits.sigmoid().unbind(dim=1), (-logits).sigmoid().unbind(dim=1), strict=True):
        table = torch.cat([table * zero.unsqueeze(1), table * one.unsqueeze(1)], dim=1)
    return table


def _mean_over_ranks(sums: Tensor, rows: Tensor) -> Tensor:
    """Sum of all ranks' sums over their rows. Ranks average their gradients, so this rank's share counts W times."""
    all_sums, all_rows = sums.detach().clone(), rows.clone()
    all_reduce_sum(all_sums, all_rows)
    share = sums * (world_size() / all_rows.clamp(min=1))
    return share + (all_sums / all_rows.clamp(min=1) - share).detach()
