"""Drawing: the cached way equals the naive one, options do what they say, streams do not touch each other."""

from __future__ import annotations

import numpy as np
import pytest

from audiovq.errors import ConfigError
from audiovq.prior import NGramPrior, sample
from audiovq.prior.sampling import NaiveSteps, draw, shaped, uniform_streams

from .conftest import CASES, config, markov_items, network, random_codes


@pytest.mark.parametrize(("kind", "space"), CASES)
def test_cached_sampling_equals_naive_sampling(kind, space):
    prior = network(kind, space, [7, 5], labels=["a", "b"])
    uniforms = uniform_streams(0, 3, int(np.prod(space)), 2)
    cached = sample(prior, uniforms, space, label="b")
    assert (cached == sample(prior, uniforms, space, stepper=NaiveSteps(prior, 3, space, "b"))).all()
    assert len(np.unique(cached)) > 3  # not stuck on one code


def test_a_stream_depends_on_its_seed_and_number_alone():
    prior = network("wavenet", (10,), [7])
    three, one = (sample(prior, uniform_streams(4, n, 10, 1), (10,)) for n in (3, 1))
    assert (three[:1] == one).all()
    assert (three[0] != three[1]).any()
    assert (sample(prior, uniform_streams(5, 1, 10, 1), (10,)) != one).any()


def test_it_goes_on_from_what_is_given():
    prior = network("transformer", (12,), [7, 5])
    uniforms = uniform_streams(0, 2, 12, 2)
    whole = sample(prior, uniforms, (12,))
    again = sample(prior, uniforms[:1], (12,), prefix=whole[0, :, :8])
    assert (again[0] == whole[0]).all()
    other = random_codes((8,), [7, 5])
    assert (sample(prior, uniforms, (12,), prefix=other)[:, :, :8] == other).all()
    with pytest.raises(ConfigError, match="13 positions, more than the 12"):
        sample(prior, uniforms, (12,), prefix=random_codes((13,), [7, 5]))


def test_temperature_top_k_and_top_p_shape_the_distribution():
    log_p = np.log(np.array([[0.1, 0.5, 0.15, 0.25]]))
    np.testing.assert_allclose(shaped(log_p), [[0.1, 0.5, 0.15, 0.25]])
    np.testing.assert_allclose(shaped(log_p, temperature=0), [[0, 1, 0, 0]])
    np.testing.assert_allclose(shaped(log_p, temperature=0.5), [np.array([0.01, 0.25, 0.0225, 0.0625]) / 0.345])
    np.testing.assert_allclose(shaped(log_p, top_k=2), [[0, 2 / 3, 0, 1 / 3]])
    np.testing.assert_allclose(shaped(log_p, top_p=0.6), [[0, 2 / 3, 0, 1 / 3]])
    np.testing.assert_allclose(shaped(log_p, top_p=0.4), [[0, 1, 0, 0]])
    np.testing.assert_allclose(shaped(log_p, top_k=2, top_p=0.66), [[0, 1, 0, 0]])


@pytest.mark.parametrize("options", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.5}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        sample(network("wavenet", (4,), [7]), uniform_streams(0, 1, 4, 1), (4,), **options)


def test_draws_invert_the_cumulative_distribution():
    p = np.repeat([[0.0, 0.25, 0.0, 0.75]], 5, axis=0)
    assert draw(p, np.array([0.0, 0.2499, 0.25, 0.9, 1 - 2**-53])).tolist() == [1, 1, 3, 3, 3]


def test_samples_have_the_statistics_of_the_prior():
    prior = NGramPrior.fit(config("bigram", (9,), [8]), markov_items(10, 400))
    codes = sample(prior, uniform_streams(0, 4, 500, 1), (500,))
    ups = (np.diff(codes[:, 0]) % 8 == 1).mean()
    assert ups == pytest.approx(0.75 + 0.25 / 8, abs=0.03)
