"""The networks of priors: embedded positions in, features of each position from the positions before it out.

Each backbone has `forward` for whole items and `steps` for one position after the other; both give the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from audiovq.layers import CausalTransformer, GatedPixelCNN, WaveNetStack
from audiovq.layers.wavenet.steps import WaveNetSteps
from audiovq.prior.config import PixelCNNConfig, TransformerConfig, WaveNetConfig


class Steps(Protocol):
    """A network that goes on by a position at a time."""

    def advance(self, x: Tensor | None) -> Tensor:
        """x: the embedded position before `[B, C]`, None before the first -> features of the next one `[B, C]`."""
        ...


class WaveNetBackbone(nn.Module):
    """The WaveNet stack over sequences; a learned vector stands before the first position."""

    def __init__(self, config: WaveNetConfig, label_dim: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(config.channels))
        self.stack = WaveNetStack(
            channels=config.channels,
            gate_channels=config.gate_channels,
            skip_channels=config.skip_channels,
            kernel_size=config.kernel_size,
            dilations=[2**i for i in range(config.layers_per_cycle)] * config.cycles,
            out_channels=config.channels,
            condition_dim=label_dim,
        )
        self.receptive_field = self.stack.receptive_field  # positions before its own that a position depends on

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """x: `[B, F, C]`, condition: `[B, D]` -> `[B, F, C]`."""
        return self.stack(delayed(x, self.start), None if condition is None else condition.unsqueeze(1))

    def steps(self, batch_size: int, space: Sequence[int], condition: Tensor | None) -> Steps:
        """See the module."""
        return _WaveNetSteps(self, batch_size, condition)


class _WaveNetSteps:
    def __init__(self, backbone: WaveNetBackbone, batch_size: int, condition: Tensor | None) -> None:
        self.start = backbone.start.expand(batch_size, -1)
        self.network = WaveNetSteps(backbone.stack, batch_size, condition)

    def advance(self, x: Tensor | None) -> Tensor:
        return self.network.advance(self.start if x is None else x)


class TransformerBackbone(nn.Module):
    """The Transformer over sequences; a learned vector stands before the first position, the label is added to all."""

    def __init__(self, config: TransformerConfig, label_dim: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(config.channels))
        self.label = nn.Linear(label_dim, config.channels) if label_dim else None
        self.network = CausalTransformer(
            channels=config.channels, depth=config.depth, heads=config.heads, window=config.window
        )
        self.receptive_field = self.network.receptive_field

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """x: `[B, F, C]`, condition: `[B, D]` -> `[B, F, C]`."""
        x = delayed(x, self.start)
        if self.label is not None and condition is not None:
            x = x + self.label(condition).unsqueeze(1)
        return self.network(x)

    def steps(self, batch_size: int, space: Sequence[int], condition: Tensor | None) -> Steps:
        """See the module."""
        return _TransformerSteps(self, batch_size, condition)


class _TransformerSteps:
    def __init__(self, backbone: TransformerBackbone, batch_size: int, condition: Tensor | None) -> None:
        self.start = backbone.start.expand(batch_size, -1)
        self.label = None if backbone.label is None or condition is None else backbone.label(condition)
        self.network = backbone.network.steps(batch_size)

    def advance(self, x: Tensor | None) -> Tensor:
        x = self.start if x is None else x
        return self.network.advance(x if self.label is None else x + self.label)


class PixelCNNBackbone(nn.Module):
    """The gated PixelCNN over grids; outside of the grid are zeros."""

    def __init__(self, config: PixelCNNConfig, label_dim: int) -> None:
        super().__init__()
        self.network = GatedPixelCNN(
            channels=config.channels, depth=config.depth, kernel_size=config.kernel_size, condition_dim=label_dim
        )

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """x: `[B, H, W, C]`, condition: `[B, D]` -> `[B, H, W, C]`."""
        return self.network(x, condition)

    def steps(self, batch_size: int, space: Sequence[int], condition: Tensor | None) -> Steps:
        """See the module."""
        return self.network.steps(batch_size, space[1], condition)


class RasterBackbone(nn.Module):
    """A sequence backbone over grids, row after row as one sequence."""

    def __init__(self, backbone: WaveNetBackbone | TransformerBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """x: `[B, H, W, C]`, condition: `[B, D]` -> `[B, H, W, C]`."""
        return self.backbone(x.flatten(1, 2), condition).unflatten(1, x.shape[1:3])

    def steps(self, batch_size: int, space: Sequence[int], condition: Tensor | None) -> Steps:
        """See the module."""
        return self.backbone.steps(batch_size, space, condition)


Backbone = WaveNetBackbone | TransformerBackbone | PixelCNNBackbone | RasterBackbone


def build_backbone(config: WaveNetConfig | PixelCNNConfig | TransformerConfig, layout: str, label_dim: int) -> Backbone:
    """The backbone that a config describes, for "sequence" or "grid" items."""
    if isinstance(config, PixelCNNConfig):
        return PixelCNNBackbone(config, label_dim)
    backbone = (
        WaveNetBackbone(config, label_dim)
        if isinstance(config, WaveNetConfig)
        else TransformerBackbone(config, label_dim)
    )
    return backbone if layout == "sequence" else RasterBackbone(backbone)


def delayed(x: Tensor, start: Tensor) -> Tensor:
    """x `[B, F, C]` later by one position, `start` `[C]` before it."""
    return torch.cat([start.expand(len(x), 1, -1), x[:, :-1]], dim=1)
