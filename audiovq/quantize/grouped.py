"""Several quantizers side by side: on groups of channels (`GroupedVQ`), or all on the same input (`SplitVQ`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from audiovq.quantize.base import Quantizer
from audiovq.quantize.output import VQOutput


class _SideBySide(Quantizer):
    """Base of the two: `order` names the part and the level within it that each position of the level axis holds."""

    def __init__(
        self, parts: Sequence[Quantizer], order: list[tuple[int, int]], dim: int, inner_dim: int, channel_dim: int
    ) -> None:
        super().__init__(dim, inner_dim, channel_dim)
        self.parts = nn.ModuleList(parts)
        self.order = order

    # How the parts' inputs, outputs and losses make one.

    def _inputs(self, x: Tensor) -> Sequence[Tensor]:
        """[N, inner] -> rows for each part."""
        raise NotImplementedError

    def _join(self, outputs: list[Tensor]) -> Tensor:
        """Rows of the parts that take part -> [N, inner]."""
        raise NotImplementedError

    def _loss_weights(self) -> list[float]:
        raise NotImplementedError

    # Common to both.

    @property
    def codebook_sizes(self) -> list[int]:
        return [self._parts()[part].codebook_sizes[level] for part, level in self.order]

    @property
    def num_quantizers(self) -> int:
        return len(self.order)

    @property
    def ready(self) -> bool:
        return all(part.ready for part in self._parts())

    def _quantize(self, x: Tensor, mask: Tensor | None, num_quantizers: int | None, items: int) -> VQOutput:
        frames = x.shape[0] // max(items, 1)
        by_item = None if mask is None else mask.view(items, frames)
        outputs: dict[int, VQOutput] = {}
        for i, (part, rows, depth) in enumerate(self._parts_with(x, num_quantizers)):
            if depth:
                z = rows.view(items, frames, part.dim).transpose(1, 2)  # as items: a part may drop levels item by item
                outputs[i] = part(z, by_item, num_quantizers=None if num_quantizers is None else depth)

        z_q = self._join([out.z_q.transpose(1, 2).reshape(-1, out.z_q.shape[1]) for out in outputs.values()])
        weights, losses = self._loss_weights(), dict[str, Tensor]()
        for i, out in outputs.items():
            for name, value in out.losses.items():
                losses[name] = losses.get(name, 0) + weights[i] * value
        used = self.order[:num_quantizers]
        columns = {i: out.codes.unsqueeze(1) if out.codes.ndim == 2 else out.codes for i, out in outputs.items()}
        codes = torch.stack([columns[part][:, level] for part, level in used], dim=2).flatten(0, 1)
        names = next(iter(outputs.values())).stats
        stats = {name: torch.stack([outputs[part].stats[name][level] for part, level in used]) for name in names}
        return VQOutput(z_q, codes, sum(losses.values(), x.new_zeros(())), losses, stats)

    def _assign(self, x: Tensor, num_quantizers: int | None) -> Tensor:
        columns = {
            i: part._encode_rows(rows, depth).view(x.shape[0], depth)
            for i, (part, rows, depth) in enumerate(self._parts_with(x, num_quantizers))
            if depth
        }
        return torch.stack([columns[part][:, level] for part, level in self.order[:num_quantizers]], dim=1)

    def _lookup(self, codes: Tensor) -> Tensor:
        outputs = []
        for i, part in enumerate(self._parts()):
            mine = [codes[:, at] for at, (owner, _) in enumerate(self.order[: codes.shape[1]]) if owner == i]
            if mine:
                outputs.append(part._decode_rows(torch.stack(mine, dim=1) if part._has_level_axis() else mine[0]))
        return self._join(outputs)

    def _parts_with(self, x: Tensor, num_quantizers: int | None) -> Iterator[tuple[Quantizer, Tensor, int]]:
        """Each part, its rows, and how many of the codes wanted are its own."""
        owners = [part for part, _ in self.order[:num_quantizers]]
        for i, (part, rows) in enumerate(zip(self._parts(), self._inputs(x), strict=True)):
            yield part, rows, sum(owner == i for owner in owners)

    def _parts(self) -> list[Quantizer]:
        return list(self.parts)  # type: ignore[arg-type]

    def _has_level_axis(self) -> bool:
        return True


class GroupedVQ(_SideBySide):
    """Splits the channels into groups, each with a quantizer of its own (product quantization).

    Args:
        quantizers: one per group, in the order of the channels; group g takes as many channels as its `dim`. Any kind,
            all with channel_dim 1: `VectorQuantizer`s, or `ResidualVQ`s for grouped residual quantization.
        dim: channels of the input; if it differs from the groups' sum, one linear layer leads in and one out.
        channel_dim: axis of the channels; codes have the groups and levels there: [B, C, F] -> [B, Q, F].

    Codes come level by level, and group by group within a level: with 2 groups of 3 levels each, the Q = 6 codes are
    level 0 of groups 0 and 1, level 1 of groups 0 and 1, level 2 of groups 0 and 1. So the first n codes are a prefix
    of every group and decode, as long as each group has its first level: n >= number of groups. Fewer are refused,
    as channels would be missing. Levels dropped in training (`level_dropout`) are drawn for each group by itself.

    Losses are means over the groups, weighted by their channels: with equal groups, the mean square over all channels.
    """

    def __init__(self, quantizers: Sequence[Quantizer], *, dim: int | None = None, channel_dim: int = 1) -> None:
        _check_parts("GroupedVQ", quantizers)
        widths = [quantizer.dim for quantizer in quantizers]
        depths = [quantizer.num_quantizers for quantizer in quantizers]
        order = [(group, level) for level in range(max(depths)) for group, n in enumerate(depths) if level < n]
        super().__init__(quantizers, order, sum(widths) if dim is None else dim, sum(widths), channel_dim)
        self.widths = widths

    @property
    def identity_gradient(self) -> bool:
        return isinstance(self.project_in, nn.Identity) and all(part.identity_gradient for part in self._parts())

    def _inputs(self, x: Tensor) -> Sequence[Tensor]:
        return x.split(self.widths, dim=1)

    def _join(self, outputs: list[Tensor]) -> Tensor:
        return torch.cat(outputs, dim=1)

    def _loss_weights(self) -> list[float]:
        return [width / sum(self.widths) for width in self.widths]

    @property
    def min_quantizers(self) -> int:
        """A code for each group of channels: with fewer, channels would be missing."""
        return len(self.parts)

    def _check_codes(self, codes: Tensor) -> None:
        super()._check_codes(codes)
        if codes.shape[1] < len(self.parts):
            raise ValueError(f"codes have {codes.shape[1]} levels, want one for each of {len(self.parts)} groups first")


class SplitVQ(_SideBySide):
    """Quantizes the same input by several quantizers with projections of their own, and adds up what they give.

    Mimi (arXiv 2410.00037, section 3.3.2) keeps a semantic code apart from the acoustic ones so: two `ResidualVQ`, the
    first of one level.

    Args:
        quantizers: all of the same `dim`, with channel_dim 1; each projects as it likes.
        channel_dim: axis of the channels; codes have the levels there: [B, C, F] -> [B, Q, F].

    Codes come quantizer by quantizer: all levels of the first, then all of the second. Any prefix decodes; a quantizer
    without codes adds nothing. Outputs, gradients and losses add up; no quantizer sees what another left over.
    """

    def __init__(self, quantizers: Sequence[Quantizer], *, channel_dim: int = 1) -> None:
        _check_parts("SplitVQ", quantizers)
        dims = {quantizer.dim for quantizer in quantizers}
        if len(dims) > 1:
            raise ValueError(f"quantizers have different dim {sorted(dims)}; all need the same")
        order = [(part, level) for part, vq in enumerate(quantizers) for level in range(vq.num_quantizers)]
        dim = dims.pop()
        super().__init__(quantizers, order, dim, dim, channel_dim)

    def _inputs(self, x: Tensor) -> Sequence[Tensor]:
        return [x] * len(self.parts)

    def _join(self, outputs: list[Tensor]) -> Tensor:
        total = outputs[0]
        for output in outputs[1:]:
            total = total + output
        return total

    def _loss_weights(self) -> list[float]:
        return [1.0] * len(self.parts)


def _check_parts(name: str, quantizers: Sequence[Quantizer]) -> None:
    if not quantizers:
        raise ValueError(f"{name} needs at least one quantizer")
    if len({id(quantizer) for quantizer in quantizers}) < len(quantizers):
        raise ValueError(f"parts of {name} share a quantizer: its update in one would change the codes of the next")
    if any(quantizer.channel_dim != 1 for quantizer in quantizers):
        raise ValueError(f"leave the quantizers' channel_dim at 1 and set that of {name}")
