"""95 % confidence intervals: of a mean (bootstrap over files) and of a share (Wilson)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000
Z_95 = 1.959964  # two-sided 95 % of a normal distribution


def mean_interval(values: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, float]:
    """Percentile bootstrap of the (weighted) mean of `[N]` values; the same values always give the same interval.

    NaN, NaN for no values. What is resampled are the items, so values must be one per file or utterance.
    """
    x = np.asarray(values, dtype=np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(x):
        return math.nan, math.nan
    rows = np.random.default_rng(0).integers(len(x), size=(RESAMPLES, len(x)))
    means = (x * w)[rows].sum(axis=1) / w[rows].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's interval of the share hits / count; unlike the bootstrap it has a width at 0 and at 1."""
    if count == 0:
        return math.nan, math.nan
    share, z2 = hits / count, Z_95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)
