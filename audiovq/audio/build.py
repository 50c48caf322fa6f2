"""One builder per component: each turns its part of the configuration into keyword arguments."""

from typing import Any

from audiovq.audio.config import (
    AudioModelConfig,
    LFQConfig,
    LogisticMixtureConfig,
    LogMelEncoderConfig,
    MuLawConfig,
    SimVQConfig,
    VQConfig,
    WaveNetDecoderConfig,
)
from audiovq.audio.encoder import LogMelEncoder, WaveformEncoder
from audiovq.audio.frame_decoder import FrameDecoder
from audiovq.audio.likelihood import LogisticMixture, MuLawSoftmax
from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.quantize import FSQ, LFQ, GroupedVQ, Quantizer, ResidualVQ, SimVQ


def build_encoder(config: AudioModelConfig) -> WaveformEncoder | LogMelEncoder:
    """The encoder from waveform to z_e."""
    options = config.encoder.model_dump(exclude={"kind"})
    if isinstance(config.encoder, LogMelEncoderConfig):
        return LogMelEncoder(config.latent_dim, sample_rate=config.sample_rate, **options)
    return WaveformEncoder(config.latent_dim, **options)


def build_quantizer(config: AudioModelConfig) -> ResidualVQ | GroupedVQ:
    """The quantizer; a single codebook is a residual quantizer of one level, so that codes are always `[B, Q, F]`."""
    part, dim = config.quantizer, config.latent_dim
    options = part.model_dump(exclude={"kind"})
    if isinstance(part, VQConfig):
        count = options.pop("groups")
        groups = [ResidualVQ.of(dim // count, **options) for _ in range(count)]
        return groups[0] if len(groups) == 1 else GroupedVQ(groups)
    count, dropout = options.pop("num_quantizers"), options.pop("level_dropout")
    levels: list[Quantizer]
    if isinstance(part, SimVQConfig):
        inner, size = options.pop("codebook_dim") or dim, options.pop("codebook_size")
        levels = [SimVQ(inner, size, **options) for _ in range(count)]
    elif isinstance(part, LFQConfig):
        bits = options.pop("bits")
        levels = [LFQ(bits, bits, scale=0.5**i, **options) for i in range(count)]
    else:
        # what a level leaves over lies within half a step of it, so each works on a finer scale than the one before
        finer = 1 / max(1, min(part.levels) - 1)
        levels = [FSQ(len(part.levels), part.levels, scale=finer**i) for i in range(count)]
    return ResidualVQ(levels, dim=dim, level_dropout=dropout)


def build_likelihood(config: MuLawConfig | LogisticMixtureConfig, channels: int) -> MuLawSoftmax | LogisticMixture:
    """What a WaveNet predicts of a sample."""
    options = config.model_dump(exclude={"kind"})
    return (
        MuLawSoftmax(channels, **options) if isinstance(config, MuLawConfig) else LogisticMixture(channels, **options)
    )


def build_decoders(config: AudioModelConfig) -> dict[str, WaveNetDecoder | FrameDecoder]:
    """All decoders by name."""
    shared = {"hop_length": config.encoder.hop_length, "speaker_dim": config.speaker_dim if config.speakers else 0}
    decoders: dict[str, WaveNetDecoder | FrameDecoder] = {}
    for name, part in config.decoders.items():
        options: dict[str, Any] = shared | part.model_dump(exclude={"kind"})
        if isinstance(part, WaveNetDecoderConfig):
            cycle = [2**i for i in range(options.pop("layers_per_cycle"))]
            options["dilations"] = cycle * options.pop("cycles")
            options["likelihood"] = build_likelihood(part.likelihood, part.channels)
            decoders[name] = WaveNetDecoder(config.latent_dim, **options)
        else:
            decoders[name] = FrameDecoder(config.latent_dim, **options)
    return decoders
