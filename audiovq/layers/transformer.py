"""Decoder-only Transformer with sliding-window causal attention, rotary positions and a key-value cache.

It has pre-norm blocks (arXiv 2002.04745) with rotary positions (arXiv 2104.09864) on PyTorch's own attention. A
position attends to the `window` positions up to its own, so that a sequence may have any length and the cache is
bounded.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROTARY_BASE = 10_000.0
Angles = tuple[Tensor, Tensor]  # cosines and sines, each [T, head size / 2]


class CausalTransformerBlock(nn.Module):
    """Attention to the last `window` positions, then a two-layer perceptron, each on a normed residual path."""

    def __init__(self, channels: int, heads: int, window: int, expansion: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.attention_norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.merge = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, expansion * channels),
            nn.GELU(),
            nn.Linear(expansion * channels, channels),
        )

    def project(self, x: Tensor, angles: Angles) -> tuple[Tensor, Tensor, Tensor]:
        """x: `[B, T, C]` -> rotated queries and keys, and values, each `[B, heads, T, C / heads]`."""
        qkv = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        return rotate(q, angles), rotate(k, angles), v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """x: `[B, T, C]`, attended: `[B, heads, T, D]` -> the block's output `[B, T, C]`."""
        x = x + self.merge(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(x)

    def forward(self, x: Tensor, angles: Angles) -> Tensor:
        """x: `[B, T, C]`, and the angles of its positions -> `[B, T, C]`."""
        q, k, v = self.project(x, angles)
        length, parts = x.shape[1], []
        for start in range(0, length, self.window):  # one window of queries at a time: memory grows with T, not T^2
            stop, first = min(start + self.window, length), max(0, start - self.window + 1)
            age = torch.arange(start, stop, device=x.device)[:, None] - torch.arange(first, stop, device=x.device)
            seen = (age >= 0) & (age < self.window)
            parts.append(
                F.scaled_dot_product_attention(
                    q[:, :, start:stop], k[:, :, first:stop], v[:, :, first:stop], attn_mask=seen
                )
            )
        return self.finish(x, torch.cat(parts, dim=2))


class CausalTransformer(nn.Module):
    """A stack of such blocks and a last norm.

    Args:
        channels: width; `heads` must divide it into an even number each.
        depth: blocks.
        window: positions that each block attends to, its own included. An output sees depth * (window - 1) + 1 inputs.
        expansion: width of the perceptron's hidden layer, in `channels`.
    """

    def __init__(self, *, channels: int, depth: int, heads: int, window: int, expansion: int = 4) -> None:
        super().__init__()
        if channels % (2 * heads):
            raise ValueError(f"channels {channels} must be a multiple of 2 * heads = {2 * heads}")
        self.channels, self.window, self.head_size = channels, window, channels // heads
        self.receptive_field = depth * (window - 1) + 1
        self.blocks = nn.ModuleList(CausalTransformerBlock(channels, heads, window, expansion) for _ in range(depth))
        self.norm = nn.LayerNorm(channels)

    @property
    def transformer_blocks(self) -> list[CausalTransformerBlock]:
        """The blocks, typed."""
        return cast(list[CausalTransformerBlock], list(self.blocks))

    def forward(self, x: Tensor) -> Tensor:
        """x: `[B, T, C]` -> `[B, T, C]`; output t depends on inputs up to and including t."""
        angles = rotary_angles(0, x.shape[1], self.head_size, x)
        for block in self.transformer_blocks:
            x = block(x, angles)
        return self.norm(x)

    def steps(self, batch_size: int) -> "TransformerSteps":
        """The same, a position at a time."""
        return TransformerSteps(self, batch_size)


class TransformerSteps:
    """The network run a position at a time; keys and values of the last `window` positions are kept in a ring.

    Attention does not ask for the order of keys: their rotation says where they stand.
    """

    def __init__(self, network: CausalTransformer, batch_size: int) -> None:
        self.network, self.position = network, 0
        weight, heads = next(network.parameters()), network.channels // network.head_size
        shape = (2, batch_size, heads, network.window, network.head_size)
        self.cache = [weight.new_zeros(shape) for _ in network.transformer_blocks]

    def advance(self, x: Tensor) -> Tensor:
        """x: `[B, C]` -> output `[B, C]`."""
        x = x.unsqueeze(1)
        slot, filled = self.position % self.network.window, min(self.position + 1, self.network.window)
        angles = rotary_angles(self.position, 1, self.network.head_size, x)
        for block, cache in zip(self.network.transformer_blocks, self.cache, strict=True):
            q, k, v = block.project(x, angles)
            cache[0, :, :, slot], cache[1, :, :, slot] = k[:, :, 0], v[:, :, 0]
            keys, values = cache[:, :, :, :filled]
            x = block.finish(x, F.scaled_dot_product_attention(q, keys, values))
        self.position += 1
        return self.network.norm(x)[:, 0]


def rotary_angles(start: int, length: int, size: int, like: Tensor) -> Angles:
    """Cosines and sines `[length, size / 2]` of positions from `start` on, exact however far that is."""
    rates = ROTARY_BASE ** (-torch.arange(0, size, 2, device=like.device, dtype=torch.float64) / size)
    angles = torch.arange(start, start + length, device=like.device, dtype=torch.float64)[:, None] * rates
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotate(x: Tensor, angles: Angles) -> Tensor:
    """Rotate pairs of channels (c, c + D / 2) of x `[..., T, D]`."""
    (a, b), (cos, sin) = x.chunk(2, dim=-1), angles
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
