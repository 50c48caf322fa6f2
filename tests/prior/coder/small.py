"""Coders of small codebooks with random weights, made without torch."""

from __future__ import annotations

import numpy as np

from audiovq.prior.coder import LearnedCoder, TableCoder

SIZES = (40, 16, 3)


def int8(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-60, 61, shape, dtype=np.int8)


def int32(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-2000, 2001, shape, dtype=np.int32)


def tables() -> TableCoder:
    rng, tensors = np.random.default_rng(0), {}
    for q, size in enumerate(SIZES):
        rows = SIZES[q - 1] if q else size + 1
        tensors |= {
            f"{q}.context": int8(rng, rows, 6),
            f"{q}.output": int8(rng, size, 6),
            f"{q}.bias": int32(rng, size),
        }
    return TableCoder(tensors)


def learned() -> LearnedCoder:
    rng, width, columns, heads = np.random.default_rng(1), 24, (12, 8, 4), (24, 10, 6)
    tensors = {"recurrent": int8(rng, 3 * width, width), "bias": int32(rng, 3 * width), "bias_new": int32(rng, width)}
    for q, size in enumerate(SIZES):
        tensors |= {f"{q}.embedding": int8(rng, size, columns[q]), f"{q}.bias": int32(rng, size)}
        tensors |= {f"{q}.output": int8(rng, columns[q], heads[q]), f"{q}.output_bias": int32(rng, columns[q])}
        if q < 2:
            tensors[f"{q}.input"] = int8(rng, 3 * width, columns[q])
        if q:
            tensors |= {f"{q}.hidden": int8(rng, heads[q], width), f"{q}.hidden_bias": int32(rng, heads[q])}
            tensors |= {f"{q}.below.{j}": int8(rng, heads[q], columns[j]) for j in range(q)}
    return LearnedCoder(tensors)


def codes_of(channels: int, levels: int, frames: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, (channels, frames)) for size in SIZES[:levels]], axis=1)
