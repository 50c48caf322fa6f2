"""The image VQ-VAE (arXiv 1711.00937, sections 3 and 4.1), and the base class that it shares with the baselines."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from audiovq.errors import BadModelError
from audiovq.image.config import ImageModelConfig
from audiovq.image.decoder import ConvDecoder
from audiovq.image.encoder import ConvEncoder
from audiovq.image.pixelcnn_decoder import PixelCNNDecoder
from audiovq.modelfolder import num_parameters, write_model
from audiovq.quantize import Quantizer, VQOutput

Decoder = ConvDecoder | PixelCNNDecoder


@dataclass
class Bound:
    """An upper bound of -log2 p(x): `reconstruction + prior`, in bits of each item.

    Attributes:
        reconstruction: E[-log2 p(x | z)], `[B]`.
        prior: KL(q(z | x) || p(z)), `[B]`; for a VQ-VAE under the uniform prior log2 K for each code.
        loss: what training minimises, a scalar in nats per dimension (of x), means over items.
        vq: the quantizer's output; None for a model without.
    """

    reconstruction: Tensor
    prior: Tensor
    loss: Tensor
    vq: VQOutput | None = None

    @property
    def bits(self) -> Tensor:
        """The bound itself, `[B]`."""
        return self.reconstruction + self.prior


class ImageModel(nn.Module, ABC):
    """Base of the VQ-VAE and its baselines: encoder, something in the middle, decoder.

    Images are integers `[B, C, H, W]` (uint8 or int64), 0 to `values` - 1; scaling is done inside.

    Args:
        encoder: images -> `[B, D', H', W']`; None for a model without latents.
        decoder: p(x | z).

    Attributes:
        config: what the model was built from.
    """

    def __init__(self, encoder: ConvEncoder | None, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.config: ImageModelConfig | None = None

    @abstractmethod
    def bound(self, x: Tensor, *, kl_weight: float = 1.0) -> Bound:
        """The bound and the loss of a batch; `kl_weight` weighs the prior's term in the loss of those that train it."""

    @abstractmethod
    def latents(self, x: Tensor) -> Tensor | None:
        """The one z `[B, D, H', W']` that stands best for x: quantized, or the posterior's mean; None without."""

    def forward(self, x: Tensor, *, kl_weight: float = 1.0) -> Bound:
        """See `bound`."""
        return self.bound(x, kl_weight=kl_weight)

    @property
    def values(self) -> int:
        """How many values each channel of a pixel may have."""
        return self.decoder.likelihood.values

    @torch.inference_mode()
    def images(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """z -> int64 images: the mean of p(x | z), or, from a PixelCNN, which has none at hand, a sample of it."""
        if isinstance(self.decoder, ConvDecoder):
            return self.decoder.mean(z).round().long().clamp(0, self.values - 1)
        return self.decoder.sample(z, generator)

    @torch.inference_mode()
    def reconstruct(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images -> images, by way of the latents; BadModelError for a model without."""
        z = self.latents(x)
        if z is None:
            raise BadModelError("this model has no latents to reconstruct from")
        return self.images(z, generator)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` (float16, without state that only training needs)."""
        write_model(folder, self.config, self)

    def num_parameters(self) -> int:
        """Weights in all, codebooks included."""
        return num_parameters(self)


class ImageVQVAE(ImageModel):
    """Codes of images and back.

    Args:
        encoder: images -> z_e `[B, D, H', W']`.
        quantizer: z_e -> codes `[B, Q, H', W']` and z_q; as for sound, on channel axis 1.
        decoder: p(x | z_q).
    """

    encoder: ConvEncoder

    def __init__(self, encoder: ConvEncoder, quantizer: Quantizer, decoder: Decoder) -> None:
        super().__init__(encoder, decoder)
        self.quantizer = quantizer

    @property
    def stride(self) -> int:
        """Pixels per code, in each direction."""
        return 2**self.encoder.downsample

    @property
    def codebook_sizes(self) -> list[int]:
        """K of each of a place's codes."""
        return self.quantizer.codebook_sizes

    @property
    def num_quantizers(self) -> int:
        """Codes per place, Q."""
        return self.quantizer.num_quantizers

    @property
    def codes_shape(self) -> tuple[int, int, int]:
        """(Q, H', W') of an image of the size that the model was built for."""
        if self.config is None:
            raise BadModelError("this model was not built from a configuration; it has no size")
        return self.num_quantizers, self.config.height // self.stride, self.config.width // self.stride

    def bound(self, x: Tensor, *, kl_weight: float = 1.0) -> Bound:
        """See `ImageModel`. The posterior is deterministic, so under the uniform prior the second term is a constant.

        The loss is eq. 3 with all its terms as means: -ln p(x | z_q) over dimensions of x, the quantizer's over
        elements of z, both over items. So beta means the same at every image size, batch size and number of latents.
        """
        vq = self.quantizer(self.encoder(x))
        reconstruction = self.decoder.bits(x, vq.z_q)
        places = math.prod(vq.z_q.shape[2:])
        bits = places * sum(math.log2(size) for size in self.codebook_sizes)
        loss = nats_per_dim(reconstruction, x) + vq.loss
        return Bound(reconstruction, torch.full_like(reconstruction, bits), loss, vq)

    def unquantized(self, x: Tensor) -> Bound:
        """The decoder fed z_e, while the quantizer rests: to begin a training with. It bounds nothing."""
        bits = self.decoder.bits(x, self.encoder(x))
        return Bound(bits, torch.full_like(bits, math.nan), nats_per_dim(bits, x))

    def latents(self, x: Tensor) -> Tensor:
        """z_q, from the codes alone."""
        return self.quantizer.decode(self.encode(x))

    def encode(self, x: Tensor) -> Tensor:
        """Images `[B, C, H, W]` -> codes int64 `[B, Q, H', W']`; always the same, in training mode too."""
        return self.quantizer.encode(self.encoder(x))

    def decode(self, codes: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Codes `[B, Q, H', W']` -> int64 images `[B, C, H, W]`; see `images`."""
        return self.images(self.quantizer.decode(codes), generator)


class PixelModel(ImageModel):
    """A PixelCNN alone: what the decoder is worth without latents."""

    decoder: PixelCNNDecoder

    def __init__(self, decoder: PixelCNNDecoder) -> None:
        super().__init__(None, decoder)

    def bound(self, x: Tensor, *, kl_weight: float = 1.0) -> Bound:
        """Exact: -log2 p(x)."""
        bits = self.decoder.bits(x, None)
        return Bound(bits, torch.zeros_like(bits), nats_per_dim(bits, x))

    def latents(self, x: Tensor) -> None:
        """There are none."""
        return None


def nats_per_dim(bits: Tensor, x: Tensor) -> Tensor:
    """The mean over items of their bits `[B]`, in nats per dimension of x `[B, C, H, W]`."""
    return bits.mean() * math.log(2) / x[0].numel()
