"""95 % confidence intervals: of a mean (bootstrap over files) and of a share (Wilson)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000


def mean_interval(values: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, float]:
    """Percentile bootstrap of the (weighted) mean of `[N]` values; the same values always give the same interval.

    NaN, NaN for no values. What is resampled are the items, so values must be one per file or utterance.
    """
    x = np.asarray(values, dtype=np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(x) < 2:  # which scipy refuses
        return (float(x[0]), float(x[0])) if len(x) else (math.nan, math.nan)

    from scipy import stats  # takes a second

    def mean(x: Any, w: Any, axis: int) -> Any:
        return (x * w).sum(axis) / w.sum(axis)

    generator = np.random.default_rng(0)
    found = stats.bootstrap(
        (x, w), mean, paired=True, n_resamples=RESAMPLES, method="percentile", random_state=generator
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's interval of the share hits / count; unlike the bootstrap it has a width at 0 and at 1."""
    if count == 0:
        return math.nan, math.nan
    from scipy import stats

    low, high = stats.binomtest(hits, count).proportion_ci(method="wilson")
    return float(low), float(high)
