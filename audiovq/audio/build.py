"""One builder per component: each turns its part of the configuration into keyword arguments."""

from typing import Any

from audiovq.audio.config import (
    AudioModelConfig,
    LogisticMixtureConfig,
    LogMelEncoderConfig,
    MuLawConfig,
    SourceDecoderConfig,
    WaveNetDecoderConfig,
)
from audiovq.audio.encoder import LogMelEncoder, WaveformEncoder
from audiovq.audio.feed_forward import FeedForwardDecoder
from audiovq.audio.frame_decoder import FrameDecoder
from audiovq.audio.likelihood import LogisticMixture, MuLawSoftmax
from audiovq.audio.source_decoder import SourceDecoder
from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.quantize.config import groups_and_levels


def build_encoder(config: AudioModelConfig) -> WaveformEncoder | LogMelEncoder:
    """The encoder from waveform to z_e."""
    options = config.encoder.model_dump(exclude={"kind"})
    if isinstance(config.encoder, LogMelEncoderConfig):
        return LogMelEncoder(config.latent_dim, sample_rate=config.sample_rate, **options)
    return WaveformEncoder(config.latent_dim, **options)


def build_likelihood(config: MuLawConfig | LogisticMixtureConfig, channels: int) -> MuLawSoftmax | LogisticMixture:
    """What a WaveNet predicts of a sample."""
    options = config.model_dump(exclude={"kind"})
    return (
        MuLawSoftmax(channels, **options) if isinstance(config, MuLawConfig) else LogisticMixture(channels, **options)
    )


def build_decoders(config: AudioModelConfig) -> dict[str, WaveNetDecoder | FeedForwardDecoder]:
    """All decoders by name."""
    shared = {"hop_length": config.encoder.hop_length, "speaker_dim": config.speaker_dim if config.speakers else 0}
    decoders: dict[str, WaveNetDecoder | FeedForwardDecoder] = {}
    for name, part in config.decoders.items():
        options: dict[str, Any] = shared | part.model_dump(exclude={"kind"})
        if isinstance(part, WaveNetDecoderConfig):
            cycle = [2**i for i in range(options.pop("layers_per_cycle"))]
            options["dilations"] = cycle * options.pop("cycles")
            options["likelihood"] = build_likelihood(part.likelihood, part.channels)
            decoders[name] = WaveNetDecoder(config.latent_dim, **options)
        elif isinstance(part, SourceDecoderConfig):
            decoders[name] = SourceDecoder(
                config.latent_dim,
                sample_rate=config.sample_rate,
                num_quantizers=groups_and_levels(config.quantizer, config.latent_dim)[1],
                **options,
            )
        else:
            decoders[name] = FrameDecoder(config.latent_dim, **options)
    return decoders
