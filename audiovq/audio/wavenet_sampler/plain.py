"""The compiled loop once more, in plain numba: no vector code, no tiles, no blocks. It checks the fast one, and stands
in for it where a processor or a version of LLVM can't compile that. float32 only, one stream at a time."""

import math
from typing import Any, NamedTuple, no_type_check

import numba
import numpy as np
from numpy.typing import NDArray

from audiovq.audio.likelihood import LogisticMixture, MuLawSoftmax
from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.audio.wavenet_sampler.draws import draw_value
from audiovq.audio.wavenet_sampler.state import ring_rows
from audiovq.layers.wavenet.stack import RESIDUAL_SCALE
from audiovq.simd.disk_cache import compiled_and_kept

Array = NDArray[Any]
SCALE = np.float32(RESIDUAL_SCALE)


class PlainWeights(NamedTuple):
    """Matrices are `[inputs, outputs]`, float32; L layers, k taps, R residual, G gate, S skip channels."""

    hop_length: int
    mixtures: int  # 0 for a softmax
    rings: Array  # [L, 3] int64: dilation, first row, rows
    inputs: Array  # [levels, R] rows for classes, or [2, R] factor and offset
    taps: Array  # [L, k, R, 2G]
    taps_bias: Array  # [L, 2G]
    condition: Array  # [L, C, 2G]
    residual: Array  # [L, G, R], zero in the last layer
    residual_bias: Array
    skip: Array  # [L * G, S]
    skip_bias: Array
    hidden: Array
    hidden_bias: Array
    output: Array
    output_bias: Array


def plain_weights(decoder: WaveNetDecoder) -> PlainWeights:
    """Copy a decoder's weights."""

    def array(tensor: Any) -> Array:
        return np.array(tensor.detach().float().cpu().numpy(), order="C")

    def stacked(tensors: list[Any]) -> Array:
        return np.stack([array(t) for t in tensors])

    stack, likelihood = decoder.stack, decoder.likelihood
    layers = stack.wavenet_layers
    rings, first = [], 0
    for layer in layers:
        rings.append((layer.dilation, first, ring_rows(layer)))
        first += ring_rows(layer)
    residual = np.zeros((len(layers), layers[0].taps.out_features // 2, stack.channels), np.float32)
    residual_bias = np.zeros((len(layers), stack.channels), np.float32)
    for i, layer in enumerate(layers):
        if layer.residual is not None:
            residual[i], residual_bias[i] = array(layer.residual.weight.T), array(layer.residual.bias)
    if isinstance(likelihood, MuLawSoftmax):
        inputs = array(likelihood.embedding.weight)
    else:
        inputs = np.stack([array(likelihood.project.weight[:, 0]), array(likelihood.project.bias)])
    return PlainWeights(
        hop_length=decoder.hop_length,
        mixtures=likelihood.mixtures if isinstance(likelihood, LogisticMixture) else 0,
        rings=np.array(rings, np.int64),
        inputs=inputs,
        taps=stacked([layer.taps.weight.T.unflatten(0, (layer.kernel_size, -1)) for layer in layers]),
        taps_bias=stacked([layer.taps.bias for layer in layers]),
        condition=stacked([layer.condition.weight.T for layer in layers if layer.condition is not None]),
        residual=residual,
        residual_bias=residual_bias,
        skip=array(stack.skip.weight.T),
        skip_bias=array(stack.skip.bias),
        hidden=array(stack.head[1].weight.T),
        hidden_bias=array(stack.head[1].bias),
        output=array(stack.head[3].weight.T),
        output_bias=array(stack.head[3].bias),
    )


@numba.njit(nogil=True, fastmath={"contract"})
@no_type_check
def add_product(out, x, matrix):
    """out += x @ matrix, four inputs at a time: a plain loop that LLVM vectorises well."""
    whole = len(matrix) // 4 * 4
    for k in range(0, whole, 4):
        a, b, c, d = x[k], x[k + 1], x[k + 2], x[k + 3]
        for n in range(len(out)):
            out[n] += a * matrix[k, n] + b * matrix[k + 1, n] + c * matrix[k + 2, n] + d * matrix[k + 3, n]
    for k in range(whole, len(matrix)):
        for n in range(len(out)):
            out[n] += x[k] * matrix[k, n]


@numba.njit(nogil=True)
@no_type_check
def draw_class_plainly(logits, uniform):
    """The first class whose cumulative probability exceeds `uniform`."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max())
    target, below = uniform * exponentials.sum(), 0.0
    for i in range(len(exponentials)):
        below += exponentials[i]
        if below > target:
            return np.float32(i)
    return np.float32(len(exponentials) - 1)


@compiled_and_kept
@no_type_check
def run_plain(
    weights, condition, uniforms, teacher, rings, symbol, position, first, stop, bin_width, symbols, outputs
):  # fmt: skip
    """Draw samples first ... stop - 1 of a call, as `loop.run` does for one stream; arrays have no axis of streams,
    condition: `[F, C]`. Returns the last symbol fed."""
    projected = np.zeros(weights.taps_bias.shape, np.float32)
    depth, taps, channels, gates = weights.taps.shape
    past = taps - 1
    x = np.zeros(channels, np.float32)
    gated = np.zeros((depth, gates // 2), np.float32)
    exponentials = np.zeros(len(weights.output_bias))
    for t in range(first, stop):
        now = position + t
        if t == first or now % weights.hop_length == 0:
            frame = (position % weights.hop_length + t) // weights.hop_length
            projected[:] = weights.taps_bias
            for i in range(depth):
                add_product(projected[i], condition[frame], weights.condition[i])
        if weights.mixtures:
            x[:] = symbol * weights.inputs[0] + weights.inputs[1]
        else:
            x[:] = weights.inputs[int(symbol)]
        for i in range(depth):
            dilation, ring, rows = weights.rings[i]
            rings[ring + now % rows, :channels] = x
            filtered = projected[i].copy()
            for k in range(past + 1):
                add_product(filtered, rings[ring + (now - (past - k) * dilation) % rows], weights.taps[i, k])
            for n in range(gates // 2):
                gated[i, n] = math.tanh(filtered[n]) / (np.float32(1) + math.exp(-filtered[gates // 2 + n]))
            x += weights.residual_bias[i]
            add_product(x, gated[i], weights.residual[i])
            x *= SCALE
        hidden = weights.skip_bias.copy()
        add_product(hidden, gated.ravel(), weights.skip)
        head = weights.hidden_bias.copy()
        add_product(head, np.maximum(hidden, np.float32(0)), weights.hidden)
        logits = weights.output_bias.copy()
        add_product(logits, np.maximum(head, np.float32(0)), weights.output)
        if weights.mixtures:
            symbol = draw_value(logits, exponentials, weights.mixtures, uniforms[t], bin_width)
        else:
            symbol = draw_class_plainly(logits, uniforms[t])
        symbols[t] = symbol
        if len(teacher):
            symbol = teacher[t]
            outputs[t] = logits
    return symbol


class PlainLoop:
    """The plain loop with a decoder's weights; the same face as VectorLoop."""

    lockstep = 1
    row_type, silence, silent_scale = np.float32, 0, 1

    def __init__(self, decoder: WaveNetDecoder) -> None:
        self.weights = plain_weights(decoder)
        self.condition_size = self.weights.condition.shape[1]
        self.bin_width = np.float32(getattr(decoder.likelihood, "bin_width", 0.0))

    def scratch(self, streams: int) -> tuple[Array, ...]:
        """It makes its own."""
        return ()

    def run(
        self, condition: Array, uniforms: Array, teacher: Array, rings: Array, scales: Array,
        scratch: tuple[Array, ...], symbol: Array, position: int, first: int, stop: int, symbols: Array, outputs: Array,
    ) -> None:  # fmt: skip
        """See `run_plain`; all arrays have one stream as their first axis."""
        symbol[0] = run_plain(
            self.weights, condition[0], uniforms[0], teacher[0], rings[0], symbol[0], position, first, stop,
            self.bin_width, symbols[0], outputs[0],
        )  # fmt: skip
