"""Sampled images: latents drawn from a prior (a fitted one, or that of training) and decoded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiovq.errors import BadModelError, ConfigError
from audiovq.image import GaussianVAE, ImageModel, ImageVQVAE, PixelModel, VimcoVAE
from audiovq.prior import Prior, sample
from audiovq.prior.sampling import uniform_streams


@torch.inference_mode()
def draw_images(
    model: ImageModel,
    count: int,
    *,
    prior: Prior | None = None,
    label: str | None = None,
    seed: int = 0,
    on_position: Callable[[int], None] | None = None,
    **sampling: Any,
) -> Tensor:
    """int64 images `[count, C, H, W]` of the size that the model was built for.

    Args:
        model: a VQ-VAE draws codes from `prior`, or without it uniformly; a VAE draws from N(0, I), VIMCO codes
            uniformly, a PixelCNN without latents draws pixels.
        prior: over the model's codes, on grids.
        label: for a prior that is conditioned on it.
        seed: of everything; image i of a VQ-VAE has the same codes for every count.
        on_position: hears of each place of codes that is drawn from `prior`.
        sampling: temperature, top_k, top_p, see `audiovq.prior.sample`.

    Raises:
        BadModelError: a prior for a model without codes, or no size known.
        ConfigError: a prior over other codes, an unknown label.
    """
    if model.config is None:
        raise BadModelError("this model was not built from a configuration; it has no size")
    generator = torch.Generator().manual_seed(seed)
    height, width = model.config.height, model.config.width
    if isinstance(model, ImageVQVAE):
        codes = torch.from_numpy(_codes(model, count, prior, label, seed, on_position, sampling))
        return model.decode(codes.to(_device(model)), generator)
    if prior is not None:
        raise BadModelError("a prior over codes is for a VQ-VAE; this model has no codes")
    if isinstance(model, PixelModel):
        return model.decoder.sample(None, generator, shape=(count, height, width))
    stride = 2**model.config.encoder.downsample
    places = (height // stride, width // stride)
    if isinstance(model, VimcoVAE):
        groups, size = model.vectors.shape[:2]
        z = model.embed(torch.randint(size, (count, groups, *places), generator=generator).to(_device(model)))
    else:
        assert isinstance(model, GaussianVAE)
        z = torch.randn(count, model.config.latent_dim, *places, generator=generator).to(_device(model))
    return model.images(z, generator)


def _codes(
    model: ImageVQVAE,
    count: int,
    prior: Prior | None,
    label: str | None,
    seed: int,
    on_position: Callable[[int], None] | None,
    sampling: dict[str, Any],
) -> Any:
    levels, *space = model.codes_shape
    uniforms = uniform_streams(seed, count, math.prod(space), levels)
    if prior is None:
        sizes = np.array(model.codebook_sizes)
        return np.floor(uniforms * sizes).astype(np.int64).transpose(0, 2, 1).reshape(count, levels, *space)
    if list(prior.spec.codebook_sizes) != list(model.codebook_sizes) or prior.spec.layout != "grid":
        raise ConfigError("the prior is for other codes than this model's; fit it on codes that this model made")
    return sample(prior, uniforms, tuple(space), label=label, on_position=on_position, **sampling)


def _device(model: ImageModel) -> torch.device:
    return next(model.parameters()).device
