"""Distances between two sets of feature vectors: the Frechet distance of their Gaussians, and a kernel distance.

With other features than those of Inception-v3 these are not FID and KID. Figures of different features, or of different
numbers of vectors, do not compare.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]


def frechet_distance(x: Features, y: Features) -> float:
    """|m - n|^2 + tr(A + B - 2 (A B)^(1/2)) of x `[N, D]` and y `[M, D]` with means m, n and covariances A, B.

    Dowson and Landau 1982. Biased upwards for few vectors, so that only sets of equal size compare. ValueError for
    fewer than two vectors, or for two lengths.
    """
    _check(x, y)
    a, b = (np.atleast_2d(np.cov(z, rowvar=False)) for z in (x, y))
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # the eigenvalues of A B are those of A^(1/2) B A^(1/2), which is symmetric
    shared = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * shared)


def kernel_distance(x: Features, y: Features) -> float:
    """Squared maximum mean discrepancy of x `[N, D]` and y `[M, D]` under the kernel (x . y / D + 1)^3; unbiased.

    Binkowski et al. 2018, arXiv 1801.01401; 0 on average for two sets of one origin, so that it can
    be negative. Errors: as `frechet_distance`.
    """
    _check(x, y)

    def kernel(a: Features, b: Features) -> Features:
        return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)

    own = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (kernel(x, x), kernel(y, y))]
    return float(own[0] + own[1] - 2 * kernel(x, y).mean())


def _check(x: Features, y: Features) -> None:
    if min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"features {list(x.shape)} and {list(y.shape)}; wanted two or more vectors each, of one length"
        )
