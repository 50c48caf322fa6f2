"""The typed configuration of a run that trains a codec of sound; unknown keys are refused."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from audiovq.audio.config import AudioModelConfig
from audiovq.config import Config
from audiovq.data.corpus.augment import Augmentation
from audiovq.train.config import OptimizationConfig


class PackConfig(Config):
    """A corpus, by its path below `data.root`, and how often it is drawn, relative to the others.

    It is a pack, or a data directory, which is slower to read but takes no room (`audiovq.data.corpus.base`).
    """

    path: Path
    weight: float = 1.0


class SpeechDataConfig(Config):
    """What is trained on.

    Attributes:
        root: folder that the paths of `train` and `valid` count from.
        train: corpora; valid: the corpus that validation segments come from.
        segment_samples: length of a training segment; valid_samples: of a validation segment.
        batch_size: segments per step over all processes together.
        valid_segments: how many validation segments.
        gain_db: range of the random gain on a segment; None for none.
        augment: noise, narrow bands and rooms on training segments, input and target alike; None for nothing.
        num_workers: processes that read ahead.
    """

    root: Path = Path(".")
    train: list[PackConfig]
    valid: Path
    segment_samples: int = 16384
    valid_samples: int = 32768
    batch_size: int = 16
    valid_segments: int = 16
    gain_db: tuple[float, float] | None = None
    augment: Augmentation | None = None
    num_workers: int = 1


class AdversarialConfig(Config):
    """Discriminators beside the spectral distances (see `audiovq.train.speech.adversarial`).

    Attributes:
        from_step: when they come in; warmup_steps: how long they learn alone then.
        periods: samples, of a period discriminator each; windows: FFT sizes, of a spectrum discriminator each;
            mel_windows: of one of mel spectrograms each.
        channels: of their first layers.
        per_step: how many of them are drawn at each step; None for all.
        crop_samples: length of the random piece of each segment that they judge; None for the whole.
        adversarial_weight, feature_weight: norm of the gradient of being taken for a recording, and of features like a
            recording's, at the decoder's output, as multiples of the spectral distance's.
    """

    from_step: int = 0
    warmup_steps: int = 100
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    windows: tuple[int, ...] = (512, 1024, 2048)
    mel_windows: tuple[int, ...] = ()
    channels: int = 16
    per_step: int | None = None
    crop_samples: int | None = None
    adversarial_weight: float = 0.5
    feature_weight: float = 1.0


class SpectralObjectiveConfig(Config):
    """Spectral distances between the input and the decoder's output.

    Attributes:
        decoder: name of the decoder that is trained.
        windows: FFT sizes; num_mels: mel bands of each.
        resolutions_per_step: how many of them are drawn at each step.
        mel_weight, linear_weight: weights of the mel term and of the linear-frequency terms.
        range_db: what is softer than that under a segment's loudest mel band counts as silence, and is not learnt; None
            for what is lost in the noise of 16-bit audio only.
        mode_scale: nats of a difference of log-mel bands, above which it counts by its logarithm, so that the sound is
            drawn to the likeliest of several spectra and not to what lies between them. None for its absolute value.
        loudness_weight: weight of the disturbance in loudness, after PESQ. 0 leaves it out, as with the next.
        envelope_weight: weight of what the envelopes' correlation lacks, after ESTOI.
        neurogram_weight: weight of what the levels' local correlation lacks, after ViSQOL.
        power_weight: weight of the distance of mean powers (see `audiovq.train.speech.spectral.PowerLoss`).
        periodicity_weight: weight of what each band of a voice lacks in periodicity, or has too much.
        analysis_weight: weight of the distance of what the encoder makes of output and input; for a model whose codes
            are fixed.
        pitch_weight: weight of F0 and voicing, for a decoder with a source.
        depth_weights: how often 1, 2, ... levels of fixed codes are drawn; None for as often as the quantizer's level
            dropout.
        vq_weight: weight of the quantizer's loss.
        quantize_from_step: before it the decoder is fed z_e, and the quantizer rests.
        bypass: share of the batch that is fed z_e instead of z_q afterwards.
        adversarial: discriminators; None for none.
    """

    kind: Literal["spectral"]
    decoder: str = "fast"
    windows: tuple[int, ...] = (256, 512, 1024, 2048)
    num_mels: tuple[int, ...] = (32, 64, 80, 100)
    resolutions_per_step: int = 2
    mel_weight: float = Field(1.0, ge=0)
    linear_weight: float = 0.5
    range_db: float | None = Field(None, gt=0)
    mode_scale: float | None = Field(None, gt=0)
    loudness_weight: float = Field(0.0, ge=0)
    envelope_weight: float = Field(0.0, ge=0)
    neurogram_weight: float = Field(0.0, ge=0)
    power_weight: float = Field(0.0, ge=0)
    periodicity_weight: float = Field(0.0, ge=0)
    analysis_weight: float = Field(0.0, ge=0)
    pitch_weight: float = Field(0.1, ge=0)
    depth_weights: list[float] | None = None
    vq_weight: float = 1.0
    quantize_from_step: int = 0
    bypass: float = 0.0
    adversarial: AdversarialConfig | None = None


class LikelihoodObjectiveConfig(Config):
    """Negative log-likelihood of the waveform under an autoregressive decoder.

    Attributes:
        decoder: name of the decoder that is trained.
        codes: `none` hides the codes from the decoder: the same network without them, as a baseline.
        vq_weight: weight of the quantizer's loss.
        quantize_from_step: before it the decoder is fed z_e, and the quantizer rests. A WaveNet first learns what
            the samples before tell of the next; codes that come before the encoder has learnt anything are ignored,
            and then shrink to one.
    """

    kind: Literal["likelihood"]
    decoder: str = "wavenet"
    codes: Literal["own", "none"] = "own"
    vq_weight: float = 1.0
    quantize_from_step: int = 0


class InitConfig(Config):
    """A released model to start from.

    Attributes:
        model: a bundled name, a model folder or a hub id. Its weights are taken wherever it has them.
        train: the parts that are trained, of `encoder`, `quantizer`, `decoders.NAME` and `speaker_table`; None for all.
            The others rest in eval mode as they were released, and must be configured as there.
    """

    model: str
    train: list[str] | None = Field(default=None, min_length=1)


class SpeechExperimentConfig(Config):
    """A whole training run. `model.speakers` is filled from the packs when `model.speaker_dim` is above 0."""

    model: AudioModelConfig
    init: InitConfig | None = None
    data: SpeechDataConfig
    objective: Annotated[SpectralObjectiveConfig | LikelihoodObjectiveConfig, Field(discriminator="kind")]
    train: OptimizationConfig

    @model_validator(mode="after")
    def _precise_enough(self) -> "SpeechExperimentConfig":
        adversarial = isinstance(self.objective, SpectralObjectiveConfig) and self.objective.adversarial
        if adversarial and self.train.precision == "16-mixed":  # gradients are balanced before the loss is scaled
            raise ValueError("objective.adversarial needs train.precision bf16-mixed or 32-true")
        return self

    @model_validator(mode="after")
    def _analysed_by_a_fixed_encoder(self) -> "SpeechExperimentConfig":
        trained = self.init is None or self.init.train is None or "encoder" in self.init.train
        if isinstance(self.objective, SpectralObjectiveConfig) and self.objective.analysis_weight and trained:
            raise ValueError("objective.analysis_weight: needs an encoder that rests; set it to 0 or see init.train")
        return self
