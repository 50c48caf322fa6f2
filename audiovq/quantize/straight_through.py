"""The straight-through estimator of section 3.2 (arXiv 1711.00937): forward gives z_q, backward treats it as z_e."""

from typing import Any

import torch
from torch import Tensor


def straight_through(z_e: Tensor, z_q: Tensor) -> Tensor:
    """Return `z_q` itself, with the gradient of the result copied unchanged to `z_e` (same shape); none goes to z_q.

    The usual z_e + (z_q - z_e).detach() differs from z_q in the last bit of every third element.
    """
    if not (torch.is_grad_enabled() and z_e.requires_grad):
        return z_q.detach()
    return _StraightThrough.apply(z_e, z_q)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z_e: Tensor, z_q: Tensor) -> Tensor:
        ctx.dtype = z_e.dtype
        return z_q.view_as(z_q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].to(ctx.dtype), None
