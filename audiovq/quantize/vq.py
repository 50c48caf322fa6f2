"""The vector quantizer of the VQ-VAE (arXiv 1711.00937): what `plain.py` defines, made fast and safe to train with.

It computes what `plain.py` does, which `tests/quantize/test_plain.py` holds it to, in another way:

- The search and the sums by code (`search/`) need no table of vectors by codes.
- z_q is the codebook vector itself: z_e + sg[z_q - z_e] differs from it in the last bit, and decoding would too.
- The losses state their gradients (`with_gradient`), so that they need one buffer of the input's size, and the levels
  of a `ResidualVQ` share it.
- Masked vectors have no part in anything. Counts and sums of A.1 are summed over processes.
- The averages move at once, the codebook at the end (`_move`): a `ResidualVQ` still sums its old vectors by then.
- A code that received nothing is not touched. By A.1 it stays up to rounding, until its count underflows.

Beyond the paper are the start by k-means, `restart_dead_codes`, search by cosine, the rotation gradient and
projections to another dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.quantize.base import Quantizer
from audiovq.quantize.distributed import all_reduce_sum, sample_rows
from audiovq.quantize.gradients import parts, rotate, straight_through, unit_rows, with_gradient, zero_rows_
from audiovq.quantize.output import VQOutput, perplexity, usage
from audiovq.quantize.search.kmeans import kmeans
from audiovq.quantize.search.nearest import TableCache, code_stats, direction_table, search, search_table, valid_rows

Gradient = Literal["straight-through", "rotation"]


@dataclass
class Step:
    """What one quantization of rows gives besides the vectors, before any gradient.

    Attributes:
        codes: [N], -1 where masked.
        rest: what the codes leave of the rows [N, D], 0 where masked.
        mean_square: of the rest, over valid rows; scale: 1 / (valid rows * D), what makes the sum a mean.
        stats: as `VQOutput.stats`.
        codebook_loss: eq. 3's second term, with its gradient; None with moving averages.
        update: what `_move` needs to finish the update of the codebook; None where nothing is learnt.
    """

    codes: Tensor
    rest: Tensor
    mean_square: Tensor
    scale: float | Tensor
    stats: dict[str, Tensor]
    codebook_loss: Tensor | None
    update: tuple[Tensor, Tensor, Tensor] | None


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
        distance: "l2", or "cosine": a vector gets the code of the greatest cosine.
        unit_length: with "cosine", vectors and codes are scaled to length 1 before anything else (as in ViT-VQGAN,
            arXiv 2110.04627); if False, the angle decides the search alone, as in DAC (arXiv 2306.06546).
        gradient: through the choice of a code: "straight-through", or "rotation" (arXiv 2410.06424).

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
        distance: Literal["l2", "cosine"] = "l2",
        unit_length: bool = True,
        gradient: Gradient = "straight-through",
    ) -> None:
        if codebook_size < 1 or dim < 1:
            raise ValueError(f"dim is {dim}, codebook_size is {codebook_size}; both must be at least 1")
        if update not in ("ema", "loss"):
            raise ValueError(f'update is {update!r}, want "ema" or "loss"')
        if not 0 < decay < 1:
            raise ValueError(f"decay is {decay}, want a number between 0 and 1")
        if not 0 <= restart_threshold < 1:
            raise ValueError(f"restart_threshold is {restart_threshold}, want a share of uniform use in [0, 1)")
        if distance not in ("l2", "cosine"):
            raise ValueError(f'distance is {distance!r}, want "l2" or "cosine"')
        if gradient not in ("straight-through", "rotation"):
            raise ValueError(f'gradient is {gradient!r}, want "straight-through" or "rotation"')
        codebook_dim = dim if codebook_dim is None else codebook_dim
        super().__init__(dim, codebook_dim, channel_dim)
        self.codebook_dim = codebook_dim
        self.beta = beta
        self.update = update
        self.decay = decay
        self.kmeans_init = kmeans_init
        self.restart_threshold = restart_threshold
        self.distance = distance
        self.unit_length = unit_length and distance == "cosine"
        self.gradient = gradient
        self._tables = TableCache(search_table if distance == "l2" else direction_table)

        codebook = torch.zeros(codebook_size, codebook_dim, dtype=torch.float32)
        if not kmeans_init:
            codebook = self._unit(codebook.uniform_(-1 / codebook_size, 1 / codebook_size))
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
    def codebook_buffers(self) -> list[Tensor]:
        return [self.codebook] if self.update == "ema" else []

    @property
    def training_state(self) -> dict[str, Tensor]:
        counts = {"ema_counts": torch.ones_like(self.ema_counts)}
        return counts | ({"ema_sums": self.codebook.clone()} if self.update == "ema" else {})

    @property
    def identity_gradient(self) -> bool:
        return self.codebook_dim == self.dim and self.distance == "l2" and self.gradient == "straight-through"

    def _quantize(self, x: Tensor, mask: Tensor | None, num_quantizers: int | None, items: int) -> VQOutput:
        x = self._unit(x)
        z_q = torch.empty_like(x, requires_grad=False)
        step = self._step(x.detach(), mask, vectors=z_q)
        if step.update is not None:
            self._move(*step.update)
        commitment = self.beta * step.mean_square  # eq. 3, third term
        losses = {"commitment": with_gradient(x, commitment, step.rest, 2 * self.beta * step.scale)}
        if step.codebook_loss is not None:
            losses["codebook"] = step.codebook_loss  # eq. 3, second term
        through = rotate if self.gradient == "rotation" else straight_through
        loss = sum(losses.values(), x.new_zeros(()))
        return VQOutput(through(x, z_q, mask), step.codes, loss, losses, step.stats)

    def _step(
        self, z_e: Tensor, mask: Tensor | None, rest: Tensor | None = None, vectors: Tensor | None = None
    ) -> Step:
        """Quantize rows [N, D] (unit vectors if by cosine) and, in training mode, start an update of the codebook.

        The codebook itself stays as it is until `_move`. `rest` is room for what the codes leave of z_e (it may be z_e
        itself), `vectors` for the codes' vectors, if they are wanted. Order and buffers keep memory at these two.
        """
        learn = self.training and not self._holds
        if self.training and not self.ready:
            self._initialise(z_e, mask)
            learn = False  # this batch is already in the codebook
        with torch.no_grad():
            codes = self._assign(z_e, None)
            scale: float | Tensor = 1 / max(z_e.numel(), 1)
            if mask is not None:
                codes.masked_fill_(~mask, -1)
                scale = 1 / (mask.sum().clamp(min=1) * z_e.shape[1])
            counts, sums = code_stats(codes, z_e, self.codebook_size)
        codebook = self.codebook if not self.unit_length else self._unit(self.codebook.clone())  # restarts write to it
        # The gradient of sum |z_e - e|^2 with respect to the codebook needs only what each code received.
        direction = counts.unsqueeze(1) * codebook.detach() - sums if self.update == "loss" else None
        stats = {"perplexity": perplexity(counts).view(1), "usage": usage(counts).view(1)}
        dead, fresh = counts[:0], z_e[:0]
        with torch.no_grad():
            if learn:
                self._average(counts, sums)
                dead, fresh = self.restart_dead_codes(z_e, mask)
            del sums
            rest, square = self._subtract(codes, z_e, mask, rest, vectors)
        mean_square = square * scale
        loss = None if direction is None else with_gradient(codebook, mean_square, direction, 2 * scale)
        stats["restarted"] = torch.full((1,), float(len(dead)), device=z_e.device)
        return Step(codes, rest, mean_square, scale, stats, loss, (counts > 0, dead, fresh) if learn else None)

    def _subtract(
        self, codes: Tensor, z_e: Tensor, mask: Tensor | None, rest: Tensor | None, vectors: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """rest = z_e - e and vectors = e, without what is masked; returns rest and |rest|^2."""
        rest = z_e.new_empty(z_e.shape) if rest is None else rest
        square = z_e.new_zeros(())
        for part in parts(z_e):
            e = self._lookup(codes[part])
            torch.sub(z_e[part], e, out=rest[part])
            if mask is not None:
                zero_rows_(rest[part], mask[part])
            if vectors is not None:
                vectors[part] = e if mask is None else zero_rows_(e, mask[part])
            square = square + torch.linalg.vector_norm(rest[part]).square()
        return rest, square

    def _subtract_(self, rest: Tensor, codes: Tensor) -> None:
        """rest -= e, in place."""
        for part in parts(rest):
            rest[part] -= self._lookup(codes[part])

    def _assign(self, x: Tensor, num_quantizers: int | None) -> Tensor:
        if not self.ready:
            raise RuntimeError(
                "the codebook waits for k-means on its first training batch: train for a step or load a checkpoint "
                "first, or construct the quantizer with kmeans_init=False"
            )
        return search(x, self._tables.get(self.codebook, keep=not self.training))

    def _lookup(self, codes: Tensor) -> Tensor:
        return self._unit(F.embedding(codes.clamp(min=0), self.codebook))

    def _unit(self, rows: Tensor) -> Tensor:
        return unit_rows(rows) if self.unit_length else rows

    def _average(self, counts: Tensor, sums: Tensor) -> None:
        """Sum over ranks, and move the averages of A.1 but not yet the codebook."""
        all_reduce_sum(counts, sums)
        self.ema_counts.mul_(self.decay).add_(counts, alpha=1 - self.decay)  # N_i
        if self.update == "ema":
            self.ema_sums.mul_(self.decay).add_(sums, alpha=1 - self.decay)  # m_i

    @torch.no_grad()
    def restart_dead_codes(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Give each code in too little use the place of a random valid row of x [N, D], and the weight of uniform use.

        Its averages change here. Its vector changes with those of the other codes, in `_move`, once the batch has been
        quantized by the old one.

        Returns:
            The dead codes [n] and their new vectors [n, D], the same on all ranks.
        """
        uniform = self.ema_counts.mean()
        dead = (self.ema_counts < self.restart_threshold * uniform).nonzero().squeeze(1)
        if len(dead) == 0:
            return dead, x[:0]
        rows = sample_rows(x, valid_rows(x, mask), len(dead))
        dead = dead[: len(rows)]
        self.ema_counts[dead] = uniform
        if self.update == "ema":
            self.ema_sums[dead] = rows * uniform  # otherwise the next update would undo the restart
        return dead, rows

    @torch.no_grad()
    def _move(self, used: Tensor, dead: Tensor, rows: Tensor) -> None:
        """Move used codes [K] (bool) to their averages, with update="ema", and dead codes [n] to rows [n, D]."""
        if self.update == "ema":
            # e_i = m_i / N_i. A code that received nothing stays: both sides shrank alike. So N_i >= 1 - decay wherever
            # we divide, and no smoothing is needed.
            for part in parts(self.codebook):
                mean = self._unit(self.ema_sums[part] / self.ema_counts[part].unsqueeze(1))
                self.codebook[part] = torch.where(used[part].unsqueeze(1), mean, self.codebook[part])
        if len(dead):
            self.codebook.data[dead] = rows

    @torch.no_grad()
    def _initialise(self, x: Tensor, mask: Tensor | None) -> None:
        centres, counts = kmeans(x, self.codebook_size, valid_rows(x, mask))
        codebook = self._unit(centres)
        self.codebook.data.copy_(codebook)
        self.ema_counts.copy_(counts.clamp(min=1))
        if self.update == "ema":
            self.ema_sums.copy_(codebook * self.ema_counts.unsqueeze(1))
        self.initialised.fill_(True)
        self._ready = True

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._ready = not self.initialised.is_meta and bool(self.initialised)
