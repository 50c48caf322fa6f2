"""Residual quantization: each level quantizes what the levels before it left over (SoundStream, arXiv 2107.03312)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.quantize.base import Quantizer
from audiovq.quantize.output import VQOutput
from audiovq.quantize.straight_through import straight_through
from audiovq.quantize.vq import VectorQuantizer


class ResidualVQ(Quantizer):
    """A stack of quantizers; z_q is the sum of what its levels give, and any prefix of the levels decodes.

    Args:
        quantizers: one per level, all of the same `dim`, taking channels on axis 1 of [N, C].
        dim: channels of the input; if it differs from the levels' dim, one linear layer leads in and one out.
        level_dropout: in training, each item of the batch uses its first n levels only, so that few levels decode well.
            True draws n uniformly from 1..Q; a sequence gives the Q weights of n = 1..Q; False uses all.
        channel_dim: axis of the channels; codes have the levels there: [B, C, F] -> [B, Q, F].

    Gradients: residuals are taken from detached outputs, so the commitment loss of every level reaches the input, and
    one straight-through step around the sum makes d z_q / d z exactly 1. Levels with a gradient of their own (FSQ, or
    projections) keep it instead, and pass it on through the residuals. Losses are summed over levels.

    Codebooks that wait for k-means are initialised one level per training step, each on the residual of levels that
    exist; until then the later levels are left out, with code -1.
    """

    def __init__(
        self,
        quantizers: Sequence[Quantizer],
        *,
        dim: int | None = None,
        level_dropout: bool | Sequence[float] = False,
        channel_dim: int = 1,
    ) -> None:
        if not quantizers:
            raise ValueError("ResidualVQ needs at least one quantizer")
        dims = {quantizer.dim for quantizer in quantizers}
        if len(dims) > 1:
            raise ValueError(f"levels have different dim {sorted(dims)}; all need the same")
        if any(quantizer.channel_dim not in (1, -1) for quantizer in quantizers):
            raise ValueError("levels work on rows [N, C]: leave their channel_dim at 1 and set the stack's")
        inner = dims.pop()
        super().__init__(inner if dim is None else dim, inner, channel_dim)
        self.levels = nn.ModuleList(quantizers)
        self.level_weights = _level_weights(level_dropout, len(quantizers))

    @classmethod
    def of(
        cls,
        dim: int,
        num_quantizers: int,
        codebook_size: int | Sequence[int],
        *,
        codebook_dim: int | None = None,
        level_dropout: bool | Sequence[float] = False,
        channel_dim: int = 1,
        **options: Any,
    ) -> ResidualVQ:
        """A stack of `VectorQuantizer`s with these options; `codebook_dim` projects once, around all levels."""
        sizes = [codebook_size] * num_quantizers if isinstance(codebook_size, int) else list(codebook_size)
        if len(sizes) != num_quantizers:
            raise ValueError(f"codebook_size has {len(sizes)} entries, num_quantizers is {num_quantizers}")
        levels = [VectorQuantizer(codebook_dim or dim, size, **options) for size in sizes]
        return cls(levels, dim=dim, level_dropout=level_dropout, channel_dim=channel_dim)

    @property
    def num_quantizers(self) -> int:
        return len(self.levels)

    @property
    def codebook_sizes(self) -> list[int]:
        return [level.codebook_size for level in self._levels()]

    @property
    def ready(self) -> bool:
        return all(level.ready for level in self._levels())

    @property
    def identity_gradient(self) -> bool:
        return isinstance(self.project_in, nn.Identity) and all(level.identity_gradient for level in self._levels())

    def extra_repr(self) -> str:
        weights = None if self.level_weights is None else self.level_weights.tolist()
        return f"dim={self.dim}, level_weights={weights}, channel_dim={self.channel_dim}"

    def _quantize(self, x: Tensor, mask: Tensor | None, num_quantizers: int | None, items: int) -> VQOutput:
        active = self._active_levels()
        last = min(num_quantizers or self.num_quantizers, active)
        depths = None
        if self.training and num_quantizers is None and self.ready:  # all levels start on whole batches
            depths = self._draw_depths(items, x.shape[0], x.device)  # [N], the same for all rows of an item

        identity = all(level.identity_gradient for level in self._levels())
        residual, total = x, torch.zeros_like(x)
        codes = torch.full((x.shape[0], num_quantizers or self.num_quantizers), -1, device=x.device)
        outputs = []
        for i, level in enumerate(self._levels()[:last]):
            keep = mask
            if depths is not None:
                keep = depths > i if mask is None else (depths > i) & mask
            out = level(residual, keep)
            part = out.z_q.detach() if identity else out.z_q
            residual, total = residual - part, total + part
            codes[:, i] = out.codes
            outputs.append(out)

        losses: dict[str, Tensor] = {}
        for out in outputs:
            for name, value in out.losses.items():
                losses[name] = losses[name] + value if name in losses else value
        idle = codes.shape[1] - last
        stats = {name: F.pad(torch.cat([out.stats[name] for out in outputs]), (0, idle)) for name in outputs[0].stats}
        loss = sum(losses.values(), x.new_zeros(()))
        return VQOutput(straight_through(x, total) if identity else total, codes, loss, losses, stats)

    def _assign(self, x: Tensor, num_quantizers: int | None) -> Tensor:
        residual, codes = x, []
        for level in self._levels()[:num_quantizers]:
            codes.append(level._encode_rows(residual))
            residual = residual - level._decode_rows(codes[-1])
        return torch.stack(codes, dim=1)

    def _lookup(self, codes: Tensor) -> Tensor:
        inner = self._levels()[0].dim
        total = torch.zeros(codes.shape[0], inner, dtype=torch.float32, device=codes.device)
        for level, of_level in zip(self._levels(), codes.unbind(dim=1), strict=False):
            total = total + level._decode_rows(of_level)  # the order of forward: the sum is the same to the last bit
        return total

    def _levels(self) -> list[Quantizer]:
        return list(self.levels)  # type: ignore[arg-type]

    def _has_level_axis(self) -> bool:
        return True

    def _active_levels(self) -> int:
        """How many levels take part: in training, those that are ready and the one that this step initialises."""
        if not self.training:
            return self.num_quantizers
        waiting = [i for i, level in enumerate(self._levels()) if not level.ready]
        if not waiting:
            return self.num_quantizers
        return max(1, waiting[0] if self._holds else waiting[0] + 1)

    def _draw_depths(self, items: int, rows: int, device: torch.device) -> Tensor | None:
        """How many levels each row uses, drawn per item: [N]. None = all."""
        if self.level_weights is None:
            return None
        depths = torch.multinomial(self.level_weights, items, replacement=True) + 1 if items else torch.empty(0)
        return depths.to(device).repeat_interleave(rows // max(items, 1))


def _level_weights(level_dropout: bool | Sequence[float], num_quantizers: int) -> Tensor | None:
    if isinstance(level_dropout, bool):
        return torch.ones(num_quantizers) if level_dropout else None
    weights = torch.tensor(list(level_dropout), dtype=torch.float32)
    if len(weights) != num_quantizers or (weights < 0).any() or weights.sum() <= 0:
        raise ValueError(f"level_dropout is {list(level_dropout)}, want {num_quantizers} weights >= 0, not all 0")
    return weights
