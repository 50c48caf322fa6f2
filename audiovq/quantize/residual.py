"""Residual quantization: each level quantizes what the levels before it left over (SoundStream, arXiv 2107.03312)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.config import defaults
from audiovq.quantize.base import Quantizer
from audiovq.quantize.gradients import parts, rotate, straight_through, with_gradient, zero_rows_
from audiovq.quantize.output import VQOutput
from audiovq.quantize.vq import Gradient, VectorQuantizer


class ResidualVQ(Quantizer):
    """A stack of quantizers; z_q is the sum of what its levels give, and any prefix of the levels decodes.

    Args:
        quantizers: one per level, all of the same `dim`, taking channels on axis 1 of [N, C], of one level each.
        dim: channels of the input; if it differs from the levels' dim, one linear layer leads in and one out.
        level_dropout: in training, each item of the batch uses its first n levels only, so that few levels decode well.
            True draws n uniformly from 1..Q; a sequence gives the Q weights of n = 1..Q; False uses all.
        channel_dim: axis of the channels; codes have the levels there: [B, C, F] -> [B, Q, F].
        gradient: through the sum: "straight-through", or "rotation" (arXiv 2410.06424).

    Gradients: residuals are taken from detached outputs, so the commitment loss of every level reaches the input, and
    one straight-through step around the sum makes d z_q / d z exactly 1. If a level has a gradient of its own (FSQ, or
    projections), all levels keep theirs instead and pass it on through the residuals; `gradient` has no say then.
    Losses are summed over levels.

    Codebooks that wait for k-means are initialised one level per training step, each on what the levels before it
    leave; all but the first take part from the step after. Until then their codes are -1.
    """

    def __init__(
        self,
        quantizers: Sequence[Quantizer],
        *,
        dim: int | None = None,
        level_dropout: bool | Sequence[float] = False,
        channel_dim: int = 1,
        gradient: Gradient = "straight-through",
    ) -> None:
        if not quantizers:
            raise ValueError("ResidualVQ needs at least one quantizer")
        if any(quantizer.num_quantizers > 1 or isinstance(quantizer, ResidualVQ) for quantizer in quantizers):
            raise ValueError("a level must be a quantizer of one level: give the levels of a stack one by one")
        if len({id(quantizer) for quantizer in quantizers}) < len(quantizers):
            raise ValueError("levels share a quantizer: its update at one would change the codes of the next")
        if gradient not in ("straight-through", "rotation"):
            raise ValueError(f'gradient is {gradient!r}, want "straight-through" or "rotation"')
        dims = {quantizer.dim for quantizer in quantizers}
        if len(dims) > 1:
            raise ValueError(f"levels have different dim {sorted(dims)}; all need the same")
        if any(quantizer.channel_dim not in (1, -1) for quantizer in quantizers):
            raise ValueError("levels work on rows [N, C]: leave their channel_dim at 1 and set the stack's")
        inner = dims.pop()
        super().__init__(inner if dim is None else dim, inner, channel_dim)
        self.gradient = gradient
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
        **options: Any,
    ) -> ResidualVQ:
        """A stack of `VectorQuantizer`s; `codebook_dim` projects once, around all levels.

        Options are those of the stack (`level_dropout`, `channel_dim`, `gradient`) and of every level.
        """
        sizes = [codebook_size] * num_quantizers if isinstance(codebook_size, int) else list(codebook_size)
        if len(sizes) != num_quantizers:
            raise ValueError(f"codebook_size has {len(sizes)} entries, num_quantizers is {num_quantizers}")
        of_stack = {name: options.pop(name) for name in defaults(cls) if name in options}
        levels = [VectorQuantizer(codebook_dim or dim, size, **options) for size in sizes]
        return cls(levels, dim=dim, **of_stack)

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
        unprojected = isinstance(self.project_in, nn.Identity)
        identity = all(level.identity_gradient for level in self._levels())
        return unprojected and self.gradient == "straight-through" and identity

    def extra_repr(self) -> str:
        weights = None if self.level_weights is None else self.level_weights.tolist()
        return f"dim={self.dim}, level_weights={weights}, channel_dim={self.channel_dim}, gradient={self.gradient!r}"

    def _quantize(self, x: Tensor, mask: Tensor | None, num_quantizers: int | None, items: int) -> VQOutput:
        waiting = self.training and not self._levels()[0].ready
        active = self._active_levels()
        wanted = num_quantizers or self.num_quantizers
        masks: list[Tensor | None] = [mask] * min(wanted, active)
        if self.training and num_quantizers is None and active == self.num_quantizers:  # all start on whole batches
            depths = self._draw_depths(items, x.shape[0], x.device)  # [N], the same for all rows of an item
            if depths is not None:
                deeper = [depths > i if mask is None else (depths > i) & mask for i in range(1, active)]
                masks = [mask, *deeper]
        # A level starts on a whole batch, but not on one that started another: that is too well known.
        starts = self.training and not self._holds and not waiting and len(masks) == active < self.num_quantizers
        next_level = self._levels()[active] if starts else None
        bare = self._bare_levels()
        if bare is None:
            out = self._sum_of_outputs(x, masks, next_level)
        else:
            out = self._sum_of_steps(bare, x, masks, next_level)
        idle = wanted - len(masks)
        out.codes = F.pad(out.codes, (0, idle), value=-1)
        out.stats = {name: F.pad(value, (0, idle)) for name, value in out.stats.items()}
        return out

    def _sum_of_steps(
        self, levels: list[VectorQuantizer], x: Tensor, masks: list[Tensor | None], next_level: Quantizer | None
    ) -> VQOutput:
        """Levels without a gradient of their own: one for the sum, and one buffer for that of all commitment losses.

        The sum is taken from the codes at the end, before the codebooks move: so it can stand where the rest stood,
        and memory stays at 2 N x D.
        """
        rest, left = x.detach(), None
        pull = torch.zeros_like(rest) if torch.is_grad_enabled() and x.requires_grad else None
        commitment = x.new_zeros(())
        losses: dict[str, Tensor] = {}
        codes: list[Tensor] = []
        stats: list[dict[str, Tensor]] = []
        updates = []
        for level, mask in zip(levels, masks, strict=False):
            step = level._step(rest, mask, left)
            rest = left = step.rest
            commitment = commitment + level.beta * step.mean_square
            if pull is not None:
                weight = 2 * level.beta * step.scale
                pull = pull.addcmul_(rest, weight) if isinstance(weight, Tensor) else pull.add_(rest, alpha=weight)
            if step.codebook_loss is not None:
                losses["codebook"] = losses.get("codebook", 0) + step.codebook_loss
            codes.append(step.codes.to(torch.int32))  # half the memory until all levels are there
            stats.append(step.stats)
            updates.append(step.update)
        if next_level is not None:
            self._start(next_level, rest, masks[0])
        with torch.no_grad():
            total = self._sum_of_vectors(levels, codes, rest)
        for level, update in zip(levels, updates, strict=False):
            if update is not None:
                level._move(*update)
        losses["commitment"] = commitment if pull is None else with_gradient(x, commitment, pull)
        loss = sum(losses.values(), x.new_zeros(()))
        joined = {name: torch.cat([of_level[name] for of_level in stats]) for name in stats[0]}
        z_q = self._through(x, total, masks[0])
        return VQOutput(z_q, torch.stack(codes, dim=1).long(), loss, losses, joined)

    def _sum_of_outputs(self, x: Tensor, masks: list[Tensor | None], next_level: Quantizer | None) -> VQOutput:
        """Levels that make their losses themselves, and may have gradients that the residuals pass on."""
        identity = all(level.identity_gradient for level in self._levels())
        rest, total = x, torch.zeros_like(x)
        losses: dict[str, Tensor] = {}
        outputs = []
        for level, mask in zip(self._levels(), masks, strict=False):
            out = level(rest, mask)
            part = out.z_q.detach() if identity else out.z_q
            rest, total = rest - part, total + part
            for name, value in out.losses.items():
                losses[name] = losses.get(name, 0) + value
            outputs.append(out)
        if next_level is not None:
            self._start(next_level, rest, masks[0])
        stats = {name: torch.cat([out.stats[name] for out in outputs]) for name in outputs[0].stats}
        codes = torch.stack([out.codes for out in outputs], dim=1)
        z_q = self._through(x, total, masks[0]) if identity else total
        return VQOutput(z_q, codes, sum(losses.values(), x.new_zeros(())), losses, stats)

    def _through(self, x: Tensor, total: Tensor, mask: Tensor | None) -> Tensor:
        return (rotate if self.gradient == "rotation" else straight_through)(x, total, mask)

    def _assign(self, x: Tensor, num_quantizers: int | None) -> Tensor:
        codes = []
        bare = self._bare_levels()
        if bare is None:
            for level in self._levels()[:num_quantizers]:
                codes.append(level._encode_rows(x))
                x = x - level._decode_rows(codes[-1])
        else:
            levels = bare[:num_quantizers]
            rest = x.clone() if len(levels) > 1 else x
            for level in levels:
                codes.append(level._assign(rest, None))
                if level is not levels[-1]:
                    level._subtract_(rest, codes[-1])
        return torch.stack(codes, dim=1)

    def _lookup(self, codes: Tensor) -> Tensor:
        bare = self._bare_levels()
        inner = self._levels()[0].dim
        if bare is not None:
            room = torch.empty(codes.shape[0], inner, dtype=torch.float32, device=codes.device)
            return self._sum_of_vectors(bare, codes.unbind(dim=1), room)
        total = torch.zeros(codes.shape[0], inner, dtype=torch.float32, device=codes.device)
        for level, of_level in zip(self._levels(), codes.unbind(dim=1), strict=False):
            total = total + level._decode_rows(of_level)  # the order of forward: equal to the last bit
        return total

    def _sum_of_vectors(self, levels: Sequence[VectorQuantizer], codes: Sequence[Tensor], room: Tensor) -> Tensor:
        """What codes [N] of each level stand for, summed into `room` [N, D], which is returned; -1 adds 0.

        Forward and decode both come here: they agree to the last bit.
        """
        for part in parts(room):
            vectors = (
                zero_rows_(level._lookup(of_level[part]), of_level[part] >= 0)
                for level, of_level in zip(levels, codes, strict=False)
            )
            room[part] = reduce(torch.add, vectors)
        return room

    def _levels(self) -> list[Quantizer]:
        return list(self.levels)  # type: ignore[arg-type]

    def _has_level_axis(self) -> bool:
        return True

    def _bare_levels(self) -> list[VectorQuantizer] | None:
        """The levels, if none has a gradient of its own."""
        levels = [x for x in self._levels() if isinstance(x, VectorQuantizer) and x.identity_gradient]
        return levels if len(levels) == self.num_quantizers else None

    def _active_levels(self) -> int:
        """How many levels take part: all before the first that waits for its codebook, and the first in any case."""
        if not self.training:
            return self.num_quantizers
        waiting = (i for i, level in enumerate(self._levels()) if not level.ready)
        return max(1, next(waiting, self.num_quantizers))

    @staticmethod
    @torch.no_grad()
    def _start(level: Quantizer, rest: Tensor, mask: Tensor | None) -> None:
        """Make the codebook of a level that waits for it from what the levels before it leave.

        It takes part from the next step on, so that a recomputation of this step meets the same levels.
        """
        level(rest, mask)

    def _draw_depths(self, items: int, rows: int, device: torch.device) -> Tensor | None:
        """How many levels each row uses, drawn per item: [N]. None = all."""
        if self.level_weights is None:
            return None
        depths = torch.multinomial(self.level_weights, items, replacement=True) + 1 if items else torch.empty(0)
        return depths.to(device).repeat_interleave(rows // max(items, 1))


def _level_weights(level_dropout: bool | Sequence[float], num_quantizers: int) -> Tensor | None:
    if isinstance(level_dropout, bool):
        return torch.ones(num_quantizers) if level_dropout else None
    weights = list(level_dropout)
    if len(weights) != num_quantizers or not all(weight >= 0 for weight in weights) or not sum(weights) > 0:
        raise ValueError(f"level_dropout is {weights}, want {num_quantizers} weights >= 0, not all 0")
    return torch.tensor(weights, dtype=torch.float32)
