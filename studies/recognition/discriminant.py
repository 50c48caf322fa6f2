"""A small classifier for speakers: the nearest class mean under a shared covariance (linear discriminant analysis)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class LinearDiscriminant:
    """Gaussian classes of equal covariance and equal prior.

    Args:
        features: `[N, D]`; labels: of each row.
        shrinkage: share of the identity in the covariance of the standardised features, which keeps it invertible.

    Attributes:
        classes: the labels that can come out, sorted.
    """

    def __init__(self, features: NDArray[np.float64], labels: Sequence[str], *, shrinkage: float = 0.1) -> None:
        self.classes = sorted(set(labels))
        place = np.array([self.classes.index(label) for label in labels])
        self._shift = features.mean(axis=0)
        self._scale = features.std(axis=0) + 1e-9
        x = self._standardised(features)
        self._means = np.stack([x[place == c].mean(axis=0) for c in range(len(self.classes))])
        within = x - self._means[place]
        covariance = within.T @ within / len(x)
        self._precision = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * np.eye(len(covariance)))

    def predict(self, features: NDArray[np.float64]) -> list[str]:
        """`[N, D]` -> the likeliest class of each row."""
        offsets = self._standardised(features)[:, None] - self._means  # [N, classes, D]
        squared = np.einsum("ncd,de,nce->nc", offsets, self._precision, offsets)
        return [self.classes[c] for c in squared.argmin(axis=1)]

    def _standardised(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((features - self._shift) / self._scale)
