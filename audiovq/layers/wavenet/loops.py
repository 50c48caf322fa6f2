"""The loops of `audiovq.layers.wavenet.bf16`, compiled by numba at their first call.

bfloat16 is the upper half of a float32, so it travels as uint16; sums are float32. The inner loops are short and read
few arrays each: that is what the compiler turns into vector instructions.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

_inline = njit(inline="always", fastmath=True)
_loop = njit(nogil=True, fastmath=True, error_model="numpy", cache=True)

HALF, ONE = np.float32(0.5), np.float32(1)
TANH_LIMIT = np.float32(4.9)


@intrinsic
def _float_of(typing: Any, bits: Any) -> Any:
    return types.float32(types.uint32), lambda _, builder, __, args: builder.bitcast(args[0], ir.FloatType())


@intrinsic
def _bits_of(typing: Any, value: Any) -> Any:
    return types.uint32(types.float32), lambda _, builder, __, args: builder.bitcast(args[0], ir.IntType(32))


@_inline
def _load(bits: Any) -> Any:
    return _float_of(np.uint32(bits) << np.uint32(16))  # type: ignore[call-arg]  # the typing context is numba's to pass


@_inline
def _rounded(value: Any) -> Any:
    return np.uint16((_bits_of(value) + np.uint32(0x8000)) >> np.uint32(16))  # type: ignore[call-arg]


@_inline
def _tanh(x: Any) -> Any:
    # Lambert's continued fraction to its seventh term: within 1e-4, a twentieth of what bfloat16 resolves near 1
    x = min(max(x, -TANH_LIMIT), TANH_LIMIT)
    y = x * x
    above = np.float32(135135) + y * (np.float32(17325) + y * (np.float32(378) + y))
    below = np.float32(135135) + y * (np.float32(62370) + y * (np.float32(3150) + y * np.float32(28)))
    return x * above / below


@_loop
def residual(taps: Any, scale: float, change: Any, bias: Any, following: Any, dilation: int) -> None:
    """x = scale * (newest of the taps `[B, T, K * C]`) + change `[B, T, C]` + bias, as the taps of the next layer."""
    batch, length, channels = change.shape
    factor = np.float32(scale)
    older = following.shape[2] // channels - 1
    for b in range(batch):
        for t in range(length):
            old, moved = taps[b, t, older * channels :], change[b, t]
            new = following[b, t, older * channels :]
            for j in range(channels):
                new[j] = _rounded(factor * _load(old[j]) + _load(moved[j]) + bias[j])
            for k in range(older):
                later = t + (older - k) * dilation
                if later < length:
                    following[b, later, k * channels : (k + 1) * channels] = new


@_loop
def gate(filtered: Any, offsets: Any, gated: Any) -> None:
    """filtered `[B, T, 2G]` + offsets `[B, F, 2G]` become tanh and sigmoid; gated `[B, T, G]` is their product."""
    batch, length, double = filtered.shape
    width, hop = double // 2, length // offsets.shape[1]
    for b in range(batch):
        for t in range(length):
            row, plus, out = filtered[b, t], offsets[b, t // hop], gated[b, t]
            left, right, plus_right = row[:width], row[width:], plus[width:]
            for j in range(width):
                left[j] = _rounded(_tanh(_load(left[j]) + plus[j]))
            for j in range(width):
                right[j] = _rounded(HALF * _tanh(HALF * (_load(right[j]) + plus_right[j])) + HALF)
            for j in range(width):
                out[j] = _rounded(_load(left[j]) * _load(right[j]))


@_loop
def gate_backward(gates: Any, grad_gated: Any, grad_offsets: Any) -> None:
    """gates `[B, T, 2G]` (tanh, sigmoid) become the gradient before them; it is added up by frame in grad_offsets."""
    batch, length, double = gates.shape
    width, hop = double // 2, length // grad_offsets.shape[1]
    for b in range(batch):
        for t in range(length):
            row, grad, sums = gates[b, t], grad_gated[b, t], grad_offsets[b, t // hop]
            left, right = row[:width], row[width:]
            for j in range(width):
                a, s, g = _load(left[j]), _load(right[j]), _load(grad[j])
                left[j] = _rounded(g * s * (ONE - a * a))
                right[j] = _rounded(g * a * s * (ONE - s))
            for j in range(double):
                sums[j] += _load(row[j])


@_loop
def residual_backward(grad: Any, scale: float, grad_taps: Any, dilation: int) -> None:
    """grad `[B, T, C]` becomes scale * grad + the gradient that this layer's taps `[B, T, K * C]` hand back."""
    batch, length, channels = grad.shape
    factor = np.float32(scale)
    older = grad_taps.shape[2] // channels - 1
    for b in range(batch):
        for t in range(length):
            row, back = grad[b, t], grad_taps[b, t, older * channels :]
            for j in range(channels):
                row[j] = _rounded(factor * _load(row[j]) + _load(back[j]))
            for k in range(older):
                later = t + (older - k) * dilation
                if later < length:
                    back = grad_taps[b, later, k * channels :]
                    for j in range(channels):
                        row[j] = _rounded(_load(row[j]) + _load(back[j]))
