"""Models of images so small that every latent can be enumerated: two places, few codes, exact in float64."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from audiovq.image.baselines import GaussianVAE, VimcoVAE
from audiovq.image.decoder import ConvDecoder, Upsampler
from audiovq.image.encoder import ConvEncoder, ScaledPixels
from audiovq.image.likelihood import DiscretizedLogistic
from audiovq.image.model import ImageModel, ImageVQVAE
from audiovq.quantize import ResidualVQ

VALUES = 8
PICTURE = torch.tensor([1, 6]).view(1, 1, 1, 2)  # what is measured
SMALL: dict[str, Any] = {"channels": 6, "residual_channels": 4, "residual_blocks": 1}


class DoublePixels(ScaledPixels):
    """Input in float64."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).double()


def small_encoder(out_channels: int) -> ConvEncoder:
    return ConvEncoder(DoublePixels(1, values=VALUES), out_channels, downsample=0, **SMALL)


def small_decoder(latent_dim: int) -> ConvDecoder:
    return ConvDecoder(Upsampler(latent_dim, 2, upsample=0, **SMALL), DiscretizedLogistic(1, VALUES))


def small_vqvae(codebook_size: int = 4) -> ImageVQVAE:
    torch.manual_seed(0)
    quantizer = ResidualVQ.of(2, 1, codebook_size, kmeans_init=False, update="loss")
    return lively(ImageVQVAE(small_encoder(2), quantizer, small_decoder(2)).eval())


def small_vimco(codebook_size: int = 4, samples: int = 2) -> VimcoVAE:
    torch.manual_seed(0)
    options = {"latent_dim": 2, "codes": 1, "codebook_size": codebook_size, "samples": samples}
    return lively(VimcoVAE(small_encoder(codebook_size), small_decoder(2), **options))


def small_vae() -> GaussianVAE:
    torch.manual_seed(0)
    return lively(GaussianVAE(small_encoder(2), small_decoder(1)))


def lively(model: Any) -> Any:
    """In float64, with weights large enough that latents make a difference."""
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.mul_(2.0)
    return model


def every_code(codebook_size: int) -> Tensor:
    """All codes of two places, `[K^2, 1, 1, 2]`."""
    return torch.tensor(list(itertools.product(range(codebook_size), repeat=2))).view(-1, 1, 1, 2)


def every_draw(codebook_size: int, samples: int) -> Tensor:
    """All that so many draws of two codes can be, as draws for a batch: `[S, K^(2 S), 1, 1, 2]`."""
    draws = torch.tensor(list(itertools.product(range(codebook_size), repeat=2 * samples)))
    return draws.view(-1, samples, 1, 1, 2).movedim(1, 0)


@torch.no_grad()
def exact_bits(model: ImageModel, z: Tensor, log_prior: float | Tensor) -> float:
    """-log2 p(x) of the image, summed over all z `[N, D, 1, 2]` there are."""
    nats = math.log(2) * model.decoder.bits(PICTURE.expand(len(z), -1, -1, -1), z).double()
    return -((log_prior - nats).logsumexp(0) / math.log(2)).item()
