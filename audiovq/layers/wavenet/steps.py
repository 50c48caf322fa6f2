"""A WaveNet stack run one step at a time, with one condition for all steps.

Every dilated layer keeps the inputs it will need again, so that one step costs one pass over the weights ("fast
WaveNet", Paine et al. 2016, arXiv 1611.09482). The products of a step are small, and starting each takes PyTorch as
long as computing it. So there are few: earlier inputs go through all layers' taps at once, the gate is
tanh(f) sigmoid(g) = (tanh(f) + tanh(f) tanh(g / 2)) / 2 with its factors in the weights, and results are written in
place.
"""

import torch
from torch import Tensor

from audiovq.layers.wavenet.stack import RESIDUAL_SCALE, WaveNetLayer, WaveNetStack


class WaveNetSteps:
    """B streams in step, without gradients. The layers' weights are copied: training goes unnoticed.

    Args:
        stack: what is run.
        batch_size: streams.
        condition: `[B, D]`, None for a stack without.
    """

    @torch.no_grad()
    def __init__(self, stack: WaveNetStack, batch_size: int, condition: Tensor | None) -> None:
        layers, channels, self.head = stack.wavenet_layers, stack.channels, stack.head
        weights = torch.stack([layer.taps.weight.T for layer in layers])  # [L, k C, 2G], oldest tap first
        halved = torch.ones_like(weights[0, 0])
        halved[len(halved) // 2 :] = 0.5  # g / 2
        weights *= halved
        self.past, self.present = weights[:, :-channels], weights[:, -channels:].unbind()
        self.offsets = torch.stack([_offset(layer, batch_size, condition) for layer in layers]) * halved
        residuals = [layer.residual for layer in layers if layer.residual is not None]
        self.residual = [0.5 * RESIDUAL_SCALE * r.weight.T.contiguous() for r in residuals]
        self.residual_bias = [RESIDUAL_SCALE * r.bias for r in residuals]
        self.skip, self.skip_bias = 0.5 * stack.skip.weight.T.contiguous(), stack.skip.bias

        self.filtered = torch.empty_like(self.offsets)  # [L, B, 2G], and views of it
        self.filtered_of = self.filtered.unbind()
        self.halves = [one.chunk(2, dim=1) for one in self.filtered_of]
        self.gated = weights.new_empty(batch_size, len(stack.skip.weight.T))
        self.gates = self.gated.chunk(len(layers), dim=1)
        self.inputs = weights.new_empty(len(layers), batch_size, channels)
        self.inputs_of = self.inputs.unbind()

        # of each layer its last inputs in a ring: that of (kernel_size - 1) * dilation steps ago is overwritten next
        dilations = torch.tensor([[layer.dilation] for layer in layers], device=weights.device)
        self.lengths = dilations * (layers[0].kernel_size - 1)
        self.ages = dilations * torch.arange(layers[0].kernel_size - 1, 0, -1, device=weights.device)  # [L, k - 1]
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.rings = weights.new_zeros(int(self.lengths.sum()), batch_size, channels)
        self.position = 0

    def advance(self, x: Tensor) -> Tensor:
        """x: `[B, channels]` -> outputs `[B, out_channels]`."""
        self.inputs_of[0].copy_(x)
        if len(self.rings):
            rows = self.starts + (self.position - self.ages) % self.lengths
            earlier = self.rings.index_select(0, rows.flatten()).unflatten(0, rows.shape)
            earlier = earlier.transpose(1, 2).flatten(2)  # [L, k - 1, B, C] -> [L, B, (k - 1) C]
            torch.baddbmm(self.offsets, earlier, self.past, out=self.filtered)
        else:
            self.filtered.copy_(self.offsets)
        for i, own in enumerate(self.inputs_of):
            self.filtered_of[i].addmm_(own, self.present[i]).tanh_()
            f, g = self.halves[i]
            torch.addcmul(f, f, g, out=self.gates[i])
            if i < len(self.residual):
                following = self.inputs_of[i + 1]
                torch.addmm(self.residual_bias[i], self.gates[i], self.residual[i], out=following)
                following.add_(own, alpha=RESIDUAL_SCALE)
        if len(self.rings):
            self.rings.index_copy_(0, rows[:, 0], self.inputs)
        self.position += 1
        return self.head(torch.addmm(self.skip_bias, self.gated, self.skip))


def _offset(layer: WaveNetLayer, batch_size: int, condition: Tensor | None) -> Tensor:
    """Bias and condition of a gated unit, `[B, 2G]`."""
    projected = layer.project_condition(condition)
    bias = layer.taps.bias.expand(batch_size, -1)
    return bias if projected is None else bias + projected
