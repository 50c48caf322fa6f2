"""Gated PixelCNN (van den Oord et al. 2016, arXiv 1606.05328): two stacks of convolutions over a grid, no blind spot.

The vertical stack sees all rows above; the horizontal stack sees the row to the left, and the vertical stack. Kernels
are cropped to what they may see, in place of masks, and the input is shifted once, at the bottom. So no weight is
wasted, and one row or one position can be computed from the state of those before.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GatedPixelCNNLayer(nn.Module):
    """One layer of both stacks (figure 2 of the paper).

    Args:
        channels: of both stacks.
        kernel_size: k, odd. Vertical kernels have k // 2 + 1 rows and k columns, horizontal ones k // 2 + 1 columns.
        condition_dim: channels of a condition, on the whole grid or on each place of it; 0 for none.
    """

    def __init__(self, channels: int, kernel_size: int, condition_dim: int) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or kernel_size < 3:
            raise ValueError(f"kernel_size {kernel_size}; a PixelCNN layer needs an odd one, 3 or more")
        self.reach = kernel_size // 2
        self.vertical = nn.Conv2d(channels, 2 * channels, (self.reach + 1, kernel_size))
        self.horizontal = nn.Linear((self.reach + 1) * channels, 2 * channels)  # leftmost first
        self.across = nn.Linear(2 * channels, 2 * channels, bias=False)  # from the vertical stack to the horizontal one
        self.condition = nn.Linear(condition_dim, 4 * channels, bias=False) if condition_dim else None
        self.residual = nn.Linear(channels, channels)

    def offsets(self, condition: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Condition `[B, D]` or `[B, H, W, D]` -> what both gates add, each `[B, 1 or H, 1 or W, 2 * channels]`."""
        if self.condition is None or condition is None:
            return None, None
        everywhere = condition[:, None, None] if condition.ndim == 2 else condition
        vertical, horizontal = self.condition(everywhere).chunk(2, dim=-1)
        return vertical, horizontal

    def rows(self, v: Tensor, above: Tensor, offset: Tensor | None) -> tuple[Tensor, Tensor]:
        """Vertical stack: v `[B, H, W, C]` and the `reach` rows above it -> next v, and what goes across `[.., 2C]`."""
        x = torch.cat([above, v], dim=1).permute(0, 3, 1, 2)
        filtered = self.vertical(F.pad(x, (self.reach, self.reach))).permute(0, 2, 3, 1)
        across = self.across(filtered)
        if offset is not None:
            filtered = filtered + offset
        return gate(filtered), across

    def columns(self, h: Tensor, left: Tensor, across: Tensor, offset: Tensor | None) -> Tensor:
        """Horizontal stack: h `[..., W, C]`, the `reach` columns to its left, across `[..., W, 2C]` -> next h."""
        width = h.shape[-2]
        x = torch.cat([left, h], dim=-2)
        taps = torch.cat([x[..., i : i + width, :] for i in range(self.reach + 1)], dim=-1)
        filtered = self.horizontal(taps) + across
        if offset is not None:
            filtered = filtered + offset
        return h + self.residual(gate(filtered))


def gate(filtered: Tensor) -> Tensor:
    """tanh(a) . sigmoid(b) of the two halves of the last axis (eq. 2)."""
    a, b = filtered.chunk(2, dim=-1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedPixelCNN(nn.Module):
    """Features of each position from the positions before it in raster order, and none other.

    Args:
        channels, kernel_size, condition_dim: of every layer.
        depth: layers. Position (y, x) sees rows up to 1 + depth * (kernel_size // 2) above it, within
            depth * (kernel_size // 2) columns to both sides, and as many + 1 columns to its left.
    """

    def __init__(self, *, channels: int, depth: int, kernel_size: int = 5, condition_dim: int = 0) -> None:
        super().__init__()
        self.channels = channels
        self.reach = depth * (kernel_size // 2)
        self.layers = nn.ModuleList(GatedPixelCNNLayer(channels, kernel_size, condition_dim) for _ in range(depth))

    @property
    def pixelcnn_layers(self) -> list[GatedPixelCNNLayer]:
        """The layers, typed."""
        return cast(list[GatedPixelCNNLayer], list(self.layers))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """x: `[B, H, W, C]`, condition: `[B, D]` or `[B, H, W, D]` -> `[B, H, W, C]`."""
        v = F.pad(x, (0, 0, 0, 0, 1, 0))[:, :-1]  # row y holds row y - 1
        h = F.pad(x, (0, 0, 1, 0))[:, :, :-1]  # column x holds column x - 1
        for layer in self.pixelcnn_layers:
            for_v, for_h = layer.offsets(condition)
            v, across = layer.rows(v, _zeros(v, 1, layer.reach), for_v)
            h = layer.columns(h, _zeros(h, 2, layer.reach), across, for_h)
        return h

    def steps(self, batch_size: int, width: int, condition: Tensor | None = None) -> "PixelCNNSteps":
        """The same, a position at a time, for grids `width` wide."""
        return PixelCNNSteps(self, batch_size, width, condition)


class PixelCNNSteps:
    """The network run a position at a time: rows above and columns to the left are kept, so each is computed once."""

    def __init__(self, network: GatedPixelCNN, batch_size: int, width: int, condition: Tensor | None) -> None:
        self.network, self.width, self.row_number, self.column = network, width, -1, 0
        weight = next(network.parameters())
        self.offsets = [layer.offsets(condition) for layer in network.pixelcnn_layers]
        shape = (batch_size, width, network.channels)
        self.row = weight.new_zeros(shape)  # embedded positions of this row, as they come
        self.above = [weight.new_zeros(batch_size, layer.reach, *shape[1:]) for layer in network.pixelcnn_layers]
        self.left: list[Tensor] = []
        self.across: list[Tensor] = []
        self._start_row(weight.new_zeros(shape))

    def _start_row(self, previous: Tensor) -> None:
        """The whole vertical stack of a row, from the embedded row before it `[B, W, C]`."""
        v, self.across, self.row_number = previous.unsqueeze(1), [], self.row_number + 1
        for i, layer in enumerate(self.network.pixelcnn_layers):
            kept = torch.cat([self.above[i], v], dim=1)
            v, across = layer.rows(v, self.above[i], _row_of(self.offsets[i][0], self.row_number))
            self.above[i] = kept[:, 1:]
            self.across.append(across[:, 0])
        self.left = [previous.new_zeros(len(previous), layer.reach, previous.shape[-1]) for layer in
                     self.network.pixelcnn_layers]  # fmt: skip
        self.row, self.column = torch.zeros_like(previous), 0

    def advance(self, x: Tensor | None) -> Tensor:
        """x: the embedded position before `[B, C]`, None before the first -> features of the next one `[B, C]`."""
        if x is not None:
            self.row[:, self.column] = x
            self.column += 1
            if self.column == self.width:
                self._start_row(self.row)
        h = torch.zeros_like(self.row[:, :1]) if self.column == 0 else self.row[:, self.column - 1 : self.column]
        for i, layer in enumerate(self.network.pixelcnn_layers):
            kept = torch.cat([self.left[i], h], dim=1)
            across = self.across[i][:, self.column : self.column + 1]
            row = _row_of(self.offsets[i][1], self.row_number)
            here = None if row is None else row[:, 0, self.column if row.shape[2] > 1 else 0].unsqueeze(1)
            h = layer.columns(h, self.left[i], across, here)
            self.left[i] = kept[:, 1:]
        return h[:, 0]


def _row_of(offset: Tensor | None, row: int) -> Tensor | None:
    """Of `[B, 1 or H, 1 or W, C]` what belongs to a row; past the last row, where nothing is drawn, the last one's."""
    if offset is None or offset.shape[1] == 1:
        return offset
    row = min(row, offset.shape[1] - 1)
    return offset[:, row : row + 1]


def _zeros(x: Tensor, dim: int, count: int) -> Tensor:
    """Zeros of x's shape with `count` along `dim`."""
    shape = list(x.shape)
    shape[dim] = count
    return x.new_zeros(shape)
