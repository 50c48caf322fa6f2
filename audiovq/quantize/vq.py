"""The vector quantizer of the VQ-VAE (arXiv 1711.00937, section 3): nearest codebook vector, straight-through gradient,
and a codebook that learns by its loss (eq. 3) or by moving averages (appendix A.1)."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.quantize.base import Quantizer
from audiovq.quantize.distributed import all_reduce_sum, sample_rows
from audiovq.quantize.kmeans import kmeans
from audiovq.quantize.output import VQOutput, perplexity, usage
from audiovq.quantize.search import code_stats, nearest, valid_rows
from audiovq.quantize.straight_through import straight_through


class VectorQuantizer(Quantizer):
    """Replaces each vector by the nearest of K codebook vectors.

    Args:
        dim: channels of the input.
        codebook_size: K.
        codebook_dim: D of the codebook; if it differs from `dim`, a linear layer leads in and one out.
        channel_dim: axis of the channels.
        beta: weight of the commitment loss.
        update: "ema": codes are moving averages of the vectors given to them (A.1); "loss": the codebook is a parameter
            trained by the codebook loss (eq. 3, second term) with the model's optimizer.
        decay: gamma of A.1; also of the counts that find dead codes.
        kmeans_init: initialise the codebook by k-means on the first training batch; until then, eval mode raises.
        restart_threshold: a code used less than this share of uniform use (by the moving average) is replaced by a
            random vector of the batch; 0 = never.

    In training, results and losses come from the codebook as it was before the step. Several processes hold the same
    codebook bit for bit after every step, as long as all of them call it in training mode equally often.
    """

    codebook: Tensor
    initialised: Tensor
    ema_counts: Tensor
    ema_sums: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        codebook_dim: int | None = None,
        channel_dim: int = 1,
        beta: float = 0.25,
        update: Literal["ema", "loss"] = "ema",
        decay: float = 0.99,
        kmeans_init: bool = True,
        restart_threshold: float = 0.03,
    ) -> None:
        if codebook_size < 1 or dim < 1:
            raise ValueError(f"dim is {dim}, codebook_size is {codebook_size}; both must be at least 1")
        if update not in ("ema", "loss"):
            raise ValueError(f'update is {update!r}, want "ema" or "loss"')
        if not 0 < decay < 1:
            raise ValueError(f"decay is {decay}, want a number between 0 and 1")
        if not 0 <= restart_threshold < 1:
            raise ValueError(f"restart_threshold is {restart_threshold}, want a share of uniform use in [0, 1)")
        codebook_dim = dim if codebook_dim is None else codebook_dim
        super().__init__(dim, codebook_dim, channel_dim)
        self.codebook_dim = codebook_dim
        self.beta = beta
        self.update = update
        self.decay = decay
        self.kmeans_init = kmeans_init
        self.restart_threshold = restart_threshold

        codebook = torch.zeros(codebook_size, codebook_dim, dtype=torch.float32)
        if not kmeans_init:
            codebook.uniform_(-1 / codebook_size, 1 / codebook_size)
        if update == "ema":
            self.register_buffer("codebook", codebook)
            self.register_buffer("ema_sums", codebook.clone())
        else:
            self.codebook = nn.Parameter(codebook)
        self.register_buffer("ema_counts", torch.ones(codebook_size, dtype=torch.float32))
        self.register_buffer("initialised", torch.tensor(not kmeans_init))
        self._ready = not kmeans_init  # mirror of `initialised`, read without touching the device (or a traced graph)

    @property
    def codebook_sizes(self) -> list[int]:
        return [self.codebook.shape[0]]

    @property
    def ready(self) -> bool:
        if not self._ready:
            self._ready = bool(self.initialised)  # it may have been copied in, by load_state_dict or from another rank
        return self._ready

    @property
    def identity_gradient(self) -> bool:
        return self.codebook_dim == self.dim

    def extra_repr(self) -> str:
        return (
            f"{self.dim}, {self.codebook_size}, codebook_dim={self.codebook_dim}, channel_dim={self.channel_dim}, "
            f"beta={self.beta}, update={self.update!r}, decay={self.decay}, kmeans_init={self.kmeans_init}, "
            f"restart_threshold={self.restart_threshold}"
        )

    def _quantize(self, x: Tensor, mask: Tensor | None, num_quantizers: int | None, items: int) -> VQOutput:
        z_e = x.detach()
        learn = self.training and not self._holds
        if self.training and not self.ready:
            self._initialise(z_e, mask)
            learn = False  # this batch is already in the codebook
        codes = self._assign(z_e, num_quantizers)
        if mask is not None:
            codes = codes.masked_fill(~mask, -1)
        e = self._lookup(codes)

        losses = {"commitment": self.beta * _mean_square(x - e.detach(), mask)}  # eq. 3, third term
        if self.update == "loss":
            losses["codebook"] = _mean_square(z_e - e, mask)  # eq. 3, second term

        counts, sums = code_stats(codes, z_e, self.codebook_size)
        stats = {"perplexity": perplexity(counts).view(1), "usage": usage(counts).view(1)}
        restarted = self._learn(z_e, mask, counts, sums) if learn else 0
        stats["restarted"] = torch.full((1,), float(restarted), device=x.device)
        return VQOutput(straight_through(x, e.detach()), codes, sum(losses.values(), x.new_zeros(())), losses, stats)

    def _assign(self, x: Tensor, num_quantizers: int | None) -> Tensor:
        if not self.ready:
            raise RuntimeError(
                "the codebook waits for k-means on its first training batch: train for a step or load a checkpoint "
                "first, or construct the quantizer with kmeans_init=False"
            )
        return nearest(x, self.codebook)

    def _lookup(self, codes: Tensor) -> Tensor:
        return F.embedding(codes.clamp(min=0), self.codebook)

    @torch.no_grad()
    def _learn(self, x: Tensor, mask: Tensor | None, counts: Tensor, sums: Tensor) -> int:
        """Update moving averages and, with update="ema", the codebook; restart dead codes. Returns how many."""
        all_reduce_sum(counts, sums)
        self.ema_counts.mul_(self.decay).add_(counts, alpha=1 - self.decay)  # N_i of A.1
        if self.update == "ema":
            self.ema_sums.mul_(self.decay).add_(sums, alpha=1 - self.decay)  # m_i
            # e_i = m_i / N_i. A code that received nothing stays: both sides shrank alike. So N_i >= 1 - decay wherever
            # we divide, and no smoothing is needed.
            used = (counts > 0).unsqueeze(1)
            mean = self.ema_sums / self.ema_counts.unsqueeze(1)
            self.codebook.copy_(torch.where(used, mean, self.codebook))
        return self._restart(x, mask) if self.restart_threshold else 0

    def _restart(self, x: Tensor, mask: Tensor | None) -> int:
        """Replace codes of too little use by random rows of x, and give each the weight of a code in uniform use."""
        uniform = self.ema_counts.mean()
        dead = (self.ema_counts < self.restart_threshold * uniform).nonzero().squeeze(1)  # the same on all ranks
        if len(dead) == 0:
            return 0
        rows = sample_rows(x, valid_rows(x, mask), len(dead))
        dead = dead[: len(rows)]
        self.codebook.data[dead] = rows
        self.ema_counts[dead] = uniform
        if self.update == "ema":
            self.ema_sums[dead] = rows * uniform  # otherwise the next update would undo the restart
        return len(dead)

    @torch.no_grad()
    def _initialise(self, x: Tensor, mask: Tensor | None) -> None:
        codebook, counts = kmeans(x, self.codebook_size, valid_rows(x, mask))
        self.codebook.data.copy_(codebook)
        self.ema_counts.copy_(counts.clamp(min=1))
        if self.update == "ema":
            self.ema_sums.copy_(codebook * self.ema_counts.unsqueeze(1))
        self.initialised.fill_(True)
        self._ready = True

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._ready = not self.initialised.is_meta and bool(self.initialised)


def _mean_square(difference: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of squares over the valid rows of [N, D]; 0 if there are none."""
    if mask is None:
        return difference.square().mean() if difference.numel() else difference.sum()
    kept = difference.masked_fill(~mask.unsqueeze(1), 0)
    return kept.square().sum() / (mask.sum().clamp(min=1) * difference.shape[1])
