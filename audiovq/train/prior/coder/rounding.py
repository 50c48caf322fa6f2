"""Numbers as a coder will have them, while they are trained: rounded forwards, and straight through backwards."""

from __future__ import annotations

import torch
from torch import Tensor

from audiovq.prior.coder.integers import INT8


def with_rounding(values: Tensor, bits: int, lowest: int = -INT8) -> Tensor:
    """Multiples of 2^-bits within lowest .. INT8 of them; the gradient is that of `values`."""
    unit = 2.0**bits
    return values + ((values * unit).round().clamp(lowest, INT8) / unit - values).detach()


def to_integers(values: Tensor, bits: int, kind: torch.dtype) -> Tensor:
    """What is stored: values in units of 2^-bits, int8 within +-INT8 or int32."""
    whole = (values.detach().double() * 2.0**bits).round()
    return (whole.clamp(-INT8, INT8) if kind == torch.int8 else whole).to(kind).contiguous()
