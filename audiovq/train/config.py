"""The typed configuration of a training run, read from YAML with `-o key=value` overrides; unknown keys are refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from audiovq.audio.config import AudioModelConfig, Config
from audiovq.errors import ConfigError


class PackConfig(Config):
    """A packed corpus and how often it is drawn, relative to the others."""

    path: Path
    weight: float = 1.0


class DataConfig(Config):
    """What is trained on.

    Attributes:
        train: packs; valid: the pack that validation segments come from.
        segment_samples: length of a training segment; valid_samples: of a validation segment.
        batch_size: segments per step over all processes together.
        valid_segments: how many validation segments.
        gain_db: range of the random gain on a segment; None for none.
        num_workers: processes that read ahead.
    """

    train: list[PackConfig]
    valid: Path
    segment_samples: int = 16384
    valid_samples: int = 32768
    batch_size: int = 16
    valid_segments: int = 16
    gain_db: tuple[float, float] | None = None
    num_workers: int = 1


class SpectralConfig(Config):
    """Spectral distances between the input and the decoder's output.

    Attributes:
        decoder: name of the decoder that is trained.
        windows: FFT sizes; num_mels: mel bands of each.
        resolutions_per_step: how many of them are drawn at each step.
        linear_weight: weight of the linear-frequency terms beside the mel term.
        vq_weight: weight of the quantizer's loss.
        quantize_from_step: before it the decoder is fed z_e, and the quantizer rests.
        bypass: share of the batch that is fed z_e instead of z_q afterwards.
    """

    kind: Literal["spectral"]
    decoder: str = "fast"
    windows: tuple[int, ...] = (256, 512, 1024, 2048)
    num_mels: tuple[int, ...] = (32, 64, 80, 100)
    resolutions_per_step: int = 2
    linear_weight: float = 0.5
    vq_weight: float = 1.0
    quantize_from_step: int = 0
    bypass: float = 0.0


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
        max_steps: optimizer steps; learning_rate: peak; warmup_steps: linear from 0.
        final_rate: share of the peak that a cosine reaches at max_steps.
        gradient_clip: norm.
        weight_average: EMA factor, at its highest, of the weights that are validated and exported; 0 for none.
        valid_every, save_every: in steps; log_every: in steps.
        keep: how many checkpoints by step stay beside `last` and `best`.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        collapse_usage: a warning is printed when a level uses a smaller share of its codes between two validations.
    """

    seed: int = 0
    max_steps: int
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


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read YAML, apply `a.b=value` overrides (values are YAML too), and check everything.

    Raises ConfigError that names the file and the key.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold the keys model, data, objective, train")
    for override in overrides:
        _override(tree, override)
    return parse_config(tree, str(path))


def parse_config(tree: dict[str, Any], source: str) -> ExperimentConfig:
    """A plain tree as a config; ConfigError names the first wrong key."""
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigError(f"{source}: {where}: {reason}") from error


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise ConfigError(f"-o {override}: want key=value, for instance -o train.max_steps=100")
    *path, last = key.split(".")
    node: Any = tree
    for i, part in enumerate(path):
        node = _child(node, part, ".".join(path[: i + 1]), override)
    if isinstance(node, list):
        _child(node, last, key, override)  # only existing items can be replaced
        node[int(last)] = yaml.safe_load(value)
    elif isinstance(node, dict):
        node[last] = yaml.safe_load(value)
    else:
        raise ConfigError(f"-o {override}: {'.'.join(path)} is a value, not a group of keys")


def _child(node: Any, part: str, path: str, override: str) -> Any:
    if isinstance(node, dict):
        return node.setdefault(part, {})
    if isinstance(node, list) and part.isdigit() and int(part) < len(node):
        return node[int(part)]
    raise ConfigError(f"-o {override}: there is no {path}")
