"""Gradients that are defined rather than derived: through the choice of a code, and of losses known in closed form.

With them, what is done to rows [N, D] in place or part by part.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_PART = 2**16  # elements
_SHORT = 1e-3  # a direction that is scaled up by more than 1 / this is none: its gradient would grow likewise


def straight_through(z_e: Tensor, z_q: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return `z_q` itself, with the gradient of the result copied unchanged to `z_e` (same shape); none goes to z_q.

    The straight-through estimator of section 3.2 (arXiv 1711.00937). The usual z_e + (z_q - z_e).detach() differs from
    z_q in the last bit of every third element. With `mask` (bool [N], for z_e [N, D]), no gradient goes to rows that
    are not valid.
    """
    if not (torch.is_grad_enabled() and z_e.requires_grad):
        return z_q.detach()
    return _StraightThrough.apply(z_e, z_q, mask)


def rotate(z_e: Tensor, z_q: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return `z_q` itself; the gradient goes to `z_e` as if z_q were z_e turned and scaled by constants.

    The rotation trick (Fifty et al. 2024, arXiv 2410.06424, eq. 4): gradients keep their angle to the code, so that
    vectors of one cell are pushed differently. Where a direction is missing, as for digital silence, or z_q points
    away from z_e, no rotation is defined, and the gradient is the straight-through one.

    Args:
        z_e, z_q: [N, D].
        mask: as in `straight_through`.
    """
    if not (torch.is_grad_enabled() and z_e.requires_grad):
        return z_q.detach()
    return _Rotation.apply(z_e, z_q, mask)


def with_gradient(x: Tensor, value: Tensor, direction: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """Return the scalar `value`, whose gradient with respect to `x` is scale * direction (the shape of x).

    A loss that says its own gradient needs no table of intermediate results, and several can share one.
    """
    if not (torch.is_grad_enabled() and x.requires_grad):
        return value.detach()
    return _KnownGradient.apply(x, value, direction, scale)


def zero_rows_(rows: Tensor, mask: Tensor) -> Tensor:
    """Set the rows of [N, D] that mask [N] leaves out to 0, in place, whatever they hold."""
    if rows.device.type == "cpu" and not torch.compiler.is_compiling():
        return rows.index_fill_(0, (~mask).nonzero().squeeze(1), 0)  # many times faster than a mask along a short axis
    return rows.masked_fill_(~mask.unsqueeze(1), 0)


def unit_rows(rows: Tensor) -> Tensor:
    """Rows [N, D] scaled to length 1; shorter than 0.001, as in digital silence, they stay as they are."""
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(length > _SHORT, length, 1.0)


def parts(rows: Tensor) -> list[slice]:
    """Slices of rows [N, D], for work one by one on a CPU: it needs no further N x D tensor, and stays in cache."""
    if rows.device.type != "cpu" or torch.compiler.is_compiling():
        return [slice(None)]
    size = max(1, _PART // rows.shape[1])
    return [slice(start, start + size) for start in range(0, rows.shape[0], size)]


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z_e: Tensor, z_q: Tensor, mask: Tensor | None) -> Tensor:
        ctx.dtype, ctx.mask = z_e.dtype, mask
        return z_q.view_as(z_q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        grad = grads[0] if ctx.mask is None else zero_rows_(grads[0].clone(), ctx.mask)
        return grad.to(ctx.dtype), None, None


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z_e: Tensor, z_q: Tensor, mask: Tensor | None) -> Tensor:
        ctx.save_for_backward(z_e, z_q)
        ctx.mask = mask
        return z_q.view_as(z_q)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        z_e, z_q = ctx.saved_tensors
        (grad,) = grads
        length_e, length_q = z_e.norm(dim=1, keepdim=True), z_q.norm(dim=1, keepdim=True)
        defined = (length_q > 0) & (length_e > _SHORT * length_q)
        e, q = z_e / torch.where(defined, length_e, 1.0), z_q / torch.where(defined, length_q, 1.0)
        between = e + q
        length = between.norm(dim=1, keepdim=True)
        defined &= length > _SHORT
        r = between / torch.where(defined, length, 1.0)
        # z_q = s R z_e with R = I - 2 r r^T + 2 q e^T and s = |z_q| / |z_e|; its transpose acts on the gradient
        turned = grad - 2 * r * (r * grad).sum(dim=1, keepdim=True) + 2 * e * (q * grad).sum(dim=1, keepdim=True)
        result = torch.where(defined, turned * (length_q / torch.where(defined, length_e, 1.0)), grad)
        return result if ctx.mask is None else zero_rows_(result, ctx.mask), None, None


class _KnownGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, direction: Tensor, scale: float | Tensor) -> Tensor:
        ctx.save_for_backward(direction)
        ctx.scale = scale
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError("a loss of known gradient has no second derivative: call backward without create_graph")
        (direction,) = ctx.saved_tensors
        return direction * (grads[0] * ctx.scale), None, None, None
