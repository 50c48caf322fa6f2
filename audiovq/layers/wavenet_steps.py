"""A WaveNet stack run one step at a time, with one condition for all steps.

Every dilated layer keeps the inputs it will need again, so that one step costs one pass over the weights ("fast
WaveNet", Paine et al. 2016, arXiv 1611.09482).
"""

import torch
from torch import Tensor

from audiovq.layers.wavenet import WaveNetStack


class WaveNetSteps:
    """B streams in step.

    Args:
        stack: what is run.
        batch_size: streams.
        condition: `[B, D]`, None for a stack without.
    """

    def __init__(self, stack: WaveNetStack, batch_size: int, condition: Tensor | None) -> None:
        self.stack, self.position = stack, 0
        zero = stack.skip.weight.new_zeros(batch_size, stack.channels)
        # of each layer its last inputs in a ring: that of (kernel_size - 1) * dilation steps ago is overwritten next
        self.rings = [[zero] * ((layer.kernel_size - 1) * layer.dilation) for layer in stack.wavenet_layers]
        self.offsets = [layer.project_condition(condition) for layer in stack.wavenet_layers]

    def advance(self, x: Tensor) -> Tensor:
        """x: `[B, channels]` -> outputs `[B, out_channels]`."""
        t, gated = self.position, []
        for layer, ring, offset in zip(self.stack.wavenet_layers, self.rings, self.offsets, strict=True):
            ages = range((layer.kernel_size - 1) * layer.dilation, 0, -layer.dilation)
            filtered = layer.taps(torch.cat([*(ring[(t - age) % len(ring)] for age in ages), x], dim=-1))
            if ring:
                ring[t % len(ring)] = x
            gated.append(layer.gate(filtered if offset is None else filtered + offset))
            x = layer.next_input(x, gated[-1])
        self.position += 1
        return self.stack.head(self.stack.skip(torch.cat(gated, dim=-1)))
