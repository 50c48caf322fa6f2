"""Nearest-neighbour recognition of words by dynamic time warping: of codes (as codebook vectors) or of MFCCs.

Nothing is trained, so the result depends on the features alone (Sakoe and Chiba 1978, symmetric form, no slope limit).
"""

from __future__ import annotations

from collections.abc import Sequence

import librosa
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Sequences = Sequence[NDArray[np.float32]]
STEPS, WEIGHTS = np.array([[1, 1], [0, 1], [1, 0]]), np.array([2.0, 1.0, 1.0])


def dtw_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Euclidean distance per frame of `[n, D]` and `[m, D]` along the best path; 0 if they differ by repeats only.

    A diagonal step counts twice, so every path weighs n + m, by which the sum is divided. ValueError for an empty one.
    """
    for sequence in (a, b):
        if sequence.ndim != 2 or not len(sequence):
            raise ValueError(f"sequence of shape {sequence.shape}; wanted [frames, D] with at least one frame")
    costs = cdist(a, b)
    total = librosa.sequence.dtw(C=costs, step_sizes_sigma=STEPS, weights_mul=WEIGHTS, backtrack=False)[-1, -1]
    return float(total + costs[0, 0]) / (len(a) + len(b))  # the first step is diagonal too, and librosa counts it once


def dtw_distances(queries: Sequences, templates: Sequences) -> NDArray[np.float64]:
    """All distances `[N, M]` between sequences `[frames, D]`."""
    return np.array([[dtw_distance(query, template) for template in templates] for query in queries])


def nearest_labels(
    distances: NDArray[np.float64], labels: Sequence[str], *, allowed: NDArray[np.bool_] | None = None
) -> list[str]:
    """The label of the nearest template for each row of `[N, M]`; `allowed` `[N, M]` says which templates count."""
    considered = distances if allowed is None else np.where(allowed, distances, np.inf)
    return [labels[i] for i in considered.argmin(axis=1)]
