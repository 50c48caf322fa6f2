"""Packs a decoder's weights for the compiled loop: one aligned array of bytes, in the order of use."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.audio.likelihood import LogisticMixture, MuLawSoftmax, SampleLikelihood
from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.audio.wavenet_sampler.rows import SIGNED, UNSIGNED
from audiovq.audio.wavenet_sampler.state import BLOCK, padded, ring_rows
from audiovq.layers.wavenet.stack import RESIDUAL_SCALE, WaveNetStack
from audiovq.simd.byte_products import PAIR_LIMIT
from audiovq.simd.vectors import LANES

Array = NDArray[Any]
KINDS: dict[str, Any] = {"fp32": np.float32(0), "bf16": np.uint16(0), "int8": np.int8(0)}
"""A scalar of the weights' type (bfloat16 as its bits), which tells the compiled code which product to use."""
ALIGNMENT = 64  # bytes: a cache line
NEVER = -1e30  # the logit of an output that is only there to fill a register

# Columns of the table of layers; byte offsets into the weights, but for the first four. AHEAD: samples
# whose past taps are computed at once, a power of two no greater than the dilation.
DILATION, FIRST_ROW, ROWS, AHEAD, CURRENT, CURRENT_CONSTS, RESIDUAL, RESIDUAL_CONSTS, RESIDUAL_BIAS, PAST = range(10)
"""From PAST on: weights and consts of each past tap, the oldest first."""


class Plan(NamedTuple):
    """What the loop has to know besides the layers; widths are padded, offsets are in bytes into the weights."""

    hop_length: int
    past_taps: int
    mixtures: int  # 0 for a softmax
    outputs: int  # of the likelihood
    channels: int  # as a row of the ring has them
    residual_registers: int
    gate_registers: int  # filters and gates of one layer
    gated: int  # numbers from one layer to the next and to the skips
    hidden_registers: int
    output_registers: int
    condition_size: int
    condition: int
    condition_consts: int
    condition_bias: int
    skip: int
    skip_consts: int
    skip_bias: int
    hidden: int
    hidden_consts: int
    hidden_bias: int
    output: int
    output_consts: int
    output_bias: int


@dataclass(frozen=True)
class PackedWeights:
    """All that the compiled loop reads and never writes.

    Attributes:
        kind: scalar of KINDS.
        plan, layers: where in `weights` things are; layers: `[layers, PAST + 2 * past taps]` int64.
        weights: bytes, aligned to cache lines.
        inputs: float32 `[levels, width]`, a first layer's input for each class; for a mixture `[2, width]`, factor
            and offset.
    """

    kind: Any
    plan: Plan
    layers: Array
    weights: Array
    inputs: Array


def aligned_zeros(count: int, dtype: Any) -> Array:
    """An array that begins at a cache line."""
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    first = -raw.ctypes.data % ALIGNMENT
    return raw[first : first + size].view(dtype)


def whole_registers(count: int) -> int:
    """The next multiple of two registers: outputs come in pairs of them."""
    return -(-count // (2 * LANES)) * 2 * LANES


def _numpy(tensor: Any) -> Array:
    return tensor.detach().float().cpu().numpy()


def _pad(array: Array, *shape: int, fill: float = 0.0) -> Array:
    out = np.full(shape, fill, np.float32)
    out[tuple(slice(n) for n in array.shape)] = array
    return out


def pack_matrix(matrix: Array, precision: str, zero: int = SIGNED) -> tuple[bytes, bytes]:
    """`[outputs, inputs]`, both padded -> weights in tiles, and consts of int8 weights; see `products`.

    zero: SIGNED or UNSIGNED, as the inputs are quantized.
    """
    outputs, inputs = matrix.shape
    if precision == "int8":
        steps = _steps(matrix)
        matrix = np.rint(matrix / steps[:, None]).astype(np.int8)
    tiles, row = [], 0
    while row < outputs:
        left = (outputs - row) // LANES
        width = (8 if left >= 8 else 4 if left >= 4 else 2) * LANES
        tile = np.ascontiguousarray(matrix[row : row + width].T)  # [inputs, width]
        if precision == "fp32":
            tiles.append(tile.tobytes())
        elif precision == "bf16":
            pairs = tile.reshape(inputs, width // (2 * LANES), 2, LANES)
            tiles.append(_pack_bf16(pairs[:, :, 0], pairs[:, :, 1]).tobytes())
        else:
            tiles.append(tile.reshape(inputs // 4, 4, width).transpose(0, 2, 1).tobytes())
        row += width
    if precision != "int8":
        return b"".join(tiles), b""
    start = -zero * matrix.sum(axis=1, dtype=np.int32)
    consts = np.stack([values.reshape(-1, LANES) for values in (start, steps.view(np.int32))], axis=1)
    return b"".join(tiles), consts.tobytes()


def _pack_bf16(even: Array, odd: Array) -> Array:
    """Pairs of numbers in 32 bits: bfloat16 in the low half, and for the odd one all of them, as a float32.

    That saves clearing the low half. What it adds to the odd one is made up for by the high half: that too is within
    half a bfloat16's step of its number, as if rounded (just under a power of two, within three quarters).
    """
    low = torch.from_numpy(np.ascontiguousarray(even)).bfloat16().view(torch.int16).numpy().view(np.uint16)
    bits = np.ascontiguousarray(odd).view(np.uint32)
    high = (bits.astype(np.int64) - low + 0x8000) >> 16  # of magnitudes: the sign is the topmost bit
    high = np.maximum(high, bits >> 31 << 15)  # not below the zero of its sign
    return (high << 16 | low).astype(np.uint32)


def _steps(matrix: Array) -> Array:
    """What an integer of each row of int8 weights is worth."""
    magnitudes = np.abs(matrix)
    steps = magnitudes.max(axis=1) / 127
    if PAIR_LIMIT is not None:  # rounding may add one half to each
        steps = np.maximum(steps, (magnitudes[:, ::2] + magnitudes[:, 1::2]).max(axis=1) / (PAIR_LIMIT - 1))
    return np.where(steps < 1e-30, np.float32(1), steps)


class _Writer:
    """Appends to the array of weights; each piece begins at a cache line."""

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.pieces: list[bytes] = []
        self.size = 0

    def put(self, data: bytes) -> int:
        """The offset that the data is put at."""
        offset = self.size
        filler = -len(data) % ALIGNMENT
        self.pieces += [data, bytes(filler)]
        self.size += len(data) + filler
        return offset

    def matrix(self, matrix: Array, zero: int = SIGNED) -> tuple[int, int]:
        """Offsets of weights and consts."""
        weights, consts = pack_matrix(matrix, self.precision, zero)
        return self.put(weights), self.put(consts)

    def floats(self, values: Array) -> int:
        return self.put(np.ascontiguousarray(values, np.float32).tobytes())

    def array(self) -> Array:
        out = aligned_zeros(self.size, np.uint8)
        out[:] = np.frombuffer(b"".join(self.pieces), np.uint8)
        return out


def _gate_order(rows: Array, gate_channels: int) -> Array:
    """`[2 * gate, ...]`, filters then gates -> registers of filters and of gates in turn, padded with zeros."""
    width = whole_registers(2 * gate_channels) // 2
    halves = [_pad(half, width, *half.shape[1:]) for half in (rows[:gate_channels], rows[gate_channels:])]
    registers = np.stack([half.reshape(width // LANES, LANES, *half.shape[1:]) for half in halves], axis=1)
    return registers.reshape(2 * width, *rows.shape[1:])


def pack_weights(decoder: WaveNetDecoder, precision: str) -> PackedWeights:
    """Copy a decoder's weights; `precision`: a key of KINDS."""
    stack, likelihood = decoder.stack, decoder.likelihood
    first = stack.wavenet_layers[0]
    gate_channels = stack.gate_channels
    writer = _Writer(precision)
    condition = _pack_condition(writer, stack)
    layers = _pack_layers(writer, stack)
    head = _pack_head(writer, stack, likelihood.num_outputs)
    plan = Plan(
        hop_length=decoder.hop_length,
        past_taps=first.kernel_size - 1,
        mixtures=likelihood.mixtures if isinstance(likelihood, LogisticMixture) else 0,
        outputs=likelihood.num_outputs,
        channels=padded(stack.channels),
        residual_registers=whole_registers(stack.channels) // LANES,
        gate_registers=whole_registers(2 * gate_channels) // LANES,
        gated=padded(gate_channels),
        hidden_registers=whole_registers(stack.skip.out_features) // LANES,
        output_registers=whole_registers(likelihood.num_outputs) // LANES,
        **condition,
        **head,
    )
    return PackedWeights(KINDS[precision], plan, layers, writer.array(), _pack_inputs(likelihood, stack.channels))


def _pack_condition(writer: _Writer, stack: WaveNetStack) -> dict[str, int]:
    """Once a frame: all layers' projections of the condition, with the biases of their taps."""
    layers, gate_channels = stack.wavenet_layers, stack.gate_channels
    weights_of = [layer.condition.weight for layer in layers if layer.condition is not None]  # a decoder has all
    projections = [_gate_order(_numpy(weight), gate_channels) for weight in weights_of]
    joined = np.concatenate(projections)
    size = padded(joined.shape[1])
    weights, consts = writer.matrix(_pad(joined, len(joined), size))
    biases = np.concatenate([_gate_order(_numpy(layer.taps.bias), gate_channels) for layer in layers])
    bias = writer.floats(biases)
    return {"condition_size": size, "condition": weights, "condition_consts": consts, "condition_bias": bias}


def _pack_layers(writer: _Writer, stack: WaveNetStack) -> Array:
    """The table of layers."""
    layers, channels, gate_channels = stack.wavenet_layers, stack.channels, stack.gate_channels
    past_taps = layers[0].kernel_size - 1
    table = np.zeros((len(layers), PAST + 2 * past_taps), np.int64)
    first = 0
    for entry, layer in zip(table, layers, strict=True):
        ahead = min(BLOCK, 1 << layer.dilation.bit_length() - 1)
        entry[[DILATION, FIRST_ROW, ROWS, AHEAD]] = layer.dilation, first, ring_rows(layer), ahead
        first += ring_rows(layer)
        ordered = _gate_order(_numpy(layer.taps.weight), gate_channels)
        taps = [_pad(tap, len(ordered), padded(channels)) for tap in np.split(ordered, past_taps + 1, axis=1)]
        for k in range(past_taps):
            entry[[PAST + 2 * k, PAST + 2 * k + 1]] = writer.matrix(taps[k])
        entry[[CURRENT, CURRENT_CONSTS]] = writer.matrix(taps[-1])
        if layer.residual is not None:
            width, scale = whole_registers(channels), np.float32(RESIDUAL_SCALE)
            weight, bias = _numpy(layer.residual.weight) * scale, _numpy(layer.residual.bias) * scale
            entry[[RESIDUAL, RESIDUAL_CONSTS]] = writer.matrix(_pad(weight, width, padded(gate_channels)))
            entry[RESIDUAL_BIAS] = writer.floats(_pad(bias, width))
    return table


def _pack_head(writer: _Writer, stack: WaveNetStack, num_outputs: int) -> dict[str, int]:
    """The skips and the two layers after them."""
    depth, channels = len(stack.wavenet_layers), stack.skip.out_features
    width, outputs = whole_registers(channels), whole_registers(num_outputs)
    by_layer = _numpy(stack.skip.weight).reshape(channels, depth, -1)
    skips = _pad(by_layer, width, depth, padded(by_layer.shape[-1])).reshape(width, -1)
    offsets = {}
    for name, layer, matrix, fill, zero in (
        ("skip", stack.skip, skips, 0.0, SIGNED),
        ("hidden", stack.hidden, _pad(_numpy(stack.hidden.weight), width, width), 0.0, UNSIGNED),
        ("output", stack.output, _pad(_numpy(stack.output.weight), outputs, width), NEVER, UNSIGNED),
    ):
        offsets[name], offsets[f"{name}_consts"] = writer.matrix(matrix, zero)
        offsets[f"{name}_bias"] = writer.floats(_pad(_numpy(layer.bias), len(matrix), fill=fill))
    return offsets


def _pack_inputs(likelihood: SampleLikelihood, channels: int) -> Array:
    if isinstance(likelihood, MuLawSoftmax):
        rows = _numpy(likelihood.embedding.weight)
    else:
        rows = np.stack([_numpy(likelihood.project.weight)[:, 0], _numpy(likelihood.project.bias)])
    width = whole_registers(channels)
    out = aligned_zeros(len(rows) * width, np.float32).reshape(len(rows), width)
    out[:, :channels] = rows
    return out
