"""The configuration of a prior: the codes it is for, and its kind with sizes. Saved as the folder's `config.json`."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from audiovq.config import CodebookSize, Config, Count, Layers, Width


class CodeSpec(Config):
    """The codes a prior is for.

    Attributes:
        codebook_sizes: K of each level.
        layout: "sequence": items are `[Q, F]`; "grid": `[Q, H, W]`, in raster order.
        frame_rate: frames per second, Hz, of a sequence; None where it is not known.
        model: name of the codec that made the codes; None where it is not known.
        fingerprint: hexadecimal of its first 6 bytes, as in `.codes` files; None where it is not known.
        labels: names of the speakers or classes that the prior is conditioned on; empty for none.
    """

    codebook_sizes: list[CodebookSize] = Field(min_length=1, max_length=255)
    layout: Literal["sequence", "grid"] = "sequence"
    frame_rate: float | None = None
    model: str | None = None
    fingerprint: str | None = None
    labels: list[str] = Field(default_factory=list)

    @property
    def num_quantizers(self) -> int:
        """Levels, Q."""
        return len(self.codebook_sizes)

    @property
    def bits_per_position(self) -> float:
        """Price of all codes of a frame or position under the uniform prior: the sum of log2 K."""
        return sum(math.log2(size) for size in self.codebook_sizes)


class CountedConfig(Config):
    """A prior that is counted, not trained (`audiovq.prior.ngram`).

    `concentrations`: of each level and order, found by `fit`; the uniform prior has none.
    """

    kind: Literal["uniform", "unigram", "bigram", "trigram"]
    concentrations: list[list[float]] = Field(default_factory=list)


class WaveNetConfig(Config):
    """Gated, dilated, causal convolutions; `cycles` repeats dilations 1, 2, 4, ..., 2^(layers_per_cycle - 1)."""

    kind: Literal["wavenet"]
    channels: Width = 128
    gate_channels: Width = 128
    skip_channels: Width = 256
    kernel_size: Width = 2
    cycles: Count = 2
    layers_per_cycle: int = Field(6, ge=1, le=16)
    label_dim: Width = 32


class PixelCNNConfig(Config):
    """Gated PixelCNN, for grids."""

    kind: Literal["pixelcnn"]
    channels: Width = 96
    depth: Layers = 8
    kernel_size: Width = 5
    label_dim: Width = 32


class TransformerConfig(Config):
    """Decoder-only Transformer; `window` positions back are attended to in each block."""

    kind: Literal["transformer"]
    channels: Width = 192
    depth: Layers = 4
    heads: Count = 4
    window: Width = 256
    label_dim: Width = 32


NetworkConfig = Annotated[WaveNetConfig | PixelCNNConfig | TransformerConfig, Field(discriminator="kind")]
AnyKindConfig = Annotated[
    CountedConfig | WaveNetConfig | PixelCNNConfig | TransformerConfig, Field(discriminator="kind")
]

COUNTED = ("uniform", "unigram", "bigram", "trigram")
NETWORKS = ("wavenet", "pixelcnn", "transformer")
KINDS = COUNTED + NETWORKS


class PriorConfig(Config):
    """A whole prior: its codes and its kind."""

    codes: CodeSpec
    prior: AnyKindConfig

    @model_validator(mode="after")
    def _consistent(self) -> PriorConfig:
        if self.prior.kind == "pixelcnn" and self.codes.layout != "grid":
            raise ValueError("prior.kind: pixelcnn is for grids; take wavenet or transformer for sequences")
        if self.prior.kind in COUNTED and self.codes.labels:
            raise ValueError(f"codes.labels: {self.prior.kind} takes no condition; take wavenet or transformer")
        return self
