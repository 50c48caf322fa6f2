"""Nearest-neighbour recognition of words by dynamic time warping: of codes (as codebook vectors) or of MFCCs.

Nothing is trained, so the result depends on the features alone (Sakoe and Chiba 1978, symmetric form, no slope limit).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numba.typed import List
from numpy.typing import NDArray

Sequences = Sequence[NDArray[np.float32]]


@njit(cache=True)
def _distance(a: Any, b: Any) -> float:
    previous, current = np.full(len(b), np.inf), np.empty(len(b))
    for i in range(len(a)):
        for j in range(len(b)):
            square = 0.0
            for k in range(a.shape[1]):
                square += (a[i, k] - b[j, k]) ** 2
            cost = np.sqrt(square)
            best = 2 * cost if i == 0 and j == 0 else np.inf
            if i > 0:
                best = min(best, previous[j] + cost)
            if j > 0:
                best = min(best, current[j - 1] + cost)
            if i > 0 and j > 0:
                best = min(best, previous[j - 1] + 2 * cost)
            current[j] = best
        previous, current = current, previous
    return previous[-1] / (len(a) + len(b))


@njit(cache=True)
def _distances(queries: Any, templates: Any) -> Any:
    result = np.empty((len(queries), len(templates)))
    for i in range(len(queries)):
        for j in range(len(templates)):
            result[i, j] = _distance(queries[i], templates[j])
    return result


def dtw_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Euclidean distance per frame of `[n, D]` and `[m, D]` along the best path; 0 if they differ by repeats only.

    A diagonal step counts twice, so every path weighs n + m, by which the sum is divided.
    """
    return float(dtw_distances([a], [b])[0, 0])


def dtw_distances(queries: Sequences, templates: Sequences) -> NDArray[np.float64]:
    """All distances `[N, M]` between sequences `[frames, D]`; ValueError for an empty one."""
    for sequence in (*queries, *templates):
        if sequence.ndim != 2 or not len(sequence):
            raise ValueError(f"sequence of shape {sequence.shape}; wanted [frames, D] with at least one frame")
    return np.asarray(_distances(_typed(queries), _typed(templates)))


def nearest_labels(
    distances: NDArray[np.float64], labels: Sequence[str], *, allowed: NDArray[np.bool_] | None = None
) -> list[str]:
    """The label of the nearest template for each row of `[N, M]`; `allowed` `[N, M]` says which templates count."""
    considered = distances if allowed is None else np.where(allowed, distances, np.inf)
    return [labels[i] for i in considered.argmin(axis=1)]


def _typed(sequences: Sequences) -> Any:
    typed = List()
    for sequence in sequences:
        typed.append(np.ascontiguousarray(sequence, dtype=np.float32))
    return typed
