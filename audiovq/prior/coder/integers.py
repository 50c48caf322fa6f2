"""Exact arithmetic of the coders: products of small integers, exponentials, gates and frequencies, without a rounding.

Tables of exp, sigmoid and tanh are computed in Python's whole numbers, so no mathematical library has a say in them.
Products of int8 matrices use float32, where numpy is fast: every partial sum is a whole number below 2^24 as long as a
sum has at most `MAX_TERMS` terms, so it is exact in any order, with any vector unit and on any number of threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from audiovq.prior.coder.rangecoder import TOTAL

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

INT8 = 127  # largest activation
MAX_TERMS = 2**24 // 128**2  # 1024: of a sum of products that float32 holds exactly
STEPS_PER_NAT = 32  # of logits, where the exponential is looked up
GATE_ONE = 2**12  # 1 of a sigmoid
STATE_ONE = 2**14  # 1 of a tanh
GATE_STEP = 7  # bits: arguments of gates come in units of 2^-14, and the tables have a step of 2^-7
_GATE_RANGE = 8 << GATE_STEP  # arguments -8 .. 8
_ONE = 2**62


def product(rows: Floats, weights: Floats) -> Ints:
    """Whole numbers `[..., D]` times weights `[N, D]`, both in int8, D <= MAX_TERMS -> exact sums `[..., N]`."""
    return (rows @ weights.T).astype(np.int64)


def rounded_shift(values: Ints, bits: int) -> Ints:
    """values / 2^bits, rounded to the nearest, halves up."""
    return (values + (1 << bits >> 1)) >> bits


def to_int8(values: Ints, bits: int, lowest: int = -INT8) -> Floats:
    """The same, kept within lowest .. INT8, as the float32 that `product` takes."""
    return np.clip(rounded_shift(values, bits), lowest, INT8).astype(np.float32)


def frequencies(logits: Ints, bits: int) -> Ints:
    """Softmax `[..., K]` in whole numbers: each at least 1, in all 2^16.

    Args:
        logits: in units of 2^-bits / STEPS_PER_NAT nats. What rounding leaves over goes to the first of the largest.
    """
    below = np.minimum((logits.max(-1, keepdims=True) - logits) >> bits, len(_EXP) - 1)
    weights = _EXP[below]
    found = 1 + weights * (TOTAL - logits.shape[-1]) // weights.sum(-1, keepdims=True)
    rest = TOTAL - found.sum(-1, keepdims=True)
    first = logits.argmax(-1)[..., None]
    np.put_along_axis(found, first, np.take_along_axis(found, first, -1) + rest, -1)
    return found


def starts(frequencies: Ints) -> Ints:
    """`[..., K]` -> where each symbol's part begins, and TOTAL at the end: `[..., K + 1]`."""
    found = np.zeros((*frequencies.shape[:-1], frequencies.shape[-1] + 1), np.int64)
    np.cumsum(frequencies, -1, out=found[..., 1:])
    return found


def sigmoid(values: Ints) -> Ints:
    """Of arguments in units of 2^-14, in units of 1 / GATE_ONE."""
    return _SIGMOID[_gate_index(values)]


def tanh(values: Ints) -> Ints:
    """Of arguments in units of 2^-14, in units of 1 / STATE_ONE."""
    return _TANH[_gate_index(values)]


def _gate_index(values: Ints) -> Ints:
    return np.clip(rounded_shift(values, GATE_STEP) + _GATE_RANGE, 0, 2 * _GATE_RANGE)


def _powers_of_exp(steps_per_nat: int, count: int) -> list[int]:
    """exp(-i / steps_per_nat) for i < count, in units of 2^-62, each the one before times the first."""
    factor, term, k = 0, _ONE, 0  # the series of exp(-1 / steps_per_nat)
    while term:
        factor += term if k % 2 == 0 else -term
        k += 1
        term //= steps_per_nat * k
    found = [_ONE]
    while len(found) < count:
        found.append(found[-1] * factor // _ONE)
    return found


def _gate_tables() -> tuple[Ints, Ints]:
    """Sigmoid and tanh at -8, -8 + 2^-7, ... 8."""
    powers = _powers_of_exp(1 << GATE_STEP, 2 * _GATE_RANGE + 1)
    sigmoids = [GATE_ONE * _ONE // (_ONE + power) for power in powers[: _GATE_RANGE + 1]]
    tanhs = [STATE_ONE * (_ONE - power) // (_ONE + power) for power in powers[::2]]
    return (
        np.array([GATE_ONE - s for s in sigmoids[:0:-1]] + sigmoids, np.int64),
        np.array([-t for t in tanhs[:0:-1]] + tanhs, np.int64),
    )


_EXP = np.array(
    [power >> 42 for power in _powers_of_exp(STEPS_PER_NAT, 16 * STEPS_PER_NAT)], np.int64
)  # in units of 2^-20
_SIGMOID, _TANH = _gate_tables()


def fingerprint(kind: str, tensors: Mapping[str, NDArray[np.integer]]) -> bytes:
    """First 4 bytes of a SHA-256 of names, types, shapes and values, in sorted order, little-endian."""
    digest = hashlib.sha256(kind.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(repr((name, tensor.dtype.name, tensor.shape)).encode())
        digest.update(tensor.astype(tensor.dtype.newbyteorder("<")).tobytes())
    return digest.digest()[:4]
