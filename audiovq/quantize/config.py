"""The typed configuration of a quantizer, the same for sound and images; unknown keys are refused.

An option of a quantizer has its default in the quantizer's constructor and takes it from there; the others have theirs
here. `audiovq.quantize.build` turns a configuration into keyword arguments.
"""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from audiovq.config import CodebookSize, Config, Count, Width, defaults
from audiovq.quantize.lfq import LFQ
from audiovq.quantize.residual import ResidualVQ
from audiovq.quantize.simvq import SimVQ
from audiovq.quantize.vq import VectorQuantizer

_STACK, _VQ, _SIMVQ, _LFQ = defaults(ResidualVQ), defaults(VectorQuantizer), defaults(SimVQ), defaults(LFQ)


class StackConfig(Config):
    """What every kind has: it is residual if `num_quantizers` is over 1."""

    kind: str
    num_quantizers: Count = 1
    level_dropout: bool | list[float] = _STACK["level_dropout"]


class VQConfig(StackConfig):
    """Vector quantization (see `audiovq.quantize.VectorQuantizer`).

    `groups` over 1 splits the latent's channels evenly, each group with `num_quantizers` levels and, if given, a
    `codebook_dim` of its own; a frame then has groups * num_quantizers codes.
    """

    kind: Literal["vq"]
    groups: int = 1
    codebook_size: CodebookSize = 512
    codebook_dim: Width | None = _VQ["codebook_dim"]
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
    levels: list[Annotated[int, Field(ge=2, le=2**16)]] = Field([8, 8, 8], min_length=1)

    @model_validator(mode="after")
    def _in_bounds(self) -> "FSQConfig":
        if math.prod(self.levels) > 2**24:
            raise ValueError("levels: their product is the codebook size, and must not exceed 2**24")
        return self


class SimVQConfig(StackConfig):
    """A frozen random codebook under a learned linear map."""

    kind: Literal["simvq"]
    codebook_size: CodebookSize = 1024
    codebook_dim: Width | None = _SIMVQ["codebook_dim"]
    beta: float = _SIMVQ["beta"]


class LFQConfig(StackConfig):
    """Lookup-free quantization, one bit per channel."""

    kind: Literal["lfq"]
    bits: int = Field(10, ge=1, le=24)
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
