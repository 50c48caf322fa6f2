"""What all models' bounds have in common: units, items that do not see each other, and averages over items."""

import math

import pytest
import torch

from .conftest import CONV, PIXELCNN, tiny_model

LATENTS = {
    "vq": {"kind": "vq", "codebook_size": 8},
    "vq-2": {"kind": "vq", "codebook_size": 8, "groups": 2},
    "gaussian": {"kind": "gaussian"},
    "categorical": {"kind": "categorical", "codes": 2, "codebook_size": 8, "samples": 3},
    "none": {"kind": "none"},
}


@pytest.mark.parametrize("latent", list(LATENTS))
def test_a_uniform_model_gives_exactly_eight_bits_per_dim(latent, images):
    decoder = {**(PIXELCNN if latent == "none" else CONV), "likelihood": {"kind": "softmax"}}
    model = tiny_model(latent=LATENTS[latent], decoder=decoder)
    for parameter in model.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    assert (model.bound(images).reconstruction / images[0].numel()).tolist() == [8.0] * 6


@pytest.mark.parametrize(("latent", "want"), [("vq", 6 * 3), ("vq-2", 6 * 2 * 3), ("categorical", 0), ("gaussian", 0)])
def test_a_posterior_equal_to_the_prior_costs_nothing_but_a_certain_one_all_its_codes(latent, want, images):
    """In a grid of six places, log2 8 a code for a VQ-VAE: its posterior is certain whatever it is."""
    model = tiny_model(latent=LATENTS[latent])
    for parameter in [*model.encoder.parameters(), model.decoder.upsampler.into.weight]:
        torch.nn.init.zeros_(parameter)  # the latter, as VIMCO's prior term is what its samples' shares leave
    torch.testing.assert_close(model.bound(images).prior, torch.full((6,), float(want)), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("latent", "decoder"), [("vq", CONV), ("vq", PIXELCNN), ("none", PIXELCNN)])
def test_bits_of_an_item_do_not_depend_on_its_batch_and_the_loss_is_their_mean(latent, decoder, images):
    model = tiny_model(latent=LATENTS[latent], decoder=decoder)
    whole = model.bound(images)
    parts = [model.bound(images[:1]), model.bound(images[1:])]  # batches of 1 and 5
    torch.testing.assert_close(torch.cat([part.bits for part in parts]), whole.bits, rtol=1e-5, atol=1e-3)
    own = whole.reconstruction.mean() * math.log(2) / images[0].numel()
    torch.testing.assert_close(whole.loss, own + (0.0 if whole.vq is None else whole.vq.loss))
