"""WaveNet's stack of gated, dilated, causal convolutions with residual and skip paths (arXiv 1609.03499).

Channels stand last, so that every layer is a matrix product. Conditions are projected at the rate they come in and
repeated to the sample rate afterwards (a 1x1 convolution commutes with repetition), and all skip projections are one
product at the end: a sampler does the first once a frame and the second once a sample.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RESIDUAL_SCALE = 0.5**0.5  # keeps the variance of x + residual at that of x


class WaveNetLayer(nn.Module):
    """tanh(W_f * x + V_f c) . sigmoid(W_g * x + V_g c), and a projection of that back to the residual path (eq. 2-3).

    Args:
        channels: width of the residual path; `gate_channels`: of the gated unit.
        kernel_size, dilation: of the causal convolution.
        condition_dim: channels of the condition; 0 for none.
        last: the last layer of a stack, whose residual output nobody reads, has no projection.
    """

    def __init__(
        self, channels: int, gate_channels: int, kernel_size: int, dilation: int, condition_dim: int, last: bool
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.taps = nn.Linear(kernel_size * channels, 2 * gate_channels)  # oldest tap first
        self.condition = nn.Linear(condition_dim, 2 * gate_channels, bias=False) if condition_dim else None
        self.residual = None if last else nn.Linear(gate_channels, channels)

    def project_condition(self, condition: Tensor | None) -> Tensor | None:
        """condition: `[B, F, D]` -> `[B, F, 2 * gate]`."""
        return None if self.condition is None or condition is None else self.condition(condition)

    def gate(self, filtered: Tensor) -> Tensor:
        """The gated unit: `[..., 2 * gate]` -> `[..., gate]`."""
        filter_, gate = filtered.chunk(2, dim=-1)
        return torch.tanh(filter_) * torch.sigmoid(gate)

    def next_input(self, x: Tensor, gated: Tensor) -> Tensor:
        """What the next layer reads: `[..., channels]`, `[..., gate]` -> `[..., channels]`."""
        return x if self.residual is None else (x + self.residual(gated)) * RESIDUAL_SCALE

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """x: `[B, T, channels]`, condition: `[B, F, D]`, T a multiple of F -> next x, and gated `[B, T, gate]`."""
        length = x.shape[1]
        past = F.pad(x, (0, 0, (self.kernel_size - 1) * self.dilation, 0))
        shifted = [past[:, k * self.dilation : k * self.dilation + length] for k in range(self.kernel_size)]
        filtered = self.taps(torch.cat(shifted, dim=-1))
        projected = self.project_condition(condition)
        if projected is not None:
            frames = projected.shape[1]
            # [B, T, 2G] -> [B, F, T / F, 2G], so that the condition is repeated by broadcasting
            filtered = (filtered.unflatten(1, (frames, -1)) + projected.unsqueeze(2)).flatten(1, 2)
        gated = self.gate(filtered)
        return self.next_input(x, gated), gated


class WaveNetStack(nn.Module):
    """The dilated layers, their skip projections, and the two 1x1 layers that turn the sum of skips into outputs.

    Args:
        channels, gate_channels, kernel_size: of every layer; skip_channels: width of the summed skips.
        dilations: one per layer, for instance (1, 2, 4, ..., 512) twice.
        out_channels: values per sample that parametrise the likelihood.
        condition_dim: channels of the condition; 0 for none.
    """

    def __init__(
        self,
        *,
        channels: int,
        gate_channels: int,
        skip_channels: int,
        kernel_size: int,
        dilations: Sequence[int],
        out_channels: int,
        condition_dim: int = 0,
    ) -> None:
        super().__init__()
        if not dilations:
            raise ValueError("a WaveNet stack needs at least one dilation")
        self.channels, self.gate_channels = channels, gate_channels
        self.receptive_field = (kernel_size - 1) * sum(dilations) + 1
        self.layers = nn.ModuleList(
            WaveNetLayer(channels, gate_channels, kernel_size, d, condition_dim, last=i == len(dilations) - 1)
            for i, d in enumerate(dilations)
        )
        self.skip = nn.Linear(len(dilations) * gate_channels, skip_channels)  # the sum of the layers' skip projections
        self.hidden = nn.Linear(skip_channels, skip_channels)
        self.output = nn.Linear(skip_channels, out_channels)

    @property
    def wavenet_layers(self) -> list[WaveNetLayer]:
        """The layers, typed."""
        return cast(list[WaveNetLayer], list(self.layers))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """x: `[B, T, channels]`, condition: `[B, F, D]` with T a multiple of F -> `[B, T, out_channels]`."""
        bfloat16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        if bfloat16 and x.device.type == "cpu":
            return self.head(self.skips_in_bfloat16(x, condition))
        return self.head(self.skips(x, condition))

    def skips(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """All layers: x and condition as in `forward` -> the sum of their skip projections `[B, T, skip_channels]`."""
        gated = []
        for layer in self.wavenet_layers:
            x, g = layer(x, condition)
            gated.append(g)
        return self.skip(torch.cat(gated, dim=-1))

    def head(self, skips: Tensor) -> Tensor:
        """The two layers after the skips: `[..., skip_channels]` -> `[..., out_channels]`."""
        return self.output(F.relu(self.hidden(F.relu(skips))))

    @torch.autocast("cpu", enabled=False)
    def skips_in_bfloat16(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """`skips` in bfloat16, by loops that are fused for a CPU."""
        from audiovq.layers.wavenet.bf16 import GatedLayers  # compiles, so only where it is used

        layers = self.wavenet_layers
        residuals = [layer.residual for layer in layers if layer.residual is not None]
        offsets = [layer.taps.bias.expand(len(x), 1, -1) for layer in layers]
        if condition is not None:
            projected = [layer.project_condition(condition.float()) for layer in layers]
            offsets = [a + b for a, b in zip(offsets, projected, strict=True) if b is not None]
        residual = x.new_zeros(0, self.channels, self.gate_channels)
        residual_bias = x.new_zeros(0, self.channels)
        if residuals:
            residual = torch.stack([r.weight for r in residuals]) * RESIDUAL_SCALE
            residual_bias = torch.stack([r.bias for r in residuals]) * RESIDUAL_SCALE
        skips = GatedLayers.apply(
            x.bfloat16(),
            torch.stack(offsets),
            torch.stack([layer.taps.weight for layer in layers]).bfloat16(),
            self.skip.weight.unflatten(1, (len(layers), self.gate_channels)).transpose(0, 1).bfloat16(),
            residual.bfloat16(),
            residual_bias,
            [layer.dilation for layer in layers],
            RESIDUAL_SCALE,
        )
        return skips + self.skip.bias.bfloat16()
