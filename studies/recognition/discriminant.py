"""A small classifier for speakers: the nearest class mean under a shared covariance (linear discriminant analysis)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler


class LinearDiscriminant:
    """Gaussian classes of equal covariance, equally likely however many recordings there are of each.

    Args:
        features: `[N, D]`; labels: of each row.
        shrinkage: share of the identity in the covariance of the standardised features, which keeps it invertible.

    Attributes:
        classes: the labels that can come out, sorted.
    """

    def __init__(self, features: NDArray[np.float64], labels: Sequence[str], *, shrinkage: float = 0.1) -> None:
        self._scaler = StandardScaler().fit(features)
        covariance = _TowardsIdentity(shrinkage)
        self._analysis = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=covariance)
        self._analysis.fit(self._scaler.transform(features), labels)
        self.classes: list[str] = self._analysis.classes_.tolist()

    def predict(self, features: NDArray[np.float64]) -> list[str]:
        """`[N, D]` -> the likeliest class of each row."""
        posterior = self._analysis.predict_log_proba(self._scaler.transform(features))
        return [self.classes[c] for c in (posterior - np.log(self._analysis.priors_)).argmax(axis=1)]


class _TowardsIdentity:
    """scikit-learn's own shrinkage is towards the mean variance within classes, not towards the whole's, which is 1."""

    def __init__(self, shrinkage: float) -> None:
        self.shrinkage = shrinkage

    def fit(self, features: NDArray[np.float64]) -> None:
        centred = features - features.mean(axis=0)
        covariance = centred.T @ centred / len(features)
        self.covariance_ = (1 - self.shrinkage) * covariance + self.shrinkage * np.eye(len(covariance))
