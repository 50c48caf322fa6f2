"""Fits the tables of a `TableCoder`: a softmax of low rank to counts of pairs of codes, its factors rounded to int8."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.errors import BadDataError, ConfigError
from audiovq.prior import CodeItem, CodeSpec
from audiovq.prior.base import check_codes
from audiovq.prior.coder.tables import MAX_CODEBOOK, WEIGHT_BITS, TableCoder
from audiovq.train.prior.coder.rounding import to_integers, with_rounding

RANKS = (16, 8, 2)  # of the first, the second, and every other level, about which there is less to know
STEPS = 200
LEARNING_RATE = 0.05


def fit_tables(
    spec: CodeSpec, items: Sequence[CodeItem], *, steps: int = STEPS, progress: Callable[[int, int], None] | None = None
) -> TableCoder:
    """Count pairs in `items` and fit every level; BadDataError if there is no code, ConfigError for too many kinds."""
    for item in items:
        check_codes(spec, item.codes)
    if not sum(item.codes.size for item in items):
        raise BadDataError("there are no codes to count; check the paths")
    sizes = spec.codebook_sizes
    if max(sizes) > MAX_CODEBOOK:
        raise ConfigError(f"a codebook of {max(sizes)}; tables take at most {MAX_CODEBOOK}")
    tensors: dict[str, NDArray[Any]] = {}
    for level, size in enumerate(sizes):
        rows = sizes[level - 1] if level else size + 1
        counts = np.zeros((rows, size))
        for item in items:
            context = item.codes[level - 1] if level else np.concatenate([[size], item.codes[0, :-1]])
            np.add.at(counts, (context[: item.codes.shape[1]], item.codes[level]), 1)
        if level == 0:  # few items begin, and packets begin anywhere: as after any code
            counts[-1] += counts.sum(0) / rows
        done = level * steps

        def tell(step: int, done: int = done) -> None:
            if progress is not None:
                progress(done + step, len(sizes) * steps)

        factors = _factorize(torch.from_numpy(counts).float(), RANKS[min(level, len(RANKS) - 1)], steps, tell)
        tensors |= {f"{level}.{name}": values.numpy() for name, values in factors.items()}
    return TableCoder(tensors)


def _factorize(counts: Tensor, rank: int, steps: int, tell: Callable[[int], None]) -> dict[str, Tensor]:
    """Factors whose softmax gives counts `[rows, K]` most probability, rounded as the coder has them."""
    generator = torch.Generator().manual_seed(0)
    context, output = (torch.randn(n, rank, generator=generator) * 0.3 for n in counts.shape)
    columns = counts.sum(0) + 1
    bias = torch.log(columns / columns.mean())
    factors = [factor.requires_grad_() for factor in (context, output, bias)]
    optimizer = torch.optim.Adam(factors, lr=LEARNING_RATE)
    of_row, total = counts.sum(1), counts.sum()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        logits = with_rounding(context, WEIGHT_BITS) @ with_rounding(output, WEIGHT_BITS).T + bias
        nats = (torch.logsumexp(logits, 1) @ of_row - (counts * logits).sum()) / total
        optimizer.zero_grad()
        nats.backward()
        optimizer.step()
        tell(step + 1)
    return {
        "context": to_integers(context, WEIGHT_BITS, torch.int8),
        "output": to_integers(output, WEIGHT_BITS, torch.int8),
        "bias": to_integers(bias, 2 * WEIGHT_BITS, torch.int32),
    }
