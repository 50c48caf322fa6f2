"""From images to z_e: strided 4x4 convolutions and residual blocks (arXiv 1711.00937, section 4.1)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.image.likelihood import to_unit
from audiovq.layers.levels import LevelEmbedding


class ScaledPixels(nn.Module):
    """Colours as they are, scaled to [-1, 1].

    Attributes:
        dim: channels that come out.
    """

    def __init__(self, channels: int, *, values: int) -> None:
        super().__init__()
        self.dim, self.values = channels, values

    def forward(self, x: Tensor) -> Tensor:
        """x: integers `[B, C, H, W]` -> `[B, dim, H, W]`."""
        return to_unit(x, self.values)


class EmbeddedCodes(nn.Module):
    """A vector for each code, summed over a place's levels."""

    def __init__(self, channels: int, dim: int, *, values: int) -> None:
        super().__init__()
        self.dim = dim
        self.embedding = LevelEmbedding([values] * channels, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: codes `[B, Q, H, W]` -> `[B, dim, H, W]`."""
        levels = [self.embedding(x[:, q].long(), q) for q in range(x.shape[1])]
        return torch.stack(levels).sum(0).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """ReLU, 3x3, ReLU, 1x1, added to the input."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, inner, 3, padding=1)
        self.back = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: `[B, C, H, W]` -> the same shape."""
        return x + self.back(F.relu(self.wide(F.relu(x))))


def residual_stack(channels: int, inner: int, blocks: int) -> nn.Sequential:
    """So many blocks and a last ReLU."""
    return nn.Sequential(*(ResidualBlock(channels, inner) for _ in range(blocks)), nn.ReLU())


class ConvEncoder(nn.Module):
    """Images to z_e, `2^downsample` times smaller in both directions.

    Args:
        planes: makes channels of integers.
        out_channels: of z_e.
        channels, residual_channels: units of the convolutions, and inside the residual blocks.
        residual_blocks: how many.
        downsample: strided convolutions.
    """

    def __init__(
        self,
        planes: ScaledPixels | EmbeddedCodes,
        out_channels: int,
        *,
        channels: int,
        residual_channels: int,
        residual_blocks: int,
        downsample: int,
    ) -> None:
        super().__init__()
        self.planes, self.downsample = planes, downsample
        widths = [planes.dim, *[channels] * downsample]
        strided = [nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths)]
        self.convs = nn.ModuleList(strided or [nn.Conv2d(planes.dim, channels, 3, padding=1)])
        self.blocks = residual_stack(channels, residual_channels, residual_blocks)
        self.out = nn.Conv2d(channels, out_channels, 1)

    @property
    def context(self) -> int:
        """Places of the grid on every side that z_e may depend on: one by the strided convolutions, one a block."""
        return 1 + len(self.blocks) - 1  # the last is a ReLU

    def forward(self, x: Tensor) -> Tensor:
        """x: integers `[B, C, H, W]` -> z_e `[B, D, H', W']`."""
        h = self.planes(x)
        for i, conv in enumerate(self.convs):
            h = conv(F.relu(h) if i else h)
        return self.out(self.blocks(h))
