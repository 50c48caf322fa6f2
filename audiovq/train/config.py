"""The typed configuration of a training run, read from YAML with `-o key=value` overrides; unknown keys are refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from audiovq.audio.config import AudioModelConfig
from audiovq.config import Config, ConfigT
from audiovq.errors import ConfigError


class PackConfig(Config):
    """A corpus, by its path below `data.root`, and how often it is drawn, relative to the others.

    It is a pack, or a data directory, which is slower to read but takes no room (`audiovq.data.corpus.base`).
    """

    path: Path
    weight: float = 1.0


class NoiseConfig(Config):
    """See `audiovq.data.corpus.augment.Noise`."""

    share: float = 0.2
    snr_db: tuple[float, float] = (5.0, 30.0)


class BandLimitConfig(Config):
    """See `audiovq.data.corpus.augment.BandLimit`."""

    share: float = 0.1
    cutoff_hz: tuple[float, float] = (3400.0, 7000.0)


class RoomConfig(Config):
    """See `audiovq.data.corpus.augment.Room`."""

    share: float = 0.2
    rt60_seconds: tuple[float, float] = (0.1, 0.5)
    direct_db: tuple[float, float] = (0.0, 10.0)


class AugmentConfig(Config):
    """What is done to training segments, input and target alike; None for nothing of the kind."""

    room: RoomConfig | None = None
    noise: NoiseConfig | None = None
    band_limit: BandLimitConfig | None = None


class DataConfig(Config):
    """What is trained on.

    Attributes:
        root: folder that the paths of `train` and `valid` count from.
        train: corpora; valid: the corpus that validation segments come from.
        segment_samples: length of a training segment; valid_samples: of a validation segment.
        batch_size: segments per step over all processes together.
        valid_segments: how many validation segments.
        gain_db: range of the random gain on a segment; None for none.
        augment: noise, narrow bands and rooms on training segments.
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
    augment: AugmentConfig | None = None
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


class SpectralConfig(Config):
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


class LikelihoodConfig(Config):
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


class OptimizationConfig(Config):
    """How the weights move.

    Attributes:
        max_minutes: of one start of the run, after which it is validated, saved and ends; the next start goes on.
        max_steps: optimizer steps; learning_rate: peak; warmup_steps: linear from 0.
        final_rate: share of the peak that a cosine reaches at max_steps.
        gradient_clip: norm.
        weight_average: EMA factor, at its highest, of the weights that are validated and exported; 0 for none.
        valid_every, save_every: in steps; log_every: in steps.
        keep: how many checkpoints by step stay beside `last` and `best`.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        collapse_usage: a warning is printed when a level uses a smaller share of its codes between two validations.
        score_segments: how many validation segments are scored with PESQ and STOI, in a process beside the training.
    """

    seed: int = 0
    max_steps: int
    max_minutes: float | None = Field(None, gt=0)
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    final_rate: float = 0.02
    gradient_clip: float = 1.0
    weight_average: float = 0.0
    valid_every: int = 500
    save_every: int = 500
    log_every: int = 20
    keep: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    collapse_usage: float = 0.1
    score_segments: int = 0


class InitConfig(Config):
    """A released model to start from.

    Attributes:
        model: a bundled name, a model folder or a hub id. Its weights are taken wherever it has them.
        train: the parts that are trained, of `encoder`, `quantizer`, `decoders.NAME` and `speaker_table`; None for all.
            The others rest in eval mode as they were released, and must be configured as there.
    """

    model: str
    train: list[str] | None = Field(default=None, min_length=1)


class ExperimentConfig(Config):
    """A whole training run. `model.speakers` is filled from the packs when `model.speaker_dim` is above 0."""

    model: AudioModelConfig
    init: InitConfig | None = None
    data: DataConfig
    objective: Annotated[SpectralConfig | LikelihoodConfig, Field(discriminator="kind")]
    train: OptimizationConfig

    @model_validator(mode="after")
    def _precise_enough(self) -> "ExperimentConfig":
        adversarial = isinstance(self.objective, SpectralConfig) and self.objective.adversarial
        if adversarial and self.train.precision == "16-mixed":  # gradients are balanced before the loss is scaled
            raise ValueError("objective.adversarial needs train.precision bf16-mixed or 32-true")
        return self


def load_config(
    path: str | Path, overrides: Sequence[str] = (), *, changes: Sequence[str | Path] = ()
) -> ExperimentConfig:
    """The configuration of a codec's training, see `load_tree`.

    Raises ConfigError that names the file and the key.
    """
    return parse_config(load_tree(path, overrides, changes), ", ".join(str(p) for p in (path, *changes)))


def load_tree(path: str | Path, overrides: Sequence[str] = (), changes: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Read YAML, lay the files `changes` over it, apply `a.b=value` overrides (values are YAML too).

    Raises ConfigError that names the file and the key.
    """
    tree = read_tree(path)
    for change in changes:
        tree = merge(tree, read_tree(change))
    for one in overrides:
        override(tree, one)
    return tree


def merge(tree: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`tree` with the keys of `change` in place of its own; mappings merge, unless they are of another `kind`."""
    if change.get("kind", tree.get("kind")) != tree.get("kind"):
        return change
    merged = tree | change
    for key in tree.keys() & change.keys():
        if isinstance(tree[key], dict) and isinstance(change[key], dict):
            merged[key] = merge(tree[key], change[key])
    return merged


def read_tree(path: str | Path) -> dict[str, Any]:
    """A YAML file as a plain tree; ConfigError if it is none."""
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold keys and values, as model, data, train")
    return tree


def parse_config(tree: dict[str, Any], source: str) -> ExperimentConfig:
    """A plain tree as a config; ConfigError names the first wrong key."""
    return parse_as(ExperimentConfig, tree, source)


def parse_as(kind: type[ConfigT], tree: dict[str, Any], source: str) -> ConfigT:
    """The same for any class of configs."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigError(f"{source}: {where}: {reason}") from error


def override(tree: dict[str, Any], change: str) -> None:
    """Apply `a.b=value` to a plain tree; ConfigError if there is no such place."""
    key, equals, value = change.partition("=")
    if not equals:
        raise ConfigError(f"-o {change}: want key=value, for instance -o train.max_steps=100")
    *path, last = key.split(".")
    node: Any = tree
    for i, part in enumerate(path):
        node = _child(node, part, ".".join(path[: i + 1]), change)
    if isinstance(node, list):
        _child(node, last, key, change)  # only existing items can be replaced
        node[int(last)] = yaml.safe_load(value)
    elif isinstance(node, dict):
        node[last] = yaml.safe_load(value)
    else:
        raise ConfigError(f"-o {change}: {'.'.join(path)} is a value, not a group of keys")


def _child(node: Any, part: str, path: str, change: str) -> Any:
    if isinstance(node, dict):
        return node.setdefault(part, {})
    if isinstance(node, list) and part.isdigit() and int(part) < len(node):
        return node[int(part)]
    raise ConfigError(f"-o {change}: there is no {path}")
