"""Counted priors: what they count, how they smooth, and that they know when there is nothing to know."""

from __future__ import annotations

import numpy as np
import pytest

from audiovq.errors import BadDataError
from audiovq.prior import COUNTED, CodeItem, NGramPrior, load_prior, score_items, total
from audiovq.prior.ngram import context_keys

from .conftest import config, markov_bits, markov_items, random_codes


def fit(kind, items, sizes, space=(9,)):
    return NGramPrior.fit(config(kind, space, sizes), items)


@pytest.mark.parametrize("kind", COUNTED)
def test_fitted_on_uniform_codes_it_scores_log2_k(kind):
    items = [CodeItem(str(i), random_codes((500,), [64, 32], seed=i)) for i in range(20)]
    prior = fit(kind, items[:16], [64, 32])
    assert total(score_items(prior, items[16:])).bits_per_code == pytest.approx(5.5, rel=0.01)


def test_more_context_helps_where_there_is_structure():
    items = markov_items(40, 400)
    bits = [total(score_items(fit(k, items[:20], [8]), items[20:])).bits_per_code for k in COUNTED]
    assert bits[0] == 3.0
    assert bits[1] == pytest.approx(3.0, rel=0.01)
    assert bits[2] == pytest.approx(markov_bits(), rel=0.03)
    assert bits[3] == pytest.approx(bits[2], rel=0.02)


@pytest.mark.parametrize("kind", COUNTED)
@pytest.mark.parametrize("space", [(12,), (3, 5)])
def test_bits_are_those_of_the_distributions_step_by_step_which_sum_to_1(kind, space):
    sizes = [6, 4]
    prior = fit(kind, [CodeItem(str(i), random_codes(space, sizes, seed=i)) for i in range(6)], sizes, space)
    codes = random_codes(space, sizes, seed=9)
    steps, found = prior.steps(1, space), np.zeros((2, codes[0].size))
    for p in range(found.shape[1]):
        for level in range(2):
            log_p = steps.log_probabilities()[0]
            assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-12)
            found[level, p] = -log_p[codes.reshape(2, -1)[level, p]] / np.log(2)
            steps.push(codes.reshape(2, -1)[level, p : p + 1])
    np.testing.assert_allclose(prior.bits(codes), found.reshape(codes.shape), rtol=1e-12)


def test_a_bigram_is_the_stated_mixture_of_counts():
    prior = fit("bigram", [CodeItem("a", np.array([[0, 1, 0, 1, 2]]))], [3])
    a1, a2 = prior.concentrations[0]
    unigram = (np.array([2, 2, 1]) + a1 / 3) / (5 + a1)
    after_0 = (np.array([0, 2, 0]) + a2 * unigram) / (2 + a2)
    first = (np.array([1, 0, 0]) + a2 * unigram) / (1 + a2)
    np.testing.assert_allclose(2 ** -prior.bits(np.array([[0, 1]]))[0], [first[0], after_0[1]])


def test_contexts_are_the_neighbours_that_are_stated():
    codes = np.array([[10, 11, 12, 13], [20, 21, 22, 23]])
    sizes = [30, 40]
    first, second = context_keys(codes, 0, 3, sizes)[3], context_keys(codes, 1, 3, sizes)[3]
    assert [divmod(k, 31) for k in first.tolist()] == [(30, 30), (10, 30), (11, 10), (12, 11)]
    assert [divmod(k, 31) for k in second.tolist()] == [(40, 10), (20, 11), (21, 12), (22, 13)]
    grid = np.arange(6).reshape(1, 2, 3)
    keys = context_keys(grid, 0, 3, [9])[3]
    assert [divmod(k, 10) for k in keys.ravel().tolist()] == [(9, 9), (0, 9), (1, 9), (9, 0), (3, 1), (4, 2)]


def test_a_saved_prior_scores_alike(tmp_path):
    prior = fit("trigram", markov_items(5, 100), [8])
    prior.save_pretrained(tmp_path)
    loaded = load_prior(tmp_path)
    codes = markov_items(1, 50, seed=5)[0].codes
    assert (loaded.bits(codes) == prior.bits(codes)).all()
    assert loaded.num_parameters() == prior.num_parameters()


def test_nothing_to_count_is_refused():
    with pytest.raises(BadDataError, match="no codes to count"):
        fit("bigram", [], [8])
