"""The typed configuration of an audio model: every key with its default and its unit. Unknown keys are refused.

Defaults stand here; `audiovq.audio.build` turns each part into keyword arguments.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from audiovq.audio.pitch import FRAMES_PER_SECOND
from audiovq.config import CodebookSize, Config, Count, Layers, Width
from audiovq.quantize.config import QuantizerConfig, groups_and_levels


class WaveformEncoderConfig(Config):
    """Strided convolutions on raw samples; the defaults are the paper's (hop 64)."""

    kind: Literal["waveform"]
    channels: Width = 256
    strides: list[Width] = Field([2, 2, 2, 2, 2, 2], min_length=1, max_length=16)
    kernel_size: Width = 4
    dilations: list[Width] = Field([1, 3], max_length=256)

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
    hop_length: Width = 320
    num_mels: int = Field(80, ge=1, le=1024)
    window_length: Width = 512
    mel_frames_per_code: Width = 2
    channels: Width = 256
    depth: Layers = 3
    kernel_size: Width = 7
    expansion: Width = 3
    lookahead: Layers = 0

    @model_validator(mode="after")
    def _whole_mel_frames(self) -> "LogMelEncoderConfig":
        if self.hop_length % self.mel_frames_per_code:
            raise ValueError("mel_frames_per_code: must divide hop_length")
        if self.window_length * self.mel_frames_per_code < self.hop_length:
            raise ValueError("window_length: must reach from one mel frame to the next")
        return self


class MuLawConfig(Config):
    """Softmax over mu-law classes."""

    kind: Literal["mu-law"]
    levels: CodebookSize = 256


class LogisticMixtureConfig(Config):
    """Mixture of discretized logistics."""

    kind: Literal["logistic-mixture"]
    mixtures: Count = 10
    sample_bits: int = Field(16, ge=2, le=24)


SampleLikelihoodConfig = Annotated[MuLawConfig | LogisticMixtureConfig, Field(discriminator="kind")]


class WaveNetDecoderConfig(Config):
    """Autoregressive decoder; `cycles` repeats dilations 1, 2, 4, ..., 2^(layers_per_cycle - 1)."""

    kind: Literal["wavenet"]
    likelihood: SampleLikelihoodConfig = MuLawConfig(kind="mu-law")
    channels: Width = 64
    gate_channels: Width = 64
    skip_channels: Width = 128
    kernel_size: Width = 2
    cycles: Count = 2
    layers_per_cycle: int = Field(10, ge=1, le=16)
    condition_channels: Width = 64


class FrameDecoderConfig(Config):
    """Feed-forward decoder with an inverse-STFT head; lookahead in code frames, window in samples."""

    kind: Literal["frame"]
    channels: Width = 288
    depth: Layers = 4
    upsample: Width = 2
    fine_channels: Width = 256
    fine_depth: Layers = 3
    window_length: Width = 640
    kernel_size: Width = 7
    expansion: Width = 3
    lookahead: Layers = 1


class SourceDecoderConfig(Config):
    """Feed-forward decoder of pulses and noise; lookaheads in code and fine frames, window in samples."""

    kind: Literal["source"]
    channels: Width = 288
    depth: Layers = 4
    upsample: Width = 2
    fine_channels: Width = 256
    fine_depth: Layers = 3
    spectra_per_frame: Width = 2
    window_length: Width = 320
    kernel_size: Width = 7
    expansion: Width = 3
    lookahead: Layers = 1
    fine_lookahead: Layers = 0
    phase: Literal["zero", "minimum"] = "zero"
    sharpening: float = Field(0.0, ge=0, le=2)
    evenness: float = Field(0.0, ge=0, le=1)


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

    sample_rate: int = Field(ge=1, le=768_000)
    latent_dim: Width = 64
    encoder: EncoderConfig
    quantizer: QuantizerConfig
    decoders: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")], DecoderConfig]
    speakers: list[str] = []
    speaker_dim: int = Field(0, ge=0, le=2**14)
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
        if self.encoder.hop_length >= 2**16:
            raise ValueError("encoder: its hop must be below 2**16 samples, as in .codes files")
        groups, levels = groups_and_levels(self.quantizer, self.latent_dim)
        if self.default_num_quantizers is not None and not groups <= self.default_num_quantizers <= levels:
            most = f"num_quantizers = {levels}" if groups == 1 else f"groups * num_quantizers = {levels}"
            raise ValueError(f"default_num_quantizers: must lie between {groups} and {most}")
        return self
