"""Bounds of -log2 p(x) in their order, on models whose latents can be enumerated: own >= importance-weighted >= exact.

Where draws are involved, all that can be drawn is drawn and weighted by its probability: expectations are exact.
"""

import math

import pytest
import torch

from audiovq.errors import BadModelError
from audiovq.image import importance
from audiovq.image.baselines import drawn_log_probability
from audiovq.image.importance import importance_weighted_bits, nearby_codes
from audiovq.quantize import FSQ, GroupedVQ, ResidualVQ

from .enumerable import PICTURE, every_code, every_draw, exact_bits, small_vae, small_vimco, small_vqvae

UNIFORM = -2 * math.log(4)  # ln p of two codes out of four


def expected_bits(monkeypatch, model, log_q, samples, drawn, **options) -> float:
    """E[importance_weighted_bits], over all tuples of `drawn` draws."""
    every = every_draw(4, drawn)
    count = every.shape[1]
    monkeypatch.setattr(importance, "draw_codes", lambda log_q, samples, generator: every[:samples])
    with torch.no_grad():
        probability = drawn_log_probability(log_q.expand(count, -1, -1, -1, -1), every).sum(0).exp().double()
        bits = importance_weighted_bits(model, PICTURE.expand(count, -1, -1, -1), samples, **options).double()
    assert probability.sum().item() == pytest.approx(1.0, abs=1e-6)
    return (probability * bits).sum().item()


def test_vimco_bounds_are_in_order(monkeypatch):
    model = small_vimco()
    exact = exact_bits(model, model.embed(every_code(4)), UNIFORM)
    log_q = model.posterior(PICTURE)
    one, two, three = (expected_bits(monkeypatch, model, log_q, s, s) for s in (1, 2, 3))
    assert one > two + 1e-3 > three + 2e-3 > exact + 3e-3


def test_one_sample_in_expectation_is_reconstruction_and_kl(monkeypatch):
    """The importance-weighted bound of one sample is the ELBO, with the KL of torch."""
    model, codes = small_vimco(), every_code(4)
    log_q = model.posterior(PICTURE)
    probability = drawn_log_probability(log_q.expand(16, -1, -1, -1, -1), codes.unsqueeze(0))[0].exp()
    reconstruction = (probability * model.decoder.bits(PICTURE.expand(16, -1, -1, -1), model.embed(codes))).sum()
    kl = (log_q.exp() * (log_q + math.log(4))).sum() / math.log(2)
    got = expected_bits(monkeypatch, model, log_q, 1, 1)
    assert got == pytest.approx((reconstruction + kl).item(), rel=1e-5)


def test_vqvae_bounds_are_in_order(monkeypatch):
    model = small_vqvae()
    exact = exact_bits(model, model.quantizer.decode(every_code(4)), UNIFORM)
    with torch.no_grad():
        own = model.bound(PICTURE).bits.item()
        z_e = model.encoder(PICTURE)
        log_q = nearby_codes(model.quantizer, z_e, model.quantizer.encode(z_e), 2.0)
    two, three = (expected_bits(monkeypatch, model, log_q, s, s - 1, temperature=2.0) for s in (2, 3))
    assert own > two + 1e-3 > three + 2e-3 > exact + 3e-3


def test_vqvae_one_sample_or_no_temperature_is_its_own_bound():
    model = small_vqvae()
    with torch.no_grad():
        own = model.bound(PICTURE).bits
    torch.testing.assert_close(importance_weighted_bits(model, PICTURE, 1), own.double())
    torch.testing.assert_close(importance_weighted_bits(model, PICTURE, 20, temperature=1e-6), own.double())


def test_vqvae_bound_loses_at_most_log_samples_at_a_bad_temperature():
    model, generator = small_vqvae(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        own = model.bound(PICTURE).bits.item()
    for temperature in (0.01, 0.3, 3.0, 1e4):
        for _ in range(10):
            bits = importance_weighted_bits(model, PICTURE, 8, temperature=temperature, generator=generator)
            assert bits.item() <= own + 3 + 1e-4


def test_vae_bounds_are_in_order():
    """The exact likelihood by numerical integration, expectations by many draws: margins are many standard errors."""
    model = small_vae()
    axis = torch.linspace(-8, 8, 321, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis).view(-1, 1, 1, 2)
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1) + 2 * math.log(16 / 320)
    exact = exact_bits(model, z, log_prior)
    with torch.no_grad():
        many, generator = PICTURE.expand(5000, -1, -1, -1), torch.Generator().manual_seed(0)
        one, five, thirty = (importance_weighted_bits(model, many, s, generator=generator) for s in (1, 5, 30))
        torch.manual_seed(0)
        own = model.bound(many).bits
    errors = [5 * bits.std().item() / 5000**0.5 for bits in (own, one, five, thirty)]
    assert own.mean().item() == pytest.approx(one.mean().item(), abs=errors[0] + errors[1])
    assert one.mean() - errors[1] > five.mean() + errors[2]
    assert five.mean() - errors[2] > thirty.mean() + errors[3]
    assert thirty.mean() > exact


@pytest.mark.parametrize("name", ["vimco", "vqvae"])
def test_many_samples_come_close_to_the_exact_likelihood(name):
    model = small_vimco() if name == "vimco" else small_vqvae()
    embed = model.embed if name == "vimco" else model.quantizer.decode
    exact = exact_bits(model, embed(every_code(4)), UNIFORM)
    many, generator = PICTURE.expand(100, -1, -1, -1), torch.Generator().manual_seed(0)
    bits = importance_weighted_bits(model, many, 100, temperature=3.0, generator=generator)
    assert bits.mean().item() == pytest.approx(exact, abs=0.05)


def test_a_model_without_latents_is_exact_already():
    with pytest.raises(BadModelError, match="exact"):
        importance_weighted_bits(torch.nn.Identity(), PICTURE, 2)


def test_nearby_codes_are_a_softmax_of_distances():
    model = small_vqvae()
    z_e = 3 * torch.randn(2, 2, 1, 3)
    codes = model.quantizer.encode(z_e)
    codebook = model.quantizer.levels[0].codebook
    distance = torch.cdist(z_e.permute(0, 2, 3, 1).reshape(-1, 2), codebook).square()
    want = (-distance / 1.7).log_softmax(-1).view(2, 1, 1, 3, 4)
    torch.testing.assert_close(nearby_codes(model.quantizer, z_e, codes, 1.7), want)


@pytest.mark.parametrize(
    "quantizer",
    [
        ResidualVQ.of(4, 2, 6, kmeans_init=False),
        ResidualVQ.of(4, 1, 6, kmeans_init=False, codebook_dim=2),
        ResidualVQ.of(4, 2, 6, kmeans_init=False, distance="cosine"),
        GroupedVQ([ResidualVQ.of(2, 1, 6, kmeans_init=False), ResidualVQ.of(2, 1, 6, kmeans_init=False)]),
        ResidualVQ([FSQ(2, [3, 2])], dim=4),
    ],
    ids=["residual", "projected", "cosine", "grouped", "fsq"],
)
def test_nearby_codes_centre_on_the_chosen_for_every_quantizer(quantizer):
    torch.manual_seed(0)
    quantizer = quantizer.eval()
    z_e = 2 * torch.randn(3, 4, 2, 2)
    codes = quantizer.encode(z_e)
    log_q = nearby_codes(quantizer, z_e, codes, 0.5)
    assert log_q.shape == (3, quantizer.num_quantizers, 2, 2, 6)
    torch.testing.assert_close(log_q.exp().sum(-1), torch.ones(codes.shape))
    chosen = log_q.gather(-1, codes.unsqueeze(-1)).squeeze(-1)
    assert (chosen >= log_q.amax(-1) - 1e-5).all()
