"""Finite scalar quantization (Mentzer et al. 2023, arXiv 2309.15505): each channel is rounded to a few levels.

No codebook is learned: the product of the levels is the codebook, and codes are computed from the digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from audiovq.quantize.base import Quantizer
from audiovq.quantize.gradients import straight_through
from audiovq.quantize.output import VQOutput, code_use
from audiovq.quantize.search.nearest import valid_rows

_MARGIN = 1e-3  # how far tanh may reach past the outermost level, so that it can be reached (as in the authors' code)


class FSQ(Quantizer):
    """Bounds each channel by tanh, rounds it to one of L values in [-1, 1], and reads the digits as one number.

    Args:
        dim: channels of the input; if not `len(levels)`, a linear layer leads in and one out.
        levels: number of values L >= 2 of each quantized channel; their product is the codebook size. The authors
            advise L >= 5: [8, 5, 5, 5] for about 2^10 codes, [7, 5, 5, 5, 5] for 2^12, [8, 8, 8, 6, 5] for 2^14.
        channel_dim: axis of the channels.
        scale: the values span [-scale, scale]. Levels of a `ResidualVQ` need a smaller one each, about 1 / (L - 1)
            of the one before.

    There is no loss: `losses` is empty and `loss` is 0. The gradient is that of the bounded value before rounding.
    """

    place: Tensor
    base: Tensor

    def __init__(self, dim: int, levels: Sequence[int], *, channel_dim: int = 1, scale: float = 1.0) -> None:
        if not levels or min(levels) < 2:
            raise ValueError(f"levels are {list(levels)}, want one number of at least 2 per channel")
        if math.prod(levels) >= 2**63:
            raise ValueError(f"levels {list(levels)} give more codes than int64 holds")
        if scale <= 0:
            raise ValueError(f"scale is {scale}, want a positive number")
        super().__init__(dim, len(levels), channel_dim)
        self.scale = scale
        # Integer buffers: they move with the module, and no cast touches them.
        self.register_buffer("base", torch.tensor(list(levels)), persistent=False)
        places = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("place", torch.tensor(places), persistent=False)
        self.levels = list(levels)

    @property
    def codebook_sizes(self) -> list[int]:
        return [math.prod(self.levels)]

    def _quantize(self, x: Tensor, mask: Tensor | None, num_quantizers: int | None, items: int) -> VQOutput:
        bounded = self._bound(x)
        digits = self._round(bounded.detach())
        half = (self.base // 2).to(x.dtype)
        z_q = straight_through(bounded * (self.scale / half), self._values(digits))
        codes = (digits * self.place).sum(dim=1)
        if mask is not None:
            codes = codes.masked_fill(~mask, -1)
        stats = code_use(codes[valid_rows(x.detach(), mask)], self.codebook_size)
        return VQOutput(z_q, codes, x.new_zeros(()), {}, stats)

    def _assign(self, x: Tensor, num_quantizers: int | None) -> Tensor:
        return (self._round(self._bound(x)) * self.place).sum(dim=1)

    def _lookup(self, codes: Tensor) -> Tensor:
        return self._values(codes.clamp(min=0).unsqueeze(1) // self.place % self.base)

    def _bound(self, x: Tensor) -> Tensor:
        """Squash each channel so that rounding gives L integers: -(L-1)/2..(L-1)/2, or -L/2..L/2-1 if L is even."""
        reach = (self.base - 1).to(x.dtype) * ((1 + _MARGIN) / 2)
        offset = torch.where(self.base % 2 == 0, 0.5, 0.0).to(x.dtype)
        shift = torch.atanh(offset / reach)  # so that 0 stays at 0
        return torch.tanh(x / self.scale + shift) * reach - offset

    def _round(self, bounded: Tensor) -> Tensor:
        """Bounded values -> digits [N, len(levels)] int64, each in 0..L-1; NaN gives some digit in range."""
        digits = bounded.nan_to_num().round().long() + self.base // 2
        return torch.minimum(digits.clamp(min=0), self.base - 1)

    def _values(self, digits: Tensor) -> Tensor:
        half = self.base // 2
        return (digits - half).to(torch.float32) * (self.scale / half.to(torch.float32))
