"""Builds the parts of an audio model from their configuration. A new kind of encoder or decoder has its case here."""

from typing import Any

from audiovq.audio.config import (
    AudioModelConfig,
    DecoderConfig,
    FrameDecoderConfig,
    LogisticMixtureConfig,
    LogMelEncoderConfig,
    MuLawConfig,
    SampleLikelihoodConfig,
    SourceDecoderConfig,
    WaveformEncoderConfig,
    WaveNetDecoderConfig,
)
from audiovq.audio.decoder import Decoder
from audiovq.audio.encoder import Encoder, LogMelEncoder, WaveformEncoder
from audiovq.audio.frame_decoder import FrameDecoder
from audiovq.audio.likelihood import LogisticMixture, MuLawSoftmax, SampleLikelihood
from audiovq.audio.source_decoder import SourceDecoder
from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.quantize.config import groups_and_levels


def build_encoder(config: AudioModelConfig) -> Encoder:
    """The encoder from waveform to z_e."""
    options = config.encoder.model_dump(exclude={"kind"})
    match config.encoder:
        case WaveformEncoderConfig():
            return WaveformEncoder(config.latent_dim, **options)
        case LogMelEncoderConfig():
            return LogMelEncoder(config.latent_dim, sample_rate=config.sample_rate, **options)


def build_likelihood(part: SampleLikelihoodConfig, channels: int) -> SampleLikelihood:
    """What a WaveNet predicts of a sample."""
    options = part.model_dump(exclude={"kind"})
    match part:
        case MuLawConfig():
            return MuLawSoftmax(channels, **options)
        case LogisticMixtureConfig():
            return LogisticMixture(channels, **options)


def build_decoder(part: DecoderConfig, config: AudioModelConfig) -> Decoder:
    """One of the model's decoders."""
    options: dict[str, Any] = part.model_dump(exclude={"kind"})
    options |= {"hop_length": config.encoder.hop_length, "speaker_dim": config.speaker_dim if config.speakers else 0}
    match part:
        case WaveNetDecoderConfig():
            cycle = [2**i for i in range(options.pop("layers_per_cycle"))]
            options["dilations"] = cycle * options.pop("cycles")
            options["likelihood"] = build_likelihood(part.likelihood, part.channels)
            return WaveNetDecoder(config.latent_dim, **options)
        case FrameDecoderConfig():
            return FrameDecoder(config.latent_dim, **options)
        case SourceDecoderConfig():
            options["num_quantizers"] = groups_and_levels(config.quantizer, config.latent_dim)[1]
            return SourceDecoder(config.latent_dim, sample_rate=config.sample_rate, **options)
