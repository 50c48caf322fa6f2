"""The compiled loop over samples: conditions, past taps, layers, skips, head, draw."""

# mypy: ignore-errors
# Compiled by numba, whose language has types of its own.

from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np

from audiovq.audio.wavenet_sampler.draws import draw_class, draw_value
from audiovq.audio.wavenet_sampler.pack import (
    AHEAD,
    CURRENT,
    CURRENT_CONSTS,
    DILATION,
    FIRST_ROW,
    PAST,
    RESIDUAL,
    RESIDUAL_BIAS,
    RESIDUAL_CONSTS,
    ROWS,
)
from audiovq.audio.wavenet_sampler.products import (
    EIGHT_ROWS,
    FOUR_ROWS,
    GATE,
    LINEAR,
    ONE_ROW,
    RELU,
    TWO_ROWS,
    product,
)
from audiovq.audio.wavenet_sampler.rows import SIGNED, UNSIGNED, operand, store_row
from audiovq.audio.wavenet_sampler.state import BLOCK
from audiovq.layers.wavenet.stack import RESIDUAL_SCALE
from audiovq.simd.disk_cache import compiled_and_kept, sources_stamp

SCALE = np.float32(RESIDUAL_SCALE)
ONE = np.float32(1)


@numba.njit(nogil=True, inline="always")
def operands(kind, count, x, x_stride, width, buffer, buffer_stride, scales, zero):
    """Where a product reads the first `width` numbers of `count` rows at address x: address and stride."""
    address = operand(kind, x, width, buffer, scales, zero)
    for m in range(1, count):
        operand(kind, x + m * x_stride, width, buffer + m * buffer_stride, scales + 4 * m, zero)
    return address, (x_stride if address == x else buffer_stride)


@numba.njit(nogil=True, inline="always")
def past_ahead(kind, plan, layers, i, now, weights, zeros, sums, sums_stride, rings, scales, block, block_scales):
    """Layer i's past taps of samples now, now + 1, ... as many as its block has: their inputs are all known.

    sums: address they go to; rings: `[1, rows, channels]`, scales: `[1, rows]`.
    """
    w, z = weights.ctypes.data, zeros.ctypes.data
    ring, rows, size = layers[i, FIRST_ROW], layers[i, ROWS], layers[i, AHEAD]
    row_bytes = rings.strides[1]
    for k in range(plan.past_taps):
        row = (now - (plan.past_taps - k) * layers[i, DILATION]) % rows
        x, x_scales = rings.ctypes.data + (ring + row) * row_bytes, scales.ctypes.data + (ring + row) * 4
        if row + size > rows:
            for j in range(size):
                source = ring + (row + j) % rows
                block_scales[j] = scales[0, source]
                for n in range(rings.shape[2]):
                    block[j, n] = rings[0, source, n]
            x, x_scales = block.ctypes.data, block_scales.ctypes.data
        arguments = (
            plan.gate_registers, sums, sums_stride, sums if k else z, sums_stride if k else 0, z, 0,
            w + layers[i, PAST + 2 * k], w + layers[i, PAST + 2 * k + 1],
            x, row_bytes, x_scales, 4, rings.shape[2] // 4,
        )  # fmt: skip
        if size == 8:
            product(kind, EIGHT_ROWS, LINEAR, ONE, arguments)
        elif size == 4:
            product(kind, FOUR_ROWS, LINEAR, ONE, arguments)
        elif size == 2:
            product(kind, TWO_ROWS, LINEAR, ONE, arguments)
        else:
            product(kind, ONE_ROW, LINEAR, ONE, arguments)


@numba.njit(nogil=True, inline="always")
def past_now(
    kind, streams, plan, layers, i, slot, w, z, sums, sums_row, ring, ring_row, slot_bytes, ring_scales, scales_row
):  # fmt: skip
    """Layer i's past taps of this sample, for each stream. ring, ring_scales: addresses of the layer's first row."""
    for k in range(plan.past_taps):
        row = (slot - (plan.past_taps - k) * layers[i, DILATION]) % layers[i, ROWS]
        product(kind, streams, LINEAR, ONE, (
            plan.gate_registers, sums, sums_row, sums if k else z, sums_row if k else 0, z, 0,
            w + layers[i, PAST + 2 * k], w + layers[i, PAST + 2 * k + 1],
            ring + row * slot_bytes, ring_row, ring_scales + row * 4, scales_row, plan.channels // 4,
        ))  # fmt: skip


@numba.njit(nogil=True, inline="always")
def embed(x, symbol, inputs, mixtures):
    """The first layer's input: x `[streams, width]`, symbol `[streams]`."""
    for m in range(len(x)):
        for n in range(inputs.shape[1]):
            if mixtures:
                x[m, n] = symbol[m] * inputs[0, n] + inputs[1, n]
            else:
                x[m, n] = inputs[int(symbol[m]), n]


@numba.njit(nogil=True, inline="always")
def head(
    kind, streams, plan, size, w, z, gated, gated_row, hidden, second, hidden_row, width, out, out_row, buffer,
    buffer_row, buffer_scales,
):  # fmt: skip
    """From what all gates let through, `size` numbers, to the outputs: the skips, and the two layers after them."""
    v, v_row = operands(kind, len(streams), gated, gated_row, size, buffer, buffer_row, buffer_scales, SIGNED)
    product(kind, streams, RELU, ONE, (
        plan.hidden_registers, hidden, hidden_row, w + plan.skip_bias, 0, z, 0,
        w + plan.skip, w + plan.skip_consts, v, v_row, buffer_scales, 4, size // 4,
    ))  # fmt: skip
    v, v_row = operands(kind, len(streams), hidden, hidden_row, width, buffer, buffer_row, buffer_scales, UNSIGNED)
    product(kind, streams, RELU, ONE, (
        plan.hidden_registers, second, hidden_row, w + plan.hidden_bias, 0, z, 0,
        w + plan.hidden, w + plan.hidden_consts, v, v_row, buffer_scales, 4, width // 4,
    ))  # fmt: skip
    v, v_row = operands(kind, len(streams), second, hidden_row, width, buffer, buffer_row, buffer_scales, UNSIGNED)
    product(kind, streams, LINEAR, ONE, (
        plan.output_registers, out, out_row, w + plan.output_bias, 0, z, 0,
        w + plan.output, w + plan.output_consts, v, v_row, buffer_scales, 4, width // 4,
    ))  # fmt: skip


def _kept_loop(stamp: int) -> Callable[..., None]:
    """The loop, compiled. `stamp` makes a change of the files it imports known: what a closure holds is part of what
    numba finds it by on disk."""

    def run(
        kind, streams, plan, layers, weights, inputs, condition, uniforms, teacher, rings, scales, scratch, symbol,
        position, first, stop, bin_width, symbols, outputs,
    ):  # fmt: skip
        """Draw samples first ... stop - 1 of a call for one stream, or for eight in lockstep; both give the same bits.

        kind: see KINDS; streams: ONE_ROW or EIGHT_ROWS; condition: `[streams, F, condition_size]`, from the frame of
        sample 0 on; position: of sample 0 in the stream; uniforms: `[streams, T]`; teacher: `[streams, T]`, symbols to
        feed instead of those drawn, or `[streams, 0]`; rings, scales: see SamplerState; symbol: `[streams]`, the last
        one fed, updated; symbols: `[streams, T]`, to be filled with classes or quantized samples, float32; outputs:
        `[streams, T, outputs]`, to be filled if there is a teacher.
        """
        _ = stamp
        count = len(streams)
        (zeros, conditions, past, x, gated, hidden, second, logits, exponentials, buffer, buffer_scales, block,
         block_scales) = scratch  # fmt: skip
        # From here on one letter is the address of a buffer, *_row the bytes of one stream's row in it: views of arrays
        # would cost more than the arithmetic does.
        w, z, c, p, a, g, h = (
            weights.ctypes.data, zeros.ctypes.data, conditions.ctypes.data, past.ctypes.data, x.ctypes.data,
            gated.ctypes.data, hidden.ctypes.data,
        )  # fmt: skip
        e, y, b, b_scales = second.ctypes.data, logits.ctypes.data, buffer.ctypes.data, buffer_scales.ctypes.data
        c_row, a_row, g_row = conditions.strides[0], x.strides[0], gated.strides[0]
        h_row, b_row = hidden.strides[0], buffer.strides[0]
        r, r_row, r_scales, r_scales_row = rings.ctypes.data, rings.strides[0], scales.ctypes.data, scales.strides[0]
        gate_bytes, slot_bytes = past.strides[1], rings.strides[1]
        depth, quads = len(layers), plan.channels // 4
        phase = position % plan.hop_length
        for t in range(first, stop):
            now = position + t
            if t == first or now % plan.hop_length == 0:
                frame = condition.ctypes.data + (phase + t) // plan.hop_length * condition.strides[1]
                v, v_row = operands(
                    kind, count, frame, condition.strides[0], plan.condition_size, b, b_row, b_scales, SIGNED
                )
                product(kind, streams, LINEAR, ONE, (
                    depth * plan.gate_registers, c, c_row, w + plan.condition_bias, 0, z, 0,
                    w + plan.condition, w + plan.condition_consts, v, v_row, b_scales, 4, plan.condition_size // 4,
                ))  # fmt: skip
            embed(x, symbol, inputs, plan.mixtures)
            for i in range(depth):
                ring = layers[i, FIRST_ROW]
                slot = now % layers[i, ROWS]
                here, here_scales = r + (ring + slot) * slot_bytes, r_scales + (ring + slot) * 4
                for m in range(count):
                    store_row(kind, a + m * a_row, plan.channels, here + m * r_row, here_scales + m * r_scales_row)
                sums = p + i * BLOCK * gate_bytes
                if count == 1:
                    done = now % layers[i, AHEAD]
                    if t == first or done == 0:
                        past_ahead(kind, plan, layers, i, now - done, weights, zeros, sums, gate_bytes, rings, scales,
                                   block, block_scales)  # fmt: skip
                    sums += done * gate_bytes
                else:
                    past_now(
                        kind, streams, plan, layers, i, slot, w, z, sums, gate_bytes, r + ring * slot_bytes, r_row,
                        slot_bytes, r_scales + ring * 4, r_scales_row,
                    )  # fmt: skip
                passed = g + i * plan.gated * 4
                product(kind, streams, GATE, ONE, (
                    plan.gate_registers, passed, g_row, sums, gate_bytes, c + i * gate_bytes, c_row,
                    w + layers[i, CURRENT], w + layers[i, CURRENT_CONSTS],
                    here, r_row, here_scales, r_scales_row, quads,
                ))  # fmt: skip
                if i < depth - 1:  # nobody reads the last layer's residual output
                    v, v_row = operands(kind, count, passed, g_row, plan.gated, b, b_row, b_scales, SIGNED)
                    product(kind, streams, LINEAR, SCALE, (
                        plan.residual_registers, a, a_row, a, a_row, w + layers[i, RESIDUAL_BIAS], 0,
                        w + layers[i, RESIDUAL], w + layers[i, RESIDUAL_CONSTS], v, v_row, b_scales, 4, plan.gated // 4,
                    ))  # fmt: skip
            head(
                kind, streams, plan, depth * plan.gated, w, z, g, g_row, h, e, h_row, hidden.shape[1], y,
                logits.strides[0], b, b_row, b_scales,
            )  # fmt: skip
            for m in range(count):
                if plan.mixtures:
                    symbol[m] = draw_value(logits[m], exponentials, plan.mixtures, uniforms[m, t], bin_width)
                else:
                    symbol[m] = draw_class(logits[m], exponentials, plan.outputs, uniforms[m, t])
                symbols[m, t] = symbol[m]
                if teacher.shape[1]:
                    symbol[m] = teacher[m, t]
                    for n in range(plan.outputs):
                        outputs[m, t, n] = logits[m, n]

    return compiled_and_kept(run)


run = _kept_loop(sources_stamp(Path(__file__).parent))
