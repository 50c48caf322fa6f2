"""The typed configuration of a quantizer, the same for sound and images; unknown keys are refused.

An option of a quantizer has its default in the quantizer's constructor and takes it from there; the others have theirs
here. `audiovq.quantize.build` turns a configuration into keyword arguments.
"""

from typing import Annotated, Literal

from pydantic import Field

from audiovq.config import Config, defaults
from audiovq.quantize.lfq import LFQ
from audiovq.quantize.residual import ResidualVQ
from audiovq.quantize.simvq import SimVQ
from audiovq.quantize.vq import VectorQuantizer

_STACK, _VQ, _SIMVQ, _LFQ = defaults(ResidualVQ), defaults(VectorQuantizer), defaults(SimVQ), defaults(LFQ)


class StackConfig(Config):
    """What every kind has: it is residual if `num_quantizers` is over 1."""

    kind: str
    num_quantizers: int = 1
    level_dropout: bool | list[float] = _STACK["level_dropout"]


class VQConfig(StackConfig):
    """Vector quantization (see `audiovq.quantize.VectorQuantizer`).

    `groups` over 1 splits the latent's channels evenly, each group with `num_quantizers` levels and, if given, a
    `codebook_dim` of its own; a frame then has groups * num_quantizers codes.
    """

    kind: Literal["vq"]
    groups: int = 1
    codebook_size: int = 512
    codebook_dim: int | None = _VQ["codebook_dim"]
    update: Literal["ema", "loss"] = _VQ["update"]
    beta: float = _VQ["beta"]
    decay: float = _VQ["decay"]
    kmeans_init: bool = _VQ["kmeans_init"]
    restart_threshold: float = _VQ["restart_threshold"]
    distance: Literal["l2", "cosine"] = _VQ["distance"]
    unit_length: bool = _VQ["unit_length"]
    gradient: Literal["straight-through", "rotation"] = _STACK["gradient"]


class FSQConfig(StackConfig):
    """Finite scalar quantization; `levels` are the steps of each dimension."""

    kind: Literal["fsq"]
    levels: list[int] = [8, 8, 8]


class SimVQConfig(StackConfig):
    """A frozen random codebook under a learned linear map."""

    kind: Literal["simvq"]
    codebook_size: int = 1024
    codebook_dim: int | None = _SIMVQ["codebook_dim"]
    beta: float = _SIMVQ["beta"]


class LFQConfig(StackConfig):
    """Lookup-free quantization, one bit per channel."""

    kind: Literal["lfq"]
    bits: int = 10
    beta: float = _LFQ["beta"]
    entropy_weight: float = _LFQ["entropy_weight"]
    temperature: float = _LFQ["temperature"]


AnyQuantizerConfig = VQConfig | FSQConfig | SimVQConfig | LFQConfig
QuantizerConfig = Annotated[AnyQuantizerConfig, Field(discriminator="kind")]


def groups_and_levels(config: AnyQuantizerConfig, dim: int) -> tuple[int, int]:
    """How many groups of channels there are, and codes per position in all; ValueError if `dim` can't be so shared."""
    groups = config.groups if isinstance(config, VQConfig) else 1
    if groups < 1 or dim % groups:
        raise ValueError(f"quantizer.groups: is {groups}, must divide latent_dim = {dim}")
    return groups, groups * config.num_quantizers
