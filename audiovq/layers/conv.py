"""Causal one-dimensional convolution: strided, dilated, with an optional stated look-ahead; it streams."""

from torch import Tensor, nn

from audiovq.layers.streaming import whole_windows


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
        if context < 0:
            raise ValueError(f"stride {stride} is longer than the kernel; steps between two frames would be left out")
        if not 0 <= lookahead <= context:
            raise ValueError(f"lookahead {lookahead} must lie between 0 and (kernel_size - 1) * dilation + 1 - stride")
        self.lookahead = lookahead
        self.context = context  # input steps kept between two pieces

    def forward(self, x: Tensor) -> Tensor:
        """Filter a whole signal. x: `[B, C, T]` -> `[B, C', T / stride]`, zeros outside the signal."""
        return self.stream(x, self.initial_state(len(x)), last=True)[0]

    def initial_state(self, batch_size: int) -> Tensor:
        """Zeros before the first sample: `[B, C, context - lookahead]`."""
        return self.weight.new_zeros(batch_size, self.in_channels, self.context - self.lookahead)

    def stream(self, x: Tensor, state: Tensor, *, last: bool = False) -> tuple[Tensor, Tensor]:
        """x: `[B, C, N]` -> the frames that are complete, `[B, C', M]`, and the next state."""
        size, step = self.context + self.stride[0], self.stride[0]
        x, state = whole_windows(x, state, size=size, step=step, ahead=self.lookahead * last)
        if x.shape[-1] == 0:
            return x.new_zeros(len(x), self.out_channels, 0), state
        return super().forward(x), state
