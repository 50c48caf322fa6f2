"""Initialization from a released model: its weights, and the rule of which parts are trained."""

from torch import nn

from audiovq.audio import AudioVQVAE, load_model
from audiovq.errors import ConfigError
from audiovq.train.speech.config import InitConfig, SpeechExperimentConfig

# What must be configured as in the released model if it is not trained; a decoder only if the released model has it.
ANALYSIS = ("sample_rate", "latent_dim", "encoder", "quantizer", "speakers", "speaker_dim")


def trained_parts(model: AudioVQVAE, init: InitConfig | None) -> list[str]:
    """The names of the parts that a run trains, out of `part_names`: all, or those of `init.train`.

    Raises ConfigError for a name that is no part of the model.
    """
    parts = part_names(model)
    if init is None or init.train is None:
        return parts
    for name in init.train:
        if name not in parts:
            raise ConfigError(f"init.train: the model has no part {name!r}, only {', '.join(parts)}")
    return list(init.train)


def part_names(model: AudioVQVAE) -> list[str]:
    """`encoder`, `quantizer`, `decoders.NAME` for each decoder, and `speaker_table` if there is one."""
    table = ["speaker_table"] if model.speaker_table is not None else []
    return ["encoder", "quantizer", *(f"decoders.{name}" for name in model.decoder_names), *table]


def frozen_parts(model: AudioVQVAE, trained: list[str]) -> list[nn.Module]:
    """The parts that are not trained, with gradients switched off."""
    return [model.get_submodule(name).requires_grad_(False) for name in part_names(model) if name not in trained]


def load_released(model: AudioVQVAE, config: SpeechExperimentConfig, trained: list[str]) -> None:
    """Fill the model with the weights of `config.init.model`, wherever that has them.

    Raises ConfigError, naming the key, if a part that is not trained is configured otherwise than it was released,
    if the released model lacks it, or if weights differ in shape.
    """
    if config.init is None:
        return
    name = config.init.model
    released = load_model(name)
    if released.config is None:
        raise ConfigError(f"init.model: {name} has no configuration")
    parts = part_names(released)
    for part in part_names(model):
        if part not in trained and part not in parts:
            raise ConfigError(f"init: {name} has no {part}; it must be among init.train")
    kept = [key for key in ANALYSIS if key not in trained]
    ours, theirs = config.model.model_dump(), released.config.model_dump()
    kept_decoders = [d for d in model.decoder_names if f"decoders.{d}" not in trained]
    pairs = [(key, ours[key], theirs[key]) for key in kept]
    pairs += [(f"decoders.{d}", ours["decoders"][d], theirs["decoders"][d]) for d in kept_decoders]
    for key, here, there in pairs:
        if here != there:
            raise ConfigError(f"model.{key}: differs from that of {name}, which is kept as it is; copy it from there")
    wanted = model.state_dict()
    found = {key: value for key, value in released.state_dict().items() if key in wanted}
    for key, value in found.items():
        if value.shape != wanted[key].shape:
            shapes = f"{tuple(wanted[key].shape)}, in {name} {tuple(value.shape)}"
            raise ConfigError(f"init.model: {key} is {shapes}; configure that part as it was released")
    model.load_state_dict(found, strict=False)
