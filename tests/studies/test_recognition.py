"""DTW, features and the speaker classifier on cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from studies.recognition.discriminant import LinearDiscriminant
from studies.recognition.dtw import dtw_distance, dtw_distances, nearest_labels
from studies.recognition.features import voice_features, word_features

GENERATOR = np.random.default_rng(0)
A, B = (GENERATOR.standard_normal((n, 3)).astype(np.float32) for n in (7, 5))


def plain_dtw(a, b):
    """The recursion as it is written in books."""
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            cost = np.linalg.norm(a[i - 1] - b[j - 1])
            total[i, j] = min(total[i - 1, j] + cost, total[i, j - 1] + cost, total[i - 1, j - 1] + 2 * cost)
    return total[-1, -1] / (len(a) + len(b))


def test_distance_is_that_of_the_plain_recursion_and_symmetric():
    assert dtw_distance(A, B) == pytest.approx(plain_dtw(A, B), rel=1e-5)
    assert dtw_distance(B, A) == pytest.approx(dtw_distance(A, B), rel=1e-5)
    assert dtw_distance(A, B) > 0


def test_equal_sequences_are_at_distance_0_whatever_is_repeated():
    assert dtw_distance(A, A) == 0
    assert dtw_distance(A, A.repeat([1, 3, 1, 2, 1, 1, 4], axis=0)) == 0
    assert dtw_distance(A, A[::-1]) > 0


def test_a_constant_offset_is_the_distance_however_long_the_sequences():
    still = np.zeros((4, 2), np.float32)
    for length in (1, 4, 40):
        assert dtw_distance(still, np.full((length, 2), 3, np.float32)) == pytest.approx(3 * 2**0.5)


def test_empty_sequences_are_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        dtw_distances([A], [A[:0]])


def test_nearest_label_obeys_what_is_allowed():
    distances = dtw_distances([A, B], [B, A, A + 0.1])
    assert nearest_labels(distances, ["b", "a", "a2"]) == ["a", "b"]
    allowed = np.array([[True, False, True], [False, True, True]])
    assert nearest_labels(distances, ["b", "a", "a2"], allowed=allowed)[0] == "a2"
    assert nearest_labels(distances, ["b", "a", "a2"], allowed=allowed)[1] != "b"


def test_word_features_ignore_level_and_voice_features_length(sound):
    x = sound(rate=8000)
    np.testing.assert_allclose(word_features(x, 8000), word_features(0.1 * x, 8000), atol=0.1)
    np.testing.assert_allclose(voice_features(x, 8000), voice_features(np.tile(x, 3), 8000), atol=2)
    assert word_features(x, 8000).shape == (101, 24)
    assert voice_features(x, 8000).shape == (38,)


@pytest.mark.parametrize("samples", [1, 80, 719, 721])
def test_features_of_the_shortest_recordings_are_finite(samples, sound):
    x = sound(rate=8000)[:samples]
    assert np.isfinite(word_features(x, 8000)).all()
    assert np.isfinite(voice_features(x, 8000)).all()


def test_classifier_uses_the_covariance_and_not_only_the_means():
    # The classes differ along the second axis, by less than the first, in common to both, spreads them.
    generator = np.random.default_rng(0)
    spread = generator.standard_normal((400, 1)) * [10.0, 10.0]
    labels = ["p", "q"] * 200
    x = spread + np.array([[0.0, 1.0], [0.0, -1.0]] * 200) + 0.2 * generator.standard_normal((400, 2))
    classifier = LinearDiscriminant(x[:200], labels[:200], shrinkage=1e-4)
    assert classifier.classes == ["p", "q"]
    assert classifier.predict(x[200:]) == labels[200:]
    assert LinearDiscriminant(x[:200], labels[:200], shrinkage=1.0).predict(x[200:]) != labels[200:]


def test_classifier_tells_synthetic_voices_apart(sound):
    voices = {name: [tilt * 0.5 for tilt in (0, 1)][i] for i, name in enumerate(("dull", "bright"))}
    sounds = [(name, sound(seed=s, rate=8000)) for s in range(12) for name in voices]
    features = np.stack([voice_features(x - (1 - voices[n]) * np.roll(x, 1), 8000) for n, x in sounds])
    names = [n for n, _ in sounds]
    assert LinearDiscriminant(features[:16], names[:16]).predict(features[16:]) == names[16:]
