"""Distances of sets of features: known Gaussians, known kernels, and what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from studies.recognition.frechet import frechet_distance, kernel_distance

GENERATOR = np.random.default_rng(0)


def gaussian(mean, covariance, count: int = 400):
    """Vectors whose mean and covariance are exactly those."""
    x = GENERATOR.standard_normal((count, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return x @ np.linalg.cholesky(np.asarray(covariance, float)).T + mean


def test_gaussians_with_a_common_basis_are_apart_by_means_and_deviations():
    x, y = gaussian([0, 0, 0], np.diag([1, 4, 9])), gaussian([1, 0, -2], np.diag([4, 4, 1]))
    assert frechet_distance(x, y) == pytest.approx(5 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2)


def test_gaussians_in_general_are_apart_by_the_root_of_their_product():
    a = [[2.0, 0.9], [0.9, 1.0]]
    b = [[1.0, -0.4], [-0.4, 3.0]]
    values, vectors = np.linalg.eig(np.asarray(a) @ np.asarray(b))
    root = (vectors * np.sqrt(values)) @ np.linalg.inv(vectors)
    wanted = np.trace(a) + np.trace(b) - 2 * np.trace(root)
    x, y = gaussian([0, 0], a), gaussian([0, 0], b)
    assert frechet_distance(x, y) == pytest.approx(wanted)
    assert frechet_distance(y, x) == pytest.approx(wanted)


def test_a_set_is_at_distance_0_from_itself_even_if_flat():
    x = gaussian([0, 0], np.eye(2))
    flat = np.concatenate([x, x[:, :1]], axis=1)  # a singular covariance
    assert frechet_distance(flat, flat) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(x[:, :1], x[:, :1] + 2) == pytest.approx(4)


def test_the_kernel_distance_is_the_formula_and_0_on_average():
    x, y = GENERATOR.standard_normal((5, 3)), GENERATOR.standard_normal((4, 3)) + 0.5

    def mean(a, b, same):
        pairs = [(u @ v / 3 + 1) ** 3 for i, u in enumerate(a) for j, v in enumerate(b) if not (same and i == j)]
        return np.mean(pairs)

    assert kernel_distance(x, y) == pytest.approx(mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False))
    same = [kernel_distance(*GENERATOR.standard_normal((2, 60, 4))) for _ in range(60)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 60**0.5
    assert kernel_distance(GENERATOR.standard_normal((60, 4)), GENERATOR.standard_normal((60, 4)) + 1) > 10 * np.std(
        same
    )


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_too_few_vectors_are_refused(distance):
    with pytest.raises(ValueError, match=r"\[1, 3\]"):
        distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="of one length"):
        distance(np.zeros((5, 2)), np.zeros((5, 3)))
