"""Every network, as a prior: what each distribution depends on, that it sums to 1, and bits by both ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiovq.errors import BadCodesError, ConfigError
from audiovq.prior import NetworkPrior

from .conftest import CASES, config, network, random_codes


def reaches(prior: NetworkPrior, space: tuple[int, ...]) -> np.ndarray:
    """Whether position p is to see position s, bool `[P, P]`."""
    place = np.stack(np.unravel_index(np.arange(np.prod(space)), space), axis=1)
    offset = place[:, None] - place[None]
    kind = prior.config.prior
    if kind.kind == "pixelcnn":
        reach = kind.depth * (kind.kernel_size // 2)
        dy, dx = offset[..., 0], offset[..., 1]
        return ((dy >= 1) & (dy <= 1 + reach) & (abs(dx) <= reach)) | ((dy == 0) & (dx >= 1) & (dx <= 1 + reach))
    backbone = getattr(prior.backbone, "backbone", prior.backbone)
    age = np.subtract.outer(np.arange(len(place)), np.arange(len(place)))
    return (age >= 1) & (age <= backbone.receptive_field)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "space"), CASES)
def test_a_code_depends_on_all_codes_before_it_in_the_receptive_field_and_on_none_later(kind, space):
    sizes = [5, 4, 3]
    prior = network(kind, space, sizes)
    codes = torch.from_numpy(random_codes(space, sizes)).unsqueeze(0)
    before = [logits.flatten(1, -2) for logits in prior.logits(codes)]
    count = int(np.prod(space))
    seen = reaches(prior, space)
    for level, size in enumerate(sizes):
        for s in range(count):
            other = codes.clone()
            row = other[0, level].view(-1)
            row[s] = (row[s] + 1) % size
            for target, logits in enumerate(prior.logits(other)):
                changed = (logits.flatten(1, -2) != before[target]).any(-1)[0].numpy()
                wanted = seen[:, s].copy()
                wanted[s] = target > level  # the coarser levels of its own position
                assert (changed == wanted).all(), (level, s, target)


@pytest.mark.parametrize(("kind", "space"), CASES)
def test_bits_are_those_of_the_distributions_step_by_step_which_sum_to_1(kind, space):
    sizes = [5, 4]
    prior = network(kind, space, sizes, labels=["a", "b"])
    codes = random_codes(space, sizes)
    steps, found = prior.steps(1, space, "b"), np.zeros((2, int(np.prod(space))))
    for p in range(found.shape[1]):
        for level in range(2):
            log_p = steps.log_probabilities()[0]
            assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-12)
            assert len(log_p) == sizes[level]
            code = codes.reshape(2, -1)[level, p]
            found[level, p] = -log_p[code] / np.log(2)
            steps.push(np.array([code]))
    np.testing.assert_allclose(prior.bits(codes, "b"), found.reshape(codes.shape), rtol=1e-10)


@pytest.mark.parametrize(("kind", "space"), CASES[:5])
def test_the_label_counts(kind, space):
    prior = network(kind, space, [5], labels=["a", "b"])
    codes = random_codes(space, [5])
    assert (prior.bits(codes, "a") != prior.bits(codes, "b")).all()
    with pytest.raises(ConfigError, match="'c' is not one that this prior knows: a, b"):
        prior.bits(codes, "c")
    with pytest.raises(ConfigError, match="has no labels"):
        network(kind, space, [5]).bits(codes, "a")


@torch.no_grad()
def test_what_is_padded_after_an_item_does_not_count():
    prior = network("wavenet", (9,), [5, 5])
    codes = torch.from_numpy(random_codes((9,), [5, 5])).unsqueeze(0)
    padded = torch.cat([codes, torch.full((1, 2, 4), -1)], dim=2)
    torch.testing.assert_close(prior.nats(padded)[:, :, :9], prior.nats(codes))
    assert (prior.nats(padded)[:, :, 9:] == 0).all()


def test_codes_that_do_not_fit_are_refused():
    prior = network("wavenet", (9,), [5, 5])
    with pytest.raises(BadCodesError, match=r"wants integers \[2, F\]"):
        prior.bits(random_codes((9,), [5]))
    with pytest.raises(BadCodesError, match="level 1: codes go from"):
        prior.bits(np.stack([np.zeros(3, np.int64), np.full(3, 5)]))
    assert prior.bits(np.zeros((2, 0), np.int64)).shape == (2, 0)


def test_kinds_that_can_not_be_are_refused():
    with pytest.raises(ValueError, match="pixelcnn is for grids"):
        config("pixelcnn", (9,), [5])
    with pytest.raises(ValueError, match="takes no condition"):
        config("bigram", (9,), [5], ["a"])
