"""Bits per dimension of image models, term by term, and images drawn from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audiovq.errors import BadModelError, ConfigError
from audiovq.evaluate.image.likelihood import bits_table, bits_tree, image_bits
from audiovq.evaluate.image.samples import draw_images
from audiovq.image import ImageModelConfig, build_image_model
from audiovq.prior import CodeItem, NGramPrior, PriorConfig

ENCODER = {"channels": 8, "residual_channels": 8, "residual_blocks": 1, "downsample": 1}
CONV = {"kind": "conv", "channels": 8, "residual_channels": 8, "residual_blocks": 1}
PIXELCNN = {"kind": "pixelcnn", "channels": 8, "depth": 2, "kernel_size": 3, "condition_channels": 6}


def model_of(latent, decoder=CONV):
    torch.manual_seed(0)
    tree = {"kind": "image", "height": 4, "width": 6, "latent_dim": 4, "encoder": ENCODER}
    model = build_image_model(ImageModelConfig.model_validate(tree | {"latent": latent, "decoder": decoder}))
    for _ in range(3):
        model.train().bound(torch.from_numpy(noise(16)))
    return model.eval()


def noise(count):
    return np.random.default_rng(0).integers(0, 256, (count, 3, 4, 6)).astype(np.uint8)


def counted(kind, codes, sizes, labels=()):
    config = {"codes": {"codebook_sizes": sizes, "layout": "grid", "labels": list(labels)}, "prior": {"kind": kind}}
    return NGramPrior.fit(PriorConfig.model_validate(config), [CodeItem(str(i), c) for i, c in enumerate(codes)])


VQ = {"kind": "vq", "codebook_size": 8, "groups": 2}


def test_each_image_counts_alike_at_every_batch_size():
    model, images = model_of(VQ), noise(7)
    whole, one_by_one, short = (image_bits(model, images, batch_size=size) for size in (7, 1, 3))
    for other in (one_by_one, short):
        np.testing.assert_allclose(other.reconstruction, whole.reconstruction, rtol=1e-5)
        np.testing.assert_allclose(other.prior, whole.prior)
    assert bits_tree(short)["mean"]["bound"] == pytest.approx(whole.terms()["bound"].mean(), rel=1e-5)


def test_a_uniform_pixel_model_costs_8_bits_a_dim():
    model = model_of({"kind": "none"}, PIXELCNN)
    for logits in model.decoder.head.logits:
        torch.nn.init.zeros_(logits.weight)
        torch.nn.init.zeros_(logits.bias)
    terms = image_bits(model, noise(3)).terms()
    np.testing.assert_allclose(terms["bound"], 8.0, rtol=1e-6)
    np.testing.assert_array_equal(terms["prior"], 0.0)


def test_a_learned_prior_takes_the_uniform_one_s_place_and_leaves_the_rest():
    model, images = model_of(VQ), noise(7)
    codes = model.encode(torch.from_numpy(images)).numpy()
    uniform = image_bits(model, images, prior=counted("uniform", codes, [8, 8]))
    np.testing.assert_allclose(uniform.learned_prior, uniform.prior, rtol=1e-6)
    fitted = image_bits(model, images, prior=counted("unigram", codes, [8, 8]))
    assert fitted.learned_prior.sum() < fitted.prior.sum()
    np.testing.assert_array_equal(fitted.reconstruction, uniform.reconstruction)
    terms = fitted.terms()
    np.testing.assert_allclose(
        terms["bound with the learned prior"], terms["bound"] - terms["prior"] + terms["learned prior"]
    )
    assert "bound with the learned prior" in bits_table(fitted)
    assert terms["prior"][0] == pytest.approx(2 * 6 * math.log2(8) / 72)


def test_the_importance_weighted_bound_of_one_sample_is_the_models_own():
    model, images = model_of(VQ), noise(4)
    found = image_bits(model, images, importance_samples=1)
    np.testing.assert_allclose(found.importance, found.reconstruction + found.prior, rtol=1e-5)


def test_a_prior_over_codes_needs_a_model_with_codes():
    prior = counted("uniform", np.zeros((1, 2, 2, 3), np.int64), [8, 8])
    with pytest.raises(BadModelError, match="no codes"):
        image_bits(model_of({"kind": "gaussian"}), noise(2), prior=prior)
    with pytest.raises(BadModelError, match="no codes"):
        draw_images(model_of({"kind": "gaussian"}), 2, prior=prior)


@pytest.mark.parametrize(
    ("latent", "decoder"),
    [
        (VQ, CONV),
        (VQ, PIXELCNN),
        ({"kind": "gaussian"}, CONV),
        ({"kind": "categorical", "codes": 2, "codebook_size": 5, "samples": 2}, CONV),
        ({"kind": "none"}, PIXELCNN),
    ],
    ids=["vq", "vq-pixelcnn", "gaussian", "categorical", "none"],
)
def test_drawn_images_have_the_models_size_and_come_again_with_the_seed(latent, decoder):
    model = model_of(latent, decoder)
    drawn = draw_images(model, 3, seed=5)
    assert drawn.shape == (3, 3, 4, 6)
    assert torch.equal(drawn, draw_images(model, 3, seed=5))
    assert not torch.equal(drawn, draw_images(model, 3, seed=6))


def test_images_drawn_from_a_prior_that_knows_one_image_are_that_image():
    model, images = model_of(VQ), noise(1)
    codes = model.encode(torch.from_numpy(images))
    prior = counted("trigram", np.repeat(codes.numpy(), 2000, 0), [8, 8])
    drawn = draw_images(model, 8, prior=prior)
    assert (drawn == model.decode(codes)).flatten(1).all(1).float().mean() > 0.4


def test_a_prior_over_other_codes_is_refused():
    prior = counted("uniform", np.zeros((1, 1, 2, 3), np.int64), [8])
    with pytest.raises(ConfigError, match="other codes"):
        draw_images(model_of(VQ), 1, prior=prior)
