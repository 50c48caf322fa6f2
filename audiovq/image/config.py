"""The typed configuration of an image model: every key with its default and its unit. Unknown keys are refused.

Defaults stand here; `audiovq.image.build` turns each part into keyword arguments.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from audiovq.config import CodebookSize, Config, Count, Layers, Width
from audiovq.quantize.config import AnyQuantizerConfig, groups_and_levels


class PixelsConfig(Config):
    """8-bit colours: 3 channels, or 1 for grey."""

    kind: Literal["pixels"]
    channels: Literal[1, 3] = 3

    @property
    def values(self) -> int:
        """How many values each may have."""
        return 256


class CodesConfig(Config):
    """Grids of another model's codes: a VQ-VAE of the second stage."""

    kind: Literal["codes"]
    channels: Count = 1
    values: CodebookSize = 512


class ConvEncoderConfig(Config):
    """Strided convolutions and residual blocks; the defaults are the paper's for CIFAR-10 (section 4.1)."""

    channels: Width = 256
    residual_channels: Width = 256
    residual_blocks: Layers = 2
    downsample: Annotated[int, Field(ge=0, le=12)] = 2


class GaussianConfig(Config):
    """A continuous VAE: a diagonal Gaussian at each place."""

    kind: Literal["gaussian"]


class CategoricalConfig(Config):
    """VIMCO: `codes` independent choices out of `codebook_size` at each place, `samples` of them a bound."""

    kind: Literal["categorical"]
    codes: Width = 1
    codebook_size: CodebookSize = 512
    samples: Width = 50


class NoLatentConfig(Config):
    """None: the decoder alone is a model of images."""

    kind: Literal["none"]


class LogisticConfig(Config):
    """One discretized logistic a channel, its scale learned."""

    kind: Literal["logistic"]


class LogisticMixtureConfig(Config):
    """Mixture of discretized logistics, with PixelCNN++'s coefficients between the channels."""

    kind: Literal["logistic-mixture"]
    components: Count = 10


class SoftmaxConfig(Config):
    """Softmax over the values of each channel."""

    kind: Literal["softmax"]


LikelihoodConfig = Annotated[LogisticConfig | LogisticMixtureConfig | SoftmaxConfig, Field(discriminator="kind")]


class ConvDecoderConfig(Config):
    """The encoder's mirror: residual blocks and transposed convolutions, all pixels at once."""

    kind: Literal["conv"]
    channels: Width = 256
    residual_channels: Width = 256
    residual_blocks: Layers = 2
    likelihood: LikelihoodConfig = LogisticConfig(kind="logistic")


class PixelCNNDecoderConfig(Config):
    """A gated PixelCNN, told the latents at every place; `channels`, `depth`, `kernel_size` are its own."""

    kind: Literal["pixelcnn"]
    channels: Width = 64
    depth: Layers = 8
    kernel_size: Width = 5
    condition_channels: Width = 64
    residual_blocks: Layers = 2
    likelihood: LikelihoodConfig = SoftmaxConfig(kind="softmax")


InputConfig = Annotated[PixelsConfig | CodesConfig, Field(discriminator="kind")]
LatentConfig = Annotated[
    AnyQuantizerConfig | GaussianConfig | CategoricalConfig | NoLatentConfig, Field(discriminator="kind")
]
DecoderConfig = Annotated[ConvDecoderConfig | PixelCNNDecoderConfig, Field(discriminator="kind")]


class ImageModelConfig(Config):
    """A whole image model; saved as the model folder's `config.json`.

    Attributes:
        kind: "image", which tells it from a model of sound.
        height, width: of the images, in pixels; models of convolutions alone take other sizes too.
        input: what the images consist of.
        latent_dim: channels of z at each place.
        latent: a quantizer (VQ-VAE), or what a baseline has in its place.
        encoder, decoder: before and after it.
    """

    kind: Literal["image"]
    height: Width
    width: Width
    input: InputConfig = PixelsConfig(kind="pixels")
    latent_dim: Width = 64
    encoder: ConvEncoderConfig = ConvEncoderConfig()
    latent: LatentConfig
    decoder: DecoderConfig = ConvDecoderConfig(kind="conv")

    @model_validator(mode="after")
    def _consistent(self) -> "ImageModelConfig":
        stride = 2**self.encoder.downsample
        if self.height % stride or self.width % stride:
            raise ValueError(
                f"height, width: {self.height} x {self.width} can't be halved {self.encoder.downsample} times"
            )
        if isinstance(self.latent, AnyQuantizerConfig):
            groups_and_levels(self.latent, self.latent_dim)
        if isinstance(self.latent, CategoricalConfig) and self.latent_dim % self.latent.codes:
            raise ValueError(f"latent.codes: is {self.latent.codes}, must divide latent_dim = {self.latent_dim}")
        if isinstance(self.latent, NoLatentConfig) and not isinstance(self.decoder, PixelCNNDecoderConfig):
            raise ValueError("latent.kind none: needs decoder.kind pixelcnn, which models images without")
        return self
