"""ConvNeXt blocks for sequences (arXiv 2201.03545; as a vocoder's backbone: Vocos, arXiv 2306.00814).

All blocks are causal. Only the first layer of a stack can look ahead, so latency is stated in one place.
"""

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.layers.streaming import whole_windows

EMBED_TAPS = 3  # frames that the first layer of a stack joins


class ConvNeXtBlock(nn.Module):
    """Depthwise causal convolution, layer norm over channels, and a pointwise MLP, with a scaled residual.

    Args:
        channels: width C.
        kernel_size: taps of the depthwise convolution, all at or before the frame.
        dilation: distance of the taps in frames.
        expansion: hidden width of the MLP as a multiple of C.
        layer_scale: initial value of the learned residual scale; about 1 / depth.
        linear: the kind of its linear layers.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 7,
        dilation: int = 1,
        expansion: int = 3,
        layer_scale: float = 0.1,
        linear: type[nn.Linear] = nn.Linear,
    ) -> None:
        super().__init__()
        self.context = (kernel_size - 1) * dilation
        # As Conv2d [C, 1, kernel, 1] in channels-last memory: 2 to 5 times faster on CPUs than a grouped Conv1d.
        self.depthwise = nn.Conv2d(channels, channels, (kernel_size, 1), dilation=(dilation, 1), groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand = linear(channels, expansion * channels)
        self.contract = linear(expansion * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """x: `[B, F, C]` -> `[B, F, C]`."""
        return self.stream(x, self.initial_state(len(x)), last=True)[0]

    def initial_state(self, batch_size: int) -> Tensor:
        """Zeros before the first frame: `[B, context, C]`."""
        return self.scale.new_zeros(batch_size, self.context, len(self.scale))

    def stream(self, x: Tensor, state: Tensor, *, last: bool = False) -> tuple[Tensor, Tensor]:
        """x: `[B, F, C]` -> as many frames, and the next state."""
        if x.shape[1] == 0:
            return x, state
        h, state = whole_windows(x, state, size=self.context + 1, dim=1)
        # [B, F + context, C] -> [B, C, F + context, 1], no copy. The new axis comes in before the channels: behind them
        # its stride would be 1, and torch would not see channels-last memory.
        h = h.unsqueeze(2).permute(0, 3, 1, 2)
        h = self.depthwise(h).squeeze(-1).transpose(1, 2)
        h = self.contract(F.gelu(self.expand(self.norm(h))))
        return x + self.scale * h, state


@dataclass(frozen=True)
class StackState:
    """Of a `ConvNeXtStack`: what its embedding and each of its blocks see again, `[B, F, C]`."""

    embed: Tensor
    blocks: tuple[Tensor, ...]


class ConvNeXtStack(nn.Module):
    """An embedding convolution and `depth` ConvNeXt blocks, then a layer norm.

    Args:
        in_channels: channels of the input.
        channels: width of the blocks.
        depth: number of blocks.
        kernel_size, expansion: of each block.
        lookahead: frames after its own that an output frame may see, at most 2; taken by the embedding convolution.
        condition_dim: size of a global condition (a speaker vector) added after the embedding; 0 for none.
        linear: the kind of its linear layers.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        *,
        kernel_size: int = 7,
        expansion: int = 3,
        lookahead: int = 0,
        condition_dim: int = 0,
        linear: type[nn.Linear] = nn.Linear,
    ) -> None:
        super().__init__()
        if not 0 <= lookahead < EMBED_TAPS:
            raise ValueError(f"lookahead {lookahead} must lie between 0 and {EMBED_TAPS - 1} frames")
        self.lookahead = lookahead
        self.context = (EMBED_TAPS - 1 - lookahead) + depth * (kernel_size - 1)
        self.embed = linear(in_channels * EMBED_TAPS, channels)
        self.condition = nn.Linear(condition_dim, channels, bias=False) if condition_dim else None
        self.norm_in = nn.LayerNorm(channels)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(channels, kernel_size=kernel_size, expansion=expansion, layer_scale=1 / depth, linear=linear)
            for _ in range(depth)
        )
        self.norm_out = nn.LayerNorm(channels)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """x: `[B, F, C_in]`, condition: `[B, condition_dim]` -> `[B, F, channels]`."""
        return self.stream(x, self.initial_state(len(x)), condition, last=True)[0]

    def initial_state(self, batch_size: int) -> StackState:
        """Zeros before the first frame, of the input and of what every block sees."""
        past = EMBED_TAPS - 1 - self.lookahead
        embed = self.norm_in.weight.new_zeros(batch_size, past, self.embed.in_features // EMBED_TAPS)
        return StackState(embed, tuple(block.initial_state(batch_size) for block in self._blocks()))

    def stream(
        self, x: Tensor, state: StackState, condition: Tensor | None = None, *, last: bool = False
    ) -> tuple[Tensor, StackState]:
        """x: `[B, F, C_in]`, condition: `[B, condition_dim]` -> the frames that are complete, and the next state."""
        x, embed = whole_windows(x, state.embed, size=EMBED_TAPS, dim=1, ahead=self.lookahead * last)
        if x.shape[1] == 0:
            return x.new_zeros(len(x), 0, self.embed.out_features), replace(state, embed=embed)
        x = x.unfold(1, EMBED_TAPS, 1).flatten(2)  # [B, F, C_in, taps] -> [B, F, C_in * taps]
        x = self.embed(x)
        if self.condition is not None and condition is not None:
            x = x + self.condition(condition).unsqueeze(1)
        x = self.norm_in(x)
        blocks = []
        for block, before in zip(self._blocks(), state.blocks, strict=True):
            x, after = block.stream(x, before, last=last)
            blocks.append(after)
        return self.norm_out(x), StackState(embed, tuple(blocks))

    def _blocks(self) -> list[ConvNeXtBlock]:
        return cast(list[ConvNeXtBlock], list(self.blocks))
