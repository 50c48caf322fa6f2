"""Samples against codes of the encoder: pairs, pieces, anchors, and what a judge is asked."""

from __future__ import annotations

import numpy as np
import pytest

from audiovq.errors import BadDataError
from audiovq.prior import CodeItem, CodeSpec
from studies.prior_ablation.ablation import counted
from studies.prior_ablation.sample_quality import Judge, SampleQuality, pair_counts, pair_divergence, pieces, shuffled

SPEC = CodeSpec(codebook_sizes=[8], frame_rate=50.0)


def rising(count: int, seed: int, length: int = 120) -> list[CodeItem]:
    """Codes that mostly go up by one; of two speakers in turn."""
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random((count, length)) < 0.75, 1, rng.integers(0, 8, (count, length)))
    return [CodeItem(str(i), row[None] % 8, "ab"[i % 2]) for i, row in enumerate(np.cumsum(steps, axis=1))]


def test_divergence_is_that_of_the_formula_and_between_0_and_1():
    x, y = np.array([4.0, 4.0, 0.0]), np.array([0.0, 1.0, 1.0])
    wanted = 0.5 * (0.5 * np.log2(0.5 / 0.25) + 0.5 * np.log2(0.5 / 0.5)) * 2  # both sides alike
    assert pair_divergence(x, y) == pytest.approx(wanted)
    assert pair_divergence(x, 3 * x) == pytest.approx(0)
    assert pair_divergence(np.array([1.0, 0]), np.array([0, 5.0])) == pytest.approx(1)


def test_pairs_are_neighbours_in_a_row_and_never_across_items():
    items = [CodeItem("a", np.array([[0, 1, 1]])), CodeItem("b", np.array([[2, 0]]))]
    counts = pair_counts(items, 0, CodeSpec(codebook_sizes=[3])).reshape(3, 3)
    assert {(i, j): counts[i, j] for i, j in zip(*counts.nonzero(), strict=True)} == {(0, 1): 1, (1, 1): 1, (2, 0): 1}
    grid = [CodeItem("g", np.array([[[0, 1], [2, 2]]]))]
    counts = pair_counts(grid, 0, CodeSpec(codebook_sizes=[3], layout="grid")).reshape(3, 3)
    assert sorted(zip(*map(list, counts.nonzero()), strict=True)) == [(0, 1), (2, 2)]


def test_long_items_become_whole_seconds_and_short_ones_stay():
    long, short = np.arange(120)[None] % 8, np.zeros((1, 30), int)
    items = [CodeItem("long", long), CodeItem("short", short), CodeItem("one", short[:, :1])]
    found = pieces(items, SPEC)
    assert [piece.codes.shape for piece in found] == [(1, 50), (1, 50), (1, 30)]
    assert (found[1].codes == long[:, 50:100]).all()


def test_shuffling_keeps_shapes_and_how_often_each_code_of_a_level_occurs():
    rng = np.random.default_rng(0)
    items = [CodeItem(str(n), np.stack([rng.integers(0, 5, n), rng.integers(5, 9, n)])) for n in (7, 20)]
    mixed = shuffled(items)
    assert [item.codes.shape for item in mixed] == [(2, 7), (2, 20)]
    for q in range(2):
        before, after = (np.concatenate([item.codes[q] for item in part]) for part in (items, mixed))
        assert (before != after).any()
        assert sorted(before) == sorted(after)


def test_a_better_prior_draws_what_is_more_like_the_encoder():
    train, test = rising(30, 0), rising(30, 1)
    quality = SampleQuality(SPEC, train, test, None)
    unigram, bigram = (quality.of_prior(counted(kind, SPEC, train)) for kind in ("unigram", "bigram"))
    anchors = quality.anchors()
    own, mixed = anchors["(encoder, test part)"], anchors["(the same, shuffled)"]
    assert own.frechet is None
    assert own.pairs < 0.02
    assert bigram.pairs == pytest.approx(own.pairs, abs=0.01)
    assert unigram.pairs == pytest.approx(mixed.pairs, abs=0.03)
    assert mixed.pairs > 0.2


def test_a_judge_sees_drawn_codes_in_the_sizes_and_voices_of_the_test_items():
    seen: list[list[CodeItem]] = []

    def features(items):
        seen.append(list(items))
        return np.array([[float((np.diff(item.codes[0]) % 8 == 1).mean()), item.codes.shape[1]] for item in items])

    train, test = rising(12, 0), [*rising(11, 1), *rising(1, 2, length=20)]
    quality = SampleQuality(SPEC, train, test, Judge("steps", features))
    found = quality.of_prior(counted("bigram", SPEC, train), seed=1)
    reference, drawn = seen
    assert len(reference) == len(drawn) == 23
    assert [item.codes.shape for item in drawn] == [(1, 50)] * 22 + [(1, 20)]
    assert [item.label for item in drawn] == [item.label for item in quality.own]
    assert any((a.codes != b.codes).any() for a, b in zip(drawn, quality.own, strict=True))
    assert found.frechet is not None
    assert found.frechet < quality.of(shuffled(quality.own)).frechet


def test_too_few_items_are_refused():
    with pytest.raises(BadDataError, match="two to test on"):
        SampleQuality(SPEC, rising(5, 0), rising(1, 1, length=40), None)
