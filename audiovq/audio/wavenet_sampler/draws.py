"""Draws a symbol from outputs and one uniform number: the compiled form of the draws of `audiovq.audio.likelihood`."""

# mypy: ignore-errors
# Compiled by numba, whose language has types of its own.

import math

import numba
import numpy as np

from audiovq.audio.likelihood import LogisticMixture
from audiovq.audio.wavenet_sampler.rows import SUMMED, exp_row, largest, sum_block

MIN_LOG_SCALE = LogisticMixture.MIN_LOG_SCALE


@numba.njit(nogil=True, inline="always")
def draw_class(logits, exponentials, levels, uniform):
    """Invert a softmax's CDF: the first class whose cumulative probability exceeds `uniform`."""
    size = len(logits)
    start = exponentials.ctypes.data
    exp_row(logits.ctypes.data, size, largest(logits.ctypes.data, size), start)
    total = 0.0
    for i in range(0, size, SUMMED):
        total += sum_block(start + 8 * i)
    target, below, first = uniform * total, 0.0, 0
    while first + SUMMED < levels:
        more = sum_block(start + 8 * first)
        if below + more > target:
            break
        below += more
        first += SUMMED
    for i in range(first, levels):
        below += exponentials[i]
        if below > target:
            return np.float32(i)
    return np.float32(levels - 1)


@numba.njit(nogil=True, inline="always")
def draw_value(logits, exponentials, mixtures, uniform, bin_width):
    """A sample of a mixture of logistics, quantized: as LogisticMixture.sample, number by number."""
    highest = logits[0]
    for i in range(1, mixtures):
        highest = max(highest, logits[i])
    total = 0.0
    for i in range(mixtures):
        exponentials[i] = math.exp(np.float64(logits[i]) - np.float64(highest))
        total += exponentials[i]
    target, below, chosen = uniform * total, 0.0, mixtures - 1
    for i in range(mixtures):
        below += exponentials[i]
        if below > target:
            chosen = i
            break
    within = (target - below + exponentials[chosen]) / exponentials[chosen]
    within = min(max(within, 1e-12), 1 - 1e-12)
    scale = math.exp(max(np.float64(logits[2 * mixtures + chosen]), MIN_LOG_SCALE))
    value = np.float32(logits[mixtures + chosen] + scale * math.log(within / (1 - within)))
    clipped = min(max(value, np.float32(-1)), np.float32(1))
    return np.float32(np.rint((clipped + np.float32(1)) / bin_width) * bin_width - np.float32(1))
