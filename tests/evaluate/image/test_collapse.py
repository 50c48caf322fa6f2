"""What shuffled latents cost: nothing where they are ignored, something where they are read."""

import numpy as np
import pytest
import torch

from audiovq.errors import BadDataError, BadModelError
from audiovq.evaluate.image.collapse import latent_use, use_table
from audiovq.image import ImageModelConfig, build_image_model

LATENTS = {
    "vq": {"kind": "vq", "codebook_size": 8, "kmeans_init": False},
    "gaussian": {"kind": "gaussian"},
    "categorical": {"kind": "categorical", "codebook_size": 8, "samples": 2},
    "none": {"kind": "none"},
}
DECODERS = {
    "conv": {"kind": "conv", "channels": 8, "residual_channels": 4, "residual_blocks": 1},
    "pixelcnn": {"kind": "pixelcnn", "channels": 8, "depth": 1, "kernel_size": 3, "condition_channels": 4,
                 "residual_blocks": 1, "likelihood": {"kind": "logistic"}},
}  # fmt: skip


def model_of(latent: str, decoder: str):
    torch.manual_seed(0)
    config = ImageModelConfig.model_validate(
        {
            "kind": "image",
            "height": 4,
            "width": 8,
            "latent_dim": 4,
            "latent": LATENTS[latent],
            "encoder": {"channels": 8, "residual_channels": 4, "residual_blocks": 1},
            "decoder": DECODERS[decoder],
        }
    )
    model = build_image_model(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)  # else weights are so small that no latent matters
    return model


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 3, 4, 8)).astype(np.uint8)


@pytest.mark.parametrize("decoder", list(DECODERS))
@pytest.mark.parametrize("latent", ["vq", "gaussian", "categorical"])
def test_a_decoder_that_ignores_z_has_no_gap_at_all(latent, decoder, images):
    model = model_of(latent, decoder)
    torch.nn.init.zeros_(model.decoder.upsampler.into.weight)
    use = latent_use(model, images, batch_size=3)
    assert use.gap.tolist() == [0.0] * 7
    assert (use.own > 0).all()


@pytest.mark.parametrize("latent", ["vq", "gaussian", "categorical"])
def test_a_decoder_that_reads_z_is_not_indifferent_to_it(latent, images):
    use = latent_use(model_of(latent, "conv"), images, batch_size=3)
    assert np.abs(use.gap).max() > 0


def test_a_trained_model_has_a_gap(images):
    """Bright and dark images, learnt in some steps: with the wrong latents each looks like the other."""
    model = model_of("gaussian", "conv").train()
    images = np.full_like(images, 40)
    images[::2] = 200
    x = torch.from_numpy(images)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model.bound(x).loss.backward()
        optimizer.step()
    use = latent_use(model.eval(), images, seed=1)
    assert use.gap.mean() > 20
    assert "difference" in use_table(use)
    assert f"{use.gap.mean():.1f}" in use_table(use)


def test_own_bits_are_those_of_the_bound_and_nobody_gets_its_own_latents(images):
    model = model_of("gaussian", "conv")
    torch.nn.init.zeros_(model.encoder.out.weight[4:])
    torch.nn.init.constant_(model.encoder.out.bias[4:], -10.0)  # a posterior as good as certain: draws are its mean
    use = latent_use(model, images, batch_size=3, seed=2)
    with torch.no_grad():
        x = torch.from_numpy(images)
        bound, z = model.bound(x), model.latents(x)
        crossed = torch.stack([model.decoder.bits(x, z.roll(i, 0)) for i in range(7)]).numpy()  # [shift, N]
    np.testing.assert_allclose(use.own, bound.reconstruction.numpy(), rtol=1e-4)
    givers = [int(np.abs(crossed[:, i] - use.shuffled[i]).argmin()) for i in range(7)]  # by which shift
    assert all(abs(crossed[shift, i] - use.shuffled[i]) < 1e-2 for i, shift in enumerate(givers))
    assert 0 not in givers
    assert sorted((i - shift) % 7 for i, shift in enumerate(givers)) == list(range(7))


@pytest.mark.parametrize("latent", ["vq", "gaussian"])
def test_a_seed_gives_the_same_and_batches_make_no_difference_to_codes(latent, images):
    model = model_of(latent, "conv")
    first, again = latent_use(model, images, seed=3), latent_use(model, images, seed=3)
    assert first.tree() == again.tree()
    if latent == "vq":
        np.testing.assert_allclose(latent_use(model, images, batch_size=2, seed=3).gap, first.gap, atol=1e-2)


def test_what_can_not_be_shuffled_is_refused(images):
    with pytest.raises(BadDataError, match="two or more"):
        latent_use(model_of("vq", "conv"), images[:1])
    with pytest.raises(BadModelError, match="no latents"):
        latent_use(model_of("none", "pixelcnn"), images)
