"""The layers of a WaveNet stack in bfloat16 on a CPU: matrix products by PyTorch, the rest in fused loops.

Where a CPU has matrix instructions for bfloat16, the products are a small part of a training step. The rest is reading
and writing between them. Here a layer passes over that data twice forwards and twice backwards. The numbers are those
of the layers in `stack` under autocast, up to bfloat16's rounding.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from audiovq.layers.wavenet import loops


class GatedLayers(torch.autograd.Function):
    """All layers and their skip projections: `[B, T, C]` -> `[B, T, S]`, both bfloat16.

    Arguments of `apply`, with L layers, all but offsets and residual_bias bfloat16:
        x: `[B, T, C]`.
        offsets: what is added before the gates, `[L, B, F, 2 * gate]` float32, T a multiple of F.
        taps: `[L, 2 * gate, K * C]`. skip: `[L, S, gate]`.
        residual: `[L - 1, C, gate]`, residual_bias: `[L - 1, C]` float32; both hold `scale` already.
        dilations: L numbers. scale: of x beside the residual.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        offsets: Tensor,
        taps: Tensor,
        skip: Tensor,
        residual: Tensor,
        residual_bias: Tensor,
        dilations: Sequence[int],
        scale: float,
    ) -> Tensor:
        """See the class."""
        count, double, width = taps.shape
        batch, length, channels = x.shape
        previous, change, bias = x.new_zeros(batch, length, width), x, torch.zeros(channels)
        inputs, gates, gated = [], [], []
        for i, dilation in enumerate(dilations):
            following = torch.empty_like(previous)
            following[:, : (width // channels - 1) * dilation] = 0  # older taps of the first samples: before the start
            _each(loops.residual, previous, scale, change, bias.numpy(), following, dilation)
            inputs.append(following)
            gates.append(torch.matmul(following, taps[i].t()))
            gated.append(x.new_empty(batch, length, double // 2))
            _each(loops.gate, gates[i], offsets[i], gated[i])
            if i + 1 < count:
                previous, change, bias = following, torch.matmul(gated[i], residual[i].t()), residual_bias[i]
        ctx.save_for_backward(taps, skip, residual, *inputs, *gates, *gated)
        ctx.dilations, ctx.scale, ctx.frames = dilations, scale, offsets.shape[2]
        return torch.matmul(torch.cat(gated, dim=-1), skip.transpose(1, 2).flatten(0, 1))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_skips: Tensor) -> Any:
        """Gradients of x, offsets and the weights."""
        taps, skip, residual, *saved = ctx.saved_tensors
        count, double, _ = taps.shape
        inputs, gates, gated = saved[:count], saved[count : 2 * count], saved[2 * count :]
        batch, length, _ = inputs[0].shape
        flat_skips = grad_skips.flatten(0, 1)
        grad = gated[0].new_zeros(batch, length, residual.shape[1])
        grad_offsets = torch.zeros(count, batch, ctx.frames, double)
        grad_taps, grad_skip, grad_residual = (torch.empty_like(x) for x in (taps, skip, residual))
        grad_bias = torch.empty(residual.shape[:2])
        for i in reversed(range(count)):
            flat, flat_gated = grad.flatten(0, 1), gated[i].flatten(0, 1)
            grad_gated = flat_skips @ skip[i]
            grad_skip[i] = flat_skips.t() @ flat_gated
            if i + 1 < count:
                grad_gated.addmm_(flat, residual[i])
                grad_residual[i] = flat.t() @ flat_gated
                grad_bias[i] = flat.sum(0, dtype=torch.float32)
            before = gates[i].clone()  # a graph may be gone through twice
            _each(loops.gate_backward, before, grad_gated.view_as(gated[i]), grad_offsets[i])
            grad_taps[i] = before.flatten(0, 1).t() @ inputs[i].flatten(0, 1)
            _each(loops.residual_backward, grad, ctx.scale, torch.matmul(before, taps[i]), ctx.dilations[i])
        return grad, grad_offsets, grad_taps, grad_skip, grad_residual, grad_bias, None, None


def _each(loop: Callable[..., None], *arguments: Any) -> None:
    """Run a loop with tensors `[B, ...]` as arrays, the batch shared out over PyTorch's number of threads."""
    arrays = [_array(x) if isinstance(x, Tensor) else x for x in arguments]
    batched = [isinstance(x, Tensor) for x in arguments]
    batch = len(arguments[0])
    threads = min(torch.get_num_threads(), batch)
    if threads == 1:
        loop(*arrays)
        return
    ends = [batch * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        parts = [
            pool.submit(loop, *(x[first:end] if many else x for x, many in zip(arrays, batched, strict=True)))
            for first, end in pairwise(ends)
        ]
        for part in parts:
            part.result()


def _array(tensor: Tensor) -> Any:
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
