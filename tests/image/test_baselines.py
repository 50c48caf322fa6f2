"""VAE and VIMCO: their bounds' terms against others' formulas, VIMCO's gradient against the exact one."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Normal, kl_divergence

from audiovq.image import baselines
from audiovq.image.baselines import VimcoVAE, draw_codes, drawn_log_probability, learning_signal

from .enumerable import PICTURE, every_draw, small_vae, small_vimco


def gradients(value: Tensor, model: torch.nn.Module) -> Tensor:
    """d value / d weights, as one vector."""
    weights = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(value, weights, allow_unused=True)
    return torch.cat(
        [torch.zeros_like(w).flatten() if g is None else g.flatten() for w, g in zip(weights, found, strict=True)]
    )


def exact_multi_sample_bound(model: VimcoVAE, x: Tensor, codes: Tensor) -> Tensor:
    """E[ln mean f] in nats, over all tuples of draws `[S, N, 1, 1, 2]`; a function of all weights by autograd."""
    log_q = model.posterior(x).expand(codes.shape[1], -1, -1, -1, -1)
    log_q_drawn = drawn_log_probability(log_q, codes)
    images = x.expand(codes.shape[1], -1, -1, -1)
    nats = torch.stack([math.log(2) * model.decoder.bits(images, model.embed(of_sample)) for of_sample in codes])
    log_f = -nats - 2 * math.log(model.vectors.shape[1]) - log_q_drawn
    bound = log_f.logsumexp(0) - math.log(len(codes))
    return (log_q_drawn.sum(0).exp() * bound).sum()


@pytest.mark.parametrize("samples", [2, 3])
def test_vimco_gradient_is_the_exact_one_in_expectation(monkeypatch, samples):
    """All that can be drawn is drawn, each weighted by its probability: no Monte Carlo is left."""
    size = 3 if samples == 2 else 2
    model, every = small_vimco(size, samples), every_draw(size, samples)
    exact = exact_multi_sample_bound(model, PICTURE, every)
    want = gradients(-exact / 2, model)  # the loss is per dimension, of which there are two
    with torch.no_grad():
        probability = (
            drawn_log_probability(model.posterior(PICTURE).expand(every.shape[1], -1, -1, -1, -1), every).sum(0).exp()
        )
    assert probability.sum().item() == pytest.approx(1.0)
    got, loss = torch.zeros_like(want), 0.0
    for drawn, share in zip(every.unbind(1), probability, strict=True):
        monkeypatch.setattr(baselines, "draw_codes", lambda log_q, samples, drawn=drawn: drawn.unsqueeze(1))
        bound = model.bound(PICTURE)
        got += share * gradients(bound.loss, model)
        loss += share.item() * bound.loss.item()
    assert loss == pytest.approx(-exact.item() / 2, rel=1e-5)
    assert want.norm() > 0.05
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-7)


def test_vimco_loss_is_a_mean_over_items(monkeypatch):
    model = small_vimco(4, 2)
    images = torch.tensor([[0, 7], [3, 3], [5, 1]]).view(3, 1, 1, 2)
    drawn = draw_codes(model.posterior(images), 2, torch.Generator().manual_seed(0))
    parts = []
    for i in range(3):
        monkeypatch.setattr(baselines, "draw_codes", lambda log_q, samples, i=i: drawn[:, i : i + 1])
        bound = model.bound(images[i : i + 1])
        parts.append((bound.loss, gradients(bound.loss, model)))
    monkeypatch.setattr(baselines, "draw_codes", lambda log_q, samples: drawn)
    bound = model.bound(images)
    torch.testing.assert_close(bound.loss, torch.stack([loss for loss, _ in parts]).mean())
    torch.testing.assert_close(gradients(bound.loss, model), torch.stack([grad for _, grad in parts]).mean(0))


def test_vimco_in_parts_is_vimco_at_once(monkeypatch):
    """The decoder takes so many rows a call, and those that count are decoded again in as many."""
    model, images = small_vimco(4, 8), torch.randint(8, (3, 1, 1, 2), generator=torch.Generator().manual_seed(0))
    drawn = draw_codes(model.posterior(images), 8, torch.Generator().manual_seed(0))
    monkeypatch.setattr(baselines, "draw_codes", lambda log_q, samples: drawn)
    results = []
    for rows in (1000, 5):
        monkeypatch.setattr(VimcoVAE, "ROWS", rows)
        bound = model.bound(images)
        results.append((bound.bits, bound.loss, gradients(bound.loss, model)))
    for at_once, in_parts in zip(*results, strict=True):
        torch.testing.assert_close(in_parts, at_once)


def test_vimco_loss_is_its_bound_per_dimension_with_and_without_gradient():
    model, images = small_vimco(4, 5), torch.tensor([[0, 7], [3, 3]]).view(2, 1, 1, 2)
    torch.manual_seed(1)
    bound = model.bound(images)
    assert bound.loss.item() == pytest.approx(bound.bits.mean().item() * math.log(2) / 2, rel=1e-5)
    torch.manual_seed(1)
    with torch.no_grad():
        torch.testing.assert_close(model.bound(images).bits, bound.bits)


def test_learning_signal_is_the_papers():
    """Its definition, written out without logarithms; and no signal where all samples are alike."""
    torch.manual_seed(0)
    log_f = 3 * torch.randn(4, 2, dtype=torch.float64)
    for item, j in itertools.product(range(2), range(4)):
        f = log_f[:, item].exp()
        others = [f[i] for i in range(4) if i != j]
        geometric = math.prod(x.item() for x in others) ** (1 / 3)
        want = math.log(f.sum() / 4) - math.log((sum(others) + geometric) / 4)
        assert learning_signal(log_f)[j, item].item() == pytest.approx(want)
    assert learning_signal(torch.full((3, 2), -5000.0)).abs().max() < 1e-3


def test_vimco_refuses_one_sample_and_a_kl_weight():
    with pytest.raises(ValueError, match="two or more"):
        small_vimco(4, 1)
    with pytest.raises(ValueError, match="no KL term"):
        small_vimco().bound(PICTURE, kl_weight=0.5)


def test_vimco_latents_are_the_vectors_of_the_likeliest_codes():
    model = small_vimco()
    likeliest = model.posterior(PICTURE).argmax(-1)  # [1, 1, 1, 2]
    for place in range(2):
        want = model.vectors[0, likeliest[0, 0, 0, place]]
        assert torch.equal(model.latents(PICTURE)[0, :, 0, place], want)


def test_draws_follow_their_distribution():
    torch.manual_seed(0)
    log_q = torch.randn(1, 2, 1, 3, 5).log_softmax(-1)
    codes = draw_codes(log_q, 20000, torch.Generator().manual_seed(0))
    assert codes.shape == (20000, 1, 2, 1, 3)
    shares = torch.nn.functional.one_hot(codes, 5).double().mean(0)
    assert (shares - log_q.exp()).abs().max() < 0.015
    want = Categorical(logits=log_q).log_prob(codes[:7]).flatten(2).sum(2)
    torch.testing.assert_close(drawn_log_probability(log_q, codes[:7]), want)


def test_gaussian_kl_is_the_closed_form_of_torch():
    model, images = small_vae(), torch.randint(8, (5, 1, 1, 2))
    mean, log_std = model.posterior(images)
    want = kl_divergence(Normal(mean, log_std.exp()), Normal(torch.zeros(()), torch.ones(()))).flatten(1).sum(
        1
    ) / math.log(2)
    torch.testing.assert_close(model.bound(images).prior, want)


def test_gaussian_loss_weighs_the_kl_alone_and_is_a_mean_over_items():
    model, images = small_vae(), torch.randint(8, (5, 1, 1, 2))
    for weight in (0.0, 0.3, 1.0):
        bound = model.bound(images, kl_weight=weight)
        want = (bound.reconstruction + weight * bound.prior).mean() * math.log(2) / 2
        torch.testing.assert_close(bound.loss, want)
        assert bound.bits.shape == (5,)


def test_gaussian_gradient_reaches_every_weight():
    model = small_vae()
    model.bound(PICTURE).loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.encoder.out.weight.grad.abs().sum() > 0
