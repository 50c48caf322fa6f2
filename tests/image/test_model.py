"""The image VQ-VAE and its kin: codes, bounds, decoders that see what they may, saving and loading."""

from __future__ import annotations

import math

import pytest
import torch

from audiovq.audio import load_model
from audiovq.errors import BadModelError
from audiovq.image import ImageModelConfig, ImageVQVAE, PixelModel, build_image_model, load_image_model
from audiovq.image.model import ImageModel

from .conftest import CONV, PIXELCNN, SMALL_ENCODER, VQ, slopes, tiny_model, tiny_tree

LIKELIHOODS = [{"kind": "logistic"}, {"kind": "logistic-mixture", "components": 2}, {"kind": "softmax"}]
LATENTS = [
    VQ,
    {**VQ, "groups": 2},
    {"kind": "fsq", "levels": [4, 4]},
    {"kind": "gaussian"},
    {"kind": "categorical", "codes": 2, "codebook_size": 5, "samples": 3},
]
DECODERS = [CONV, PIXELCNN]


def test_a_model_without_a_bound_is_refused():
    with pytest.raises(TypeError, match="abstract"):
        ImageModel(None, None)


@pytest.mark.parametrize("decoder", DECODERS, ids=["conv", "pixelcnn"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda part: part["kind"])
@pytest.mark.parametrize("latent", LATENTS, ids=["vq", "vq-2", "fsq", "gaussian", "categorical"])
def test_every_combination_gives_a_bound_and_gradients(latent, likelihood, decoder, images):
    model = tiny_model(latent=latent, decoder={**decoder, "likelihood": likelihood}).train()
    bound = model.bound(images)
    assert bound.reconstruction.shape == bound.prior.shape == (6,)
    assert torch.isfinite(bound.bits).all()
    bound.loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.encoder.parameters())
    assert any(p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def test_codes_of_a_vqvae_decode_to_what_the_bound_was_of(images):
    model = tiny_model(latent={**VQ, "groups": 2})
    codes = model.encode(images)
    assert codes.shape == (6, *model.codes_shape) == (6, 2, 2, 3)
    assert codes.dtype == torch.int64
    assert torch.equal(model.latents(images), model.bound(images).vq.z_q)
    decoded = model.decode(codes)
    assert decoded.shape == images.shape
    assert 0 <= decoded.min() <= decoded.max() <= 255
    assert torch.equal(decoded, model.reconstruct(images))


def test_codes_are_the_same_in_training_mode_and_at_any_batch_size(images):
    model = tiny_model()
    whole = model.encode(images)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert torch.equal(model.train().encode(images), whole)
    assert torch.equal(torch.cat([model.encode(image[None]) for image in images]), whole)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_uniform_prior_costs_log2_k_a_code(images):
    bits = tiny_model(latent={**VQ, "groups": 2, "codebook_size": 32}).bound(images).prior
    assert torch.allclose(bits, torch.full((6,), 2 * 3 * 2 * math.log2(32)))


def test_beta_means_the_same_at_every_batch_and_image_size():
    """The quantizer's loss is a mean over elements of z, the first term one over dimensions of x."""
    model = tiny_model(latent={**VQ, "update": "loss"}).train()
    small = torch.from_numpy(slopes(4))
    for other in (small.repeat(3, 1, 1, 1), small.repeat(1, 1, 2, 2)):
        vq = model.quantizer(model.encoder(small)).loss
        again = model.bound(other)
        if other.shape[-1] == small.shape[-1]:
            assert torch.allclose(again.loss, model.bound(small).loss, rtol=1e-4)
            assert torch.allclose(again.vq.loss, vq, rtol=1e-4)
        nats = again.reconstruction.mean() * math.log(2) / other[0].numel()
        assert torch.allclose(again.loss, nats + again.vq.loss)
        assert torch.allclose(again.vq.loss, sum(again.vq.losses.values()))


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda part: part["kind"])
def test_a_pixelcnn_decoder_sees_every_earlier_value_and_no_later_one(likelihood):
    torch.manual_seed(0)
    model = tiny_model(decoder={**PIXELCNN, "depth": 4, "kernel_size": 5, "likelihood": likelihood}).double()
    decoder = model.decoder
    x = torch.randint(0, 256, (1, 3, 4, 6))
    z = torch.randn(1, 4, 2, 3, dtype=torch.float64)

    def outputs(x):
        vectors = [decoder.embed(x[:, c], c).double() for c in range(3)]
        features = decoder.network(torch.stack(vectors).sum(0), decoder._condition(z))
        return decoder._outputs(features, vectors)[0].unflatten(0, (-1,)).movedim(0, -1)  # [H, W, P]

    with torch.no_grad():
        before = outputs(x)
        softmax = likelihood["kind"] == "softmax"
        for place in range(24):
            for c in range(3):
                other = x.clone()
                other.view(3, 24)[c, place] = (other.view(3, 24)[c, place] + 90) % 256
                changed = (outputs(other) != before).view(24, -1)
                later = torch.arange(24) > place
                assert torch.equal(changed.any(1) & (torch.arange(24) != place), later)
                at = changed[place].view(-1)
                if softmax:  # within the pixel, only the channels after c hear of it
                    assert at.unflatten(0, (3, 256)).any(1).tolist() == [channel > c for channel in range(3)]
                else:
                    assert not at.any()


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda part: part["kind"])
def test_sampling_a_pixel_at_a_time_equals_one_pass_for_each(likelihood):
    model = tiny_model(decoder={**PIXELCNN, "likelihood": likelihood}).double()
    decoder = model.decoder
    z = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    drawn = decoder.sample(z, torch.Generator().manual_seed(3))
    draws = (24, 2, decoder.likelihood.num_uniforms)
    uniform = torch.rand(draws, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    naive = torch.zeros_like(drawn)
    with torch.no_grad():
        for place in range(24):
            for c in range(3):  # a softmax's channels hear of those before them
                vectors = [decoder.embed(naive[:, i], i).double() for i in range(3)]
                features = decoder.network(torch.stack(vectors).sum(0), decoder._condition(z))
                outputs = decoder._outputs(features, vectors).flatten(2)[..., place]
                pixel = decoder.likelihood.sample(outputs[..., None, None], uniform[place][..., None, None])[..., 0, 0]
                naive.view(2, 3, 24)[:, c, place] = pixel[:, c]
    assert torch.equal(drawn, naive)


def test_a_model_without_latents_draws_images_and_gives_their_exact_bits(images):
    model = tiny_model(latent={"kind": "none"}, decoder=PIXELCNN)
    assert isinstance(model, PixelModel)
    assert model.bound(images).prior.eq(0).all()
    drawn = model.decoder.sample(None, torch.Generator().manual_seed(0), shape=(2, 4, 6))
    assert drawn.shape == (2, 3, 4, 6)
    with pytest.raises(BadModelError, match="no latents"):
        model.reconstruct(images)


def test_a_second_stage_models_codes():
    model = tiny_model(
        input={"kind": "codes", "channels": 2, "values": 9},
        height=4,
        width=4,
        encoder={**SMALL_ENCODER, "downsample": 2},
        latent={**VQ, "groups": 2, "codebook_size": 4},
        decoder=PIXELCNN,
    )
    codes = torch.randint(0, 9, (3, 2, 4, 4))
    assert model.encode(codes).shape == (3, 2, 1, 1)
    again = model.decode(model.encode(codes), torch.Generator().manual_seed(0))
    assert again.shape == codes.shape
    assert again.max() < 9


@pytest.mark.parametrize("latent", LATENTS, ids=["vq", "vq-2", "fsq", "gaussian", "categorical"])
def test_saved_and_loaded_it_is_the_same_model(latent, tmp_path, images):
    model = tiny_model(latent=latent)
    model.save_pretrained(tmp_path)
    loaded = load_image_model(tmp_path)
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert not loaded.training
    z, again = model.latents(images), loaded.latents(images)
    torch.testing.assert_close(again, z, rtol=1e-3, atol=1e-3)  # stored in float16


def test_models_of_sound_and_of_images_are_not_mistaken_for_each_other(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(BadModelError, match="model of images"):
        load_model(tmp_path)
    with pytest.raises(BadModelError, match="not a model of images"):
        load_image_model("speech-16k")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 5}, "can't be halved"),
        ({"latent": {**VQ, "groups": 3}}, "must divide latent_dim"),
        ({"latent": {"kind": "categorical", "codes": 3}}, "must divide latent_dim"),
        ({"latent": {"kind": "none"}}, "needs decoder.kind pixelcnn"),
        ({"encoder": {"chanels": 8}}, "chanels"),
    ],
)
def test_a_wrong_configuration_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ImageModelConfig.model_validate(tiny_tree(**changes))


@pytest.mark.parametrize(("size", "downsample"), [(32, 2), (64, 2), (128, 2), (32, 3)])
def test_the_grid_of_codes_is_as_much_smaller_as_the_encoder_has_strided_convolutions(size, downsample):
    tree = tiny_tree(height=size, width=size, encoder={**SMALL_ENCODER, "downsample": downsample})
    model = build_image_model(ImageModelConfig.model_validate(tree))
    assert isinstance(model, ImageVQVAE)
    assert model.codes_shape == (1, size // 2**downsample, size // 2**downsample)
    assert model.encoder(torch.zeros(1, 3, size, size, dtype=torch.uint8)).shape[2:] == model.codes_shape[1:]
