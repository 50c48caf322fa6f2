"""Causal one-dimensional convolution: strided, dilated, with an optional stated look-ahead and streaming state.

The offline call equals the streaming call with a fresh state, so that pieces joined equal the whole.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalConv1d(nn.Conv1d):
    """Convolution whose output frame f sees input up to sample f * stride + stride - 1 + lookahead, and none later.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups, bias: as in `torch.nn.Conv1d`.
        lookahead: input samples to the right of a frame that it may see, in input steps.

    An input of T steps (a multiple of `stride`) gives T / stride output frames.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        lookahead: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, dilation=dilation, groups=groups, bias=bias
        )
        context = (kernel_size - 1) * dilation + 1 - stride
        if not 0 <= lookahead <= max(context, 0):
            raise ValueError(f"lookahead {lookahead} must lie between 0 and (kernel_size - 1) * dilation + 1 - stride")
        self.lookahead = lookahead
        self.context = context  # input steps kept between two pieces

    def forward(self, x: Tensor) -> Tensor:
        """Filter a whole signal. x: `[B, C, T]` -> `[B, C', T / stride]`, zeros outside the signal."""
        left = self.context - self.lookahead
        return super().forward(F.pad(x, (left, self.lookahead)))

    def initial_state(self, batch_size: int) -> Tensor:
        """The state before the first sample: zeros `[B, C, context - lookahead]`."""
        weight = self.weight
        return weight.new_zeros(batch_size, self.in_channels, self.context - self.lookahead)

    def stream(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Filter the next piece of a signal.

        Args:
            x: `[B, C, N]`, any N; the last piece is followed by `lookahead` zeros to flush the delay.
            state: what the previous call returned, or `initial_state(B)`.

        Returns:
            The frames that are complete, `[B, C', M]` (M may be 0), and the next state.
        """
        x = torch.cat([state, x], dim=-1)
        span = self.context + self.stride[0]  # input steps that one output frame needs
        frames = max(0, (x.shape[-1] - span) // self.stride[0] + 1)
        if frames == 0:
            return x.new_zeros(x.shape[0], self.out_channels, 0), x
        used = frames * self.stride[0]
        return super().forward(x[..., : used + self.context]), x[..., used:]
