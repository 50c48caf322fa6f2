"""Builds an image model from its configuration; one builder per component."""

from pathlib import Path

import torch

from audiovq.errors import BadModelError
from audiovq.image.baselines import GaussianVAE, VimcoVAE
from audiovq.image.config import (
    CategoricalConfig,
    CodesConfig,
    ConvDecoderConfig,
    GaussianConfig,
    ImageModelConfig,
    LogisticMixtureConfig,
    NoLatentConfig,
    SoftmaxConfig,
)
from audiovq.image.decoder import ConvDecoder, PixelLikelihood, Upsampler
from audiovq.image.encoder import ConvEncoder, EmbeddedCodes, ScaledPixels
from audiovq.image.likelihood import DiscretizedLogistic, LogisticMixture, Softmax
from audiovq.image.model import Decoder, ImageModel, ImageVQVAE, PixelModel
from audiovq.image.pixelcnn_decoder import PixelCNNDecoder, PixelVectors
from audiovq.layers.levels import LevelEmbedding
from audiovq.modelfolder import StoredModel, build_filled, read_model, validate_config
from audiovq.quantize.build import build_quantizer


def build_image_model(config: ImageModelConfig) -> ImageModel:
    """A model with random weights: the VQ-VAE, or the baseline that `config.latent` names."""
    model = _build(config)
    model.config = config  # kept only to be saved beside the weights
    return model


def load_image_model(name_or_path: str | Path, device: str | torch.device = "cpu") -> ImageModel:
    """A bundled name, a local folder or a hub id -> the model in eval mode on `device`, in float32.

    Raises BadModelError, with the mend, for a folder that is not an image model of ours.
    """
    return image_model_from(read_model(name_or_path)).to(device)


def image_model_from(stored: StoredModel) -> ImageModel:
    """The same of a folder that was read already, on the CPU."""
    if not stored.is_image:
        raise BadModelError(
            f"{stored.folder}: not a model of images; those are what audiovq image and load_image_model take"
        )
    config = validate_config(ImageModelConfig, stored)
    return build_filled(lambda: build_image_model(config), stored)


def _build(config: ImageModelConfig) -> ImageModel:
    latent, dim = config.latent, config.latent_dim
    if isinstance(latent, NoLatentConfig):
        decoder = build_decoder(config)
        assert isinstance(decoder, PixelCNNDecoder)  # the configuration sees to it
        return PixelModel(decoder)
    if isinstance(latent, GaussianConfig):
        return GaussianVAE(build_encoder(config, 2 * dim), build_decoder(config))
    if isinstance(latent, CategoricalConfig):
        options = latent.model_dump(exclude={"kind"})
        encoder = build_encoder(config, latent.codes * latent.codebook_size)
        return VimcoVAE(encoder, build_decoder(config), latent_dim=dim, **options)
    return ImageVQVAE(build_encoder(config, dim), build_quantizer(latent, dim), build_decoder(config))


def build_encoder(config: ImageModelConfig, out_channels: int) -> ConvEncoder:
    """The encoder from images to whatever the latents are made of."""
    options = config.encoder.model_dump()
    image = config.input.model_dump(exclude={"kind"})
    planes: ScaledPixels | EmbeddedCodes
    if isinstance(config.input, CodesConfig):
        planes = EmbeddedCodes(dim=config.encoder.channels, **image)
    else:
        planes = ScaledPixels(config.input.channels, values=config.input.values)
    return ConvEncoder(planes, out_channels, **options)


def build_likelihood(config: ImageModelConfig) -> PixelLikelihood:
    """What the decoder predicts of a pixel."""
    part, channels, values = config.decoder.likelihood, config.input.channels, config.input.values
    if isinstance(part, LogisticMixtureConfig):
        return LogisticMixture(channels, values, **part.model_dump(exclude={"kind"}))
    return Softmax(channels, values) if isinstance(part, SoftmaxConfig) else DiscretizedLogistic(channels, values)


def build_decoder(config: ImageModelConfig) -> Decoder:
    """The decoder from z to p(x | z)."""
    part, likelihood = config.decoder, build_likelihood(config)
    upsample = config.encoder.downsample
    options = part.model_dump(exclude={"kind", "likelihood"})
    if isinstance(part, ConvDecoderConfig):
        return ConvDecoder(
            Upsampler(config.latent_dim, likelihood.num_outputs, upsample=upsample, **options), likelihood
        )
    image_channels, values = config.input.channels, config.input.values
    embed = (
        LevelEmbedding([values] * image_channels, part.channels)
        if isinstance(config.input, CodesConfig)
        else PixelVectors(image_channels, part.channels, values=values)
    )
    width = part.condition_channels
    blocks = options.pop("residual_blocks")
    upsampler = Upsampler(
        config.latent_dim, width, channels=width, residual_channels=width, residual_blocks=blocks, upsample=upsample
    )
    return PixelCNNDecoder(
        None if isinstance(config.latent, NoLatentConfig) else upsampler,
        embed,
        likelihood,
        image_channels=image_channels,
        **options,
    )
