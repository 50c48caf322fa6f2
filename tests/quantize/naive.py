"""Quantizers as they are often written: each class and function here makes the mistake that its docstring names.

The tests in test_pitfalls_*.py show the mistake in these and its absence in `audiovq.quantize`. All work on rows
[N, D].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.quantize import VQOutput

# Search, statistics, gradient.


def nearest_expanded(x: Tensor, codebook: Tensor) -> Tensor:
    """P19, P20, P21: |x|^2 - 2 x.c + |c|^2 as it stands: far from 0 it cancels, and autocast rounds its product."""
    distance = x.square().sum(dim=1, keepdim=True) - 2 * x @ codebook.t() + codebook.square().sum(dim=1)
    return distance.argmin(dim=1)


def nearest_by_root(x: Tensor, codebook: Tensor) -> Tensor:
    """P22: the root maps neighbouring squares to one number, and the first of a false tie wins."""
    return (x[:, None] - codebook).square().sum(dim=2).sqrt().argmin(dim=1)


def one_hot_stats(codes: Tensor, x: Tensor, codebook_size: int) -> tuple[Tensor, Tensor]:
    """P18: one-hot products: NaN * 0 is NaN, so one bad row reaches every code."""
    one_hot = F.one_hot(codes, codebook_size).to(x.dtype)
    return one_hot.sum(dim=0), one_hot.t() @ x


def straight_through(z_e: Tensor, z_q: Tensor) -> Tensor:
    """P15: differs from z_q in the last bit."""
    return z_e + (z_q - z_e).detach()


def rotate(z_e: Tensor, z_q: Tensor, epsilon: float = 1e-6) -> Tensor:
    """P16: the rotation trick (arXiv 2410.06424) as a product with z_e: 0 stays 0, whatever its code is."""
    norm_e, norm_q = z_e.norm(dim=1, keepdim=True), z_q.norm(dim=1, keepdim=True)
    e, q = (z_e / (norm_e + epsilon)).detach(), (z_q / (norm_q + epsilon)).detach()
    r = F.normalize(e + q, dim=1)
    dot_r, dot_e = (z_e * r).sum(dim=1, keepdim=True), (z_e * e).sum(dim=1, keepdim=True)
    return (norm_q / (norm_e + epsilon)).detach() * (z_e - 2 * dot_r * r + 2 * dot_e * q)


# One codebook, learnt by moving averages.


class EMA(nn.Module):
    """The textbook form; its subclasses change a line each. From the pieces above it has P15 and P18 to P21."""

    def __init__(self, codebook: Tensor, *, decay: float = 0.9, count: float = 1.0, beta: float = 0.25) -> None:
        """P3: with count=0 and the first sums at the codebook, unused codes fly off; with both at 0, they fall to 0."""
        super().__init__()
        self.decay, self.beta = decay, beta
        self.register_buffer("codebook", codebook.clone())
        self.register_buffer("counts", torch.full((len(codebook),), count))
        self.register_buffer("sums", codebook.clone())

    def forward(self, x: Tensor) -> VQOutput:
        codes = nearest_expanded(x, self.codebook)
        z_q = self.codebook[codes]
        loss = self.beta * (x - z_q).square().mean()
        if self.training:
            self.learn(x.detach(), codes)
        return VQOutput(straight_through(x, z_q), codes, loss)

    def learn(self, x: Tensor, codes: Tensor) -> None:
        counts, sums = one_hot_stats(codes, x, len(self.codebook))
        self.counts.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(sums, alpha=1 - self.decay)
        self.codebook.copy_(self.sums / self.counts.clamp(min=1e-5).unsqueeze(1))

    def encode(self, x: Tensor) -> Tensor:
        return nearest_expanded(x, self.codebook)

    def decode(self, codes: Tensor) -> Tensor:
        """P11: -1, the code of padding, is Python's name of the last row."""
        return self.codebook[codes]


class RestartsTheVectorOnly(EMA):
    """P1: a dead code gets a new vector but keeps its count and sum, from which the average brings back the old one."""

    def learn(self, x: Tensor, codes: Tensor) -> None:
        dead = self.counts < 0.1
        self.codebook[dead] = x[torch.randint(len(x), (int(dead.sum()),))]
        super().learn(x, codes)


class StartsFromMeans(EMA):
    """P2: the sums are set to the clusters' means, but the counts to their sizes."""

    def __init__(self, means: Tensor, sizes: Tensor) -> None:
        super().__init__(means)
        self.counts.copy_(sizes)


class StoresSmoothedCounts(EMA):
    """P4: smoothed counts are kept, so that smoothing compounds; the codebook is a new Parameter after each step."""

    def __init__(self, codebook: Tensor, *, epsilon: float = 0.1) -> None:
        super().__init__(codebook)
        self.epsilon = epsilon
        del self.codebook
        self.codebook = nn.Parameter(codebook.clone())

    def learn(self, x: Tensor, codes: Tensor) -> None:
        counts, sums = one_hot_stats(codes, x, len(self.codebook))
        self.counts.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(sums, alpha=1 - self.decay)
        total = self.counts.sum()
        self.counts.copy_((self.counts + self.epsilon) / (total + len(self.counts) * self.epsilon) * total)
        self.codebook = nn.Parameter(self.sums / self.counts.unsqueeze(1))


class LearnsFirst(EMA):
    """P5: what comes out is the codebook after the step."""

    def forward(self, x: Tensor) -> VQOutput:
        codes = nearest_expanded(x, self.codebook)
        if self.training:
            self.learn(x.detach(), codes)
        z_q = self.codebook[codes]
        return VQOutput(straight_through(x, z_q), codes, self.beta * (x - z_q).square().mean())


class StartsInAnyMode(EMA):
    """P6: the first batch initialises the codebook, whatever the mode; until then, encode gives zeros."""

    initialised = False

    def forward(self, x: Tensor) -> VQOutput:
        if not self.initialised:
            self.codebook.copy_(x[: len(self.codebook)].detach())
            self.sums.copy_(self.codebook)
            self.initialised = True  # P8: not saved either, so a loaded codebook is initialised again
        return super().forward(x)


class CachesItsCodebook(EMA):
    """P8: the codebook is derived from sums and counts once; load_state_dict changes these, but not the copy."""

    cached: Tensor | None = None

    def encode(self, x: Tensor) -> Tensor:
        if self.cached is None:
            self.cached = self.sums / self.counts.unsqueeze(1)
        return nearest_expanded(x, self.cached)


class DerivesItsLossFromTheTable(EMA):
    """P23: the loss takes the least of all distances, so that the graph holds the codebook that the step overwrites."""

    def forward(self, x: Tensor) -> VQOutput:
        out = super().forward(x)
        out.loss = self.beta * torch.cdist(x, self.codebook).amin(dim=1).square().mean()
        return out


class AsksForRanksWhenBuilt(EMA):
    """P24: built before init_process_group it never sums over ranks."""

    def __init__(self, codebook: Tensor, **options: float) -> None:
        super().__init__(codebook, **options)
        self.distributed = dist.is_available() and dist.is_initialized()

    def learn(self, x: Tensor, codes: Tensor) -> None:
        counts, sums = one_hot_stats(codes, x, len(self.codebook))
        if self.distributed:
            dist.all_reduce(counts)
            dist.all_reduce(sums)
        self.counts.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(sums, alpha=1 - self.decay)
        self.codebook.copy_(self.sums / self.counts.unsqueeze(1))


class BroadcastsOnce(EMA):
    """P24: ranks start alike, then each averages its own data."""

    started = False

    def learn(self, x: Tensor, codes: Tensor) -> None:
        if dist.is_initialized() and not self.started:
            dist.broadcast(self.codebook, src=0)
            self.started = True
        super().learn(x, codes)


# Around one codebook: projections, masks, losses.


class Projected(nn.Module):
    """P9 and P12: the mask is applied between the projections; encode forgets the first of them."""

    def __init__(self, dim: int, codebook: Tensor) -> None:
        super().__init__()
        self.project_in = nn.Linear(dim, codebook.shape[1])
        self.project_out = nn.Linear(codebook.shape[1], dim)
        self.codebook = codebook

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        z_q = self.codebook[nearest_expanded(self.project_in(x), self.codebook)]
        if mask is not None:
            z_q = torch.where(mask.unsqueeze(1), z_q, x)
        return self.project_out(z_q)

    def encode(self, x: Tensor) -> Tensor:
        return nearest_expanded(x, self.codebook)

    def decode(self, codes: Tensor) -> Tensor:
        return self.project_out(self.codebook[codes])


def cosine_commitment(x: Tensor, codebook: Tensor, mask: Tensor | None = None) -> Tensor:
    """P10 and P17: under a mask, the input itself is compared with codes of length 1."""
    unit = F.normalize(x, dim=1)
    z_q = F.normalize(codebook, dim=1)[(unit @ F.normalize(codebook, dim=1).t()).argmax(dim=1)]
    return F.mse_loss(unit, z_q) if mask is None else (x - z_q)[mask].square().mean()


def losses_after_straight_through(z_e: Tensor, codebook: Tensor, beta: float) -> Tensor:
    """P17: z_q already carries z_e's gradient, so neither term of eq. 3 moves what it should."""
    z_q = straight_through(z_e, codebook[nearest_expanded(z_e, codebook)])
    return F.mse_loss(z_q, z_e.detach()) + beta * F.mse_loss(z_e, z_q.detach())


def losses_with_beta_on_the_codebook(z_e: Tensor, codebook: Tensor, beta: float) -> Tensor:
    """P17: beta weighs the codebook term instead of the commitment."""
    z_q = codebook[nearest_expanded(z_e, codebook)]
    return beta * F.mse_loss(z_q, z_e.detach()) + F.mse_loss(z_e, z_q.detach())


def mean_perplexity(batches: Sequence[Tensor], codebook_size: int) -> float:
    """P26: the mean over batches, none of which can show more codes than it has vectors."""
    shares = [torch.bincount(codes, minlength=codebook_size) / len(codes) for codes in batches]
    return torch.stack([torch.special.entr(share).sum().exp() for share in shares]).mean().item()


# Finite scalar quantization.


def fsq_values_rounded_late(x: Tensor, levels: int) -> Tensor:
    """P27: rounded after scaling to [-1, 1], so that any number of levels gives three."""
    return torch.tanh(x).round()


def fsq_digits_without_offset(x: Tensor, levels: int) -> Tensor:
    """P27: no offset for an even number of levels: they are symmetric about 0, and one too many."""
    return (torch.tanh(x) * (levels - 1) / 2 * (1 + 1e-3)).round().long() + levels // 2


def fsq_code_of_values(values: Tensor, levels: Sequence[int]) -> Tensor:
    """P11: the number is put together in the dtype of the values: bfloat16 holds 8 bits of it."""
    half = torch.tensor([n // 2 for n in levels]).to(values.dtype)
    places = torch.tensor(levels).cumprod(0).to(values.dtype) / torch.tensor(levels).to(values.dtype)
    return ((values * half + half) * places).sum(dim=-1).long()


def fsq_table(levels: Sequence[int]) -> Tensor:
    """P27: every code's vector, whether it occurs or not: prod(levels) rows."""
    return torch.cartesian_prod(*(torch.linspace(-1, 1, n) for n in levels))
