"""The typed configuration of a quantizer, the same for sound and pictures; unknown keys are refused.

An option has its default here and nowhere else; `audiovq.quantize.build` turns it into keyword arguments.
"""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from audiovq.config import CodebookSize, Config, Count, Width


class VQConfig(Config):
    """Vector quantization, residual when `num_quantizers` is over 1 (see `audiovq.quantize.VectorQuantizer`).

    `groups` over 1 splits the latent's channels evenly, each group with `num_quantizers` levels and, if given, a
    `codebook_dim` of its own; a frame then has groups * num_quantizers codes.
    """

    kind: Literal["vq"]
    num_quantizers: Count = 1
    groups: int = 1
    codebook_size: CodebookSize = 512
    codebook_dim: Width | None = None
    update: Literal["ema", "loss"] = "ema"
    beta: float = 0.25
    decay: float = 0.99
    kmeans_init: bool = True
    restart_threshold: float = 0.03
    distance: Literal["l2", "cosine"] = "l2"
    unit_length: bool = True
    gradient: Literal["straight-through", "rotation"] = "straight-through"
    level_dropout: bool | list[float] = False


class FSQConfig(Config):
    """Finite scalar quantization; `levels` are the steps of each dimension, residual if `num_quantizers` is over 1."""

    kind: Literal["fsq"]
    levels: list[Annotated[int, Field(ge=2, le=2**16)]] = Field([8, 8, 8], min_length=1)
    num_quantizers: Count = 1
    level_dropout: bool | list[float] = False

    @model_validator(mode="after")
    def _in_bounds(self) -> "FSQConfig":
        if math.prod(self.levels) > 2**24:
            raise ValueError("levels: their product is the codebook size, and must not exceed 2**24")
        return self


class SimVQConfig(Config):
    """A frozen random codebook under a learned linear map; residual if `num_quantizers` is over 1."""

    kind: Literal["simvq"]
    num_quantizers: Count = 1
    codebook_size: CodebookSize = 1024
    codebook_dim: Width | None = None
    beta: float = 0.25
    level_dropout: bool | list[float] = False


class LFQConfig(Config):
    """Lookup-free quantization, one bit per channel; residual if `num_quantizers` is over 1."""

    kind: Literal["lfq"]
    num_quantizers: Count = 1
    bits: int = Field(10, ge=1, le=24)
    beta: float = 0.25
    entropy_weight: float = 0.1
    temperature: float = 1.0
    level_dropout: bool | list[float] = False


QuantizerConfig = Annotated[VQConfig | FSQConfig | SimVQConfig | LFQConfig, Field(discriminator="kind")]


def groups_and_levels(config: VQConfig | FSQConfig | SimVQConfig | LFQConfig, dim: int) -> tuple[int, int]:
    """How many groups of channels there are, and codes per position in all; ValueError if `dim` can't be so shared."""
    groups = config.groups if isinstance(config, VQConfig) else 1
    if groups < 1 or dim % groups:
        raise ValueError(f"quantizer.groups: is {groups}, must divide latent_dim = {dim}")
    return groups, groups * config.num_quantizers
