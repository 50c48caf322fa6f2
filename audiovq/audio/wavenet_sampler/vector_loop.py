"""The vector loop with a decoder's weights: what CompiledSampler runs for every group of streams."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.audio.wavenet_sampler import loop
from audiovq.audio.wavenet_sampler.pack import aligned_zeros, pack_weights
from audiovq.audio.wavenet_sampler.products import EIGHT_ROWS, ONE_ROW
from audiovq.audio.wavenet_sampler.state import BLOCK
from audiovq.errors import ConfigError
from audiovq.simd import byte_products
from audiovq.simd.vectors import LANES

Array = NDArray[Any]


class VectorLoop:
    """One stream, or `lockstep` streams, at a time.

    Attributes:
        row_type: of the rings' rows. silence: a row's value for zero. silent_scale: and its scale.
        condition_size: width that conditions have to be padded to.

    Raises ConfigError for int8 on a processor without instructions for it.
    """

    lockstep = len(EIGHT_ROWS)

    def __init__(self, decoder: WaveNetDecoder, precision: str) -> None:
        if precision == "int8" and not byte_products.AVAILABLE:
            raise ConfigError("precision int8 needs an x86 processor with SSSE3 or AVX2; choose bf16 or fp32")
        eight_bits = precision == "int8"
        self.row_type = np.uint8 if eight_bits else np.float32
        self.silence, self.silent_scale = (128, 0) if eight_bits else (0, 1)
        self.packed = pack_weights(decoder, precision)
        self.condition_size = self.packed.plan.condition_size
        self.bin_width = np.float32(getattr(decoder.likelihood, "bin_width", 0.0))

    def scratch(self, streams: int) -> tuple[Array, ...]:
        """The buffers of one running loop, aligned and long enough for whole registers."""

        def buffer(kind: Any, *shape: int) -> Array:
            return aligned_zeros(int(np.prod(shape)), kind).reshape(shape)

        plan, depth = self.packed.plan, len(self.packed.layers)
        gate, residual = plan.gate_registers * LANES, plan.residual_registers * LANES
        hidden, outputs = plan.hidden_registers * LANES, plan.output_registers * LANES
        gated = -(-(depth * plan.gated + gate) // LANES) * LANES
        return (
            buffer(np.float32, max(depth * gate, hidden, outputs, residual)),  # zeros
            buffer(np.float32, streams, depth, gate),  # conditions of each layer
            buffer(np.float32, depth, BLOCK, gate),  # sums of past taps: of samples to come, or of each stream
            buffer(np.float32, streams, residual),  # a layer's input
            buffer(np.float32, streams, gated),  # what all gates let through
            buffer(np.float32, streams, hidden),
            buffer(np.float32, streams, hidden),
            buffer(np.float32, streams, outputs),
            buffer(np.float64, outputs),  # their exponentials
            buffer(np.uint8, streams, max(gated, hidden, -(-plan.condition_size // 64) * 64)),  # quantized operands
            buffer(np.float32, streams),  # their scales
            buffer(self.row_type, BLOCK, plan.channels),  # rows of a ring's end and start, joined
            buffer(np.float32, BLOCK),  # their scales
        )

    def run(
        self, condition: Array, uniforms: Array, teacher: Array, rings: Array, scales: Array,
        scratch: tuple[Array, ...], symbol: Array, position: int, first: int, stop: int, symbols: Array, outputs: Array,
    ) -> None:  # fmt: skip
        """See `loop.run`; all arrays have the streams as their first axis."""
        packed = self.packed
        loop.run(
            packed.kind, ONE_ROW if len(rings) == 1 else EIGHT_ROWS, packed.plan, packed.layers, packed.weights,
            packed.inputs, condition, uniforms, teacher, rings, scales, scratch, symbol, position, first, stop,
            self.bin_width, symbols, outputs,
        )  # fmt: skip
