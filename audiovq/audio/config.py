"""The typed configuration of an audio model: every key with its default and its unit. Unknown keys are refused.

Defaults stand here; `audiovq.audio.build` turns each part into keyword arguments.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from audiovq.audio.pitch import FRAMES_PER_SECOND
from audiovq.config import Config
from audiovq.quantize.config import QuantizerConfig, groups_and_levels


class WaveformEncoderConfig(Config):
    """Strided convolutions on raw samples; the defaults are the paper's (hop 64)."""

    kind: Literal["waveform"]
    channels: int = 256
    strides: list[int] = [2, 2, 2, 2, 2, 2]
    kernel_size: int = 4
    dilations: list[int] = [1, 3]

    @property
    def hop_length(self) -> int:
        """Samples per code."""
        hop = 1
        for stride in self.strides:
            hop *= stride
        return hop


class LogMelEncoderConfig(Config):
    """Log-mel bands and ConvNeXt blocks; lengths in samples, lookahead in code frames."""

    kind: Literal["log-mel"]
    hop_length: int = 320
    num_mels: int = 80
    window_length: int = 512
    mel_frames_per_code: int = 2
    channels: int = 256
    depth: int = 3
    kernel_size: int = 7
    expansion: int = 3
    lookahead: int = 0


class MuLawConfig(Config):
    """Softmax over mu-law classes."""

    kind: Literal["mu-law"]
    levels: int = 256


class LogisticMixtureConfig(Config):
    """Mixture of discretized logistics."""

    kind: Literal["logistic-mixture"]
    mixtures: int = 10
    sample_bits: int = 16


SampleLikelihoodConfig = Annotated[MuLawConfig | LogisticMixtureConfig, Field(discriminator="kind")]


class WaveNetDecoderConfig(Config):
    """Autoregressive decoder; `cycles` repeats dilations 1, 2, 4, ..., 2^(layers_per_cycle - 1)."""

    kind: Literal["wavenet"]
    likelihood: SampleLikelihoodConfig = MuLawConfig(kind="mu-law")
    channels: int = 64
    gate_channels: int = 64
    skip_channels: int = 128
    kernel_size: int = 2
    cycles: int = 2
    layers_per_cycle: int = 10
    condition_channels: int = 64


class FrameDecoderConfig(Config):
    """Feed-forward decoder with an inverse-STFT head; lookahead in code frames, window in samples."""

    kind: Literal["frame"]
    channels: int = 288
    depth: int = 4
    upsample: int = 2
    fine_channels: int = 256
    fine_depth: int = 3
    window_length: int = 640
    kernel_size: int = 7
    expansion: int = 3
    lookahead: int = 1


class SourceDecoderConfig(Config):
    """Feed-forward decoder of pulses and noise; lookaheads in code and fine frames, window in samples."""

    kind: Literal["source"]
    channels: int = 288
    depth: int = 4
    upsample: int = 2
    fine_channels: int = 256
    fine_depth: int = 3
    spectra_per_frame: int = 2
    window_length: int = 320
    kernel_size: int = 7
    expansion: int = 3
    lookahead: int = 1
    fine_lookahead: int = 0
    phase: Literal["zero", "minimum"] = "zero"
    sharpening: float = Field(0.0, ge=0, le=2)


EncoderConfig = Annotated[WaveformEncoderConfig | LogMelEncoderConfig, Field(discriminator="kind")]
DecoderConfig = Annotated[WaveNetDecoderConfig | FrameDecoderConfig | SourceDecoderConfig, Field(discriminator="kind")]


class AudioModelConfig(Config):
    """A whole audio model; saved as the model folder's `config.json`.

    Attributes:
        sample_rate: Hz.
        latent_dim: channels of z_e and z_q.
        encoder, quantizer: the two halves of the analysis.
        decoders: by name ("fast", "wavenet"); the first is the default.
        speakers: names in the order of the speaker table; empty for a model without one.
        speaker_dim: size of a speaker's vector.
        default_num_quantizers: levels that `encode` uses if not told; None for all.
    """

    sample_rate: int
    latent_dim: int = 64
    encoder: EncoderConfig
    quantizer: QuantizerConfig
    decoders: dict[str, DecoderConfig]
    speakers: list[str] = []
    speaker_dim: int = 0
    default_num_quantizers: int | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "AudioModelConfig":
        if not self.decoders:
            raise ValueError("decoders: at least one is needed")
        if bool(self.speakers) and self.speaker_dim < 1:
            raise ValueError("speaker_dim: must be positive when there are speakers")
        for name, part in self.decoders.items():
            if (
                isinstance(part, SourceDecoderConfig)
                and self.encoder.hop_length * FRAMES_PER_SECOND != part.upsample * self.sample_rate
            ):
                raise ValueError(f"decoders.{name}: upsample must give fine frames of 10 ms, as pitch is tracked in")
        groups, levels = groups_and_levels(self.quantizer, self.latent_dim)
        if self.default_num_quantizers is not None and not groups <= self.default_num_quantizers <= levels:
            most = f"num_quantizers = {levels}" if groups == 1 else f"groups * num_quantizers = {levels}"
            raise ValueError(f"default_num_quantizers: must lie between {groups} and {most}")
        return self
