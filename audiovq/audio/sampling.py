"""Plain, readable autoregressive sampler: the definition that any fast sampler is tested against.

Every dilated layer keeps the inputs it will need again in a ring buffer, so that one sample costs one pass over the
weights ("fast WaveNet", Paine et al. 2016, arXiv 1611.09482). Conditions are projected once a frame. The caller passes
the uniform numbers: the same numbers give the same sound.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.layers.wavenet import WaveNetLayer, WaveNetStack


class RingLayer:
    """One WaveNet layer run a sample at a time."""

    def __init__(self, layer: WaveNetLayer, condition: Tensor, batch_size: int, channels: int) -> None:
        self.layer = layer
        self.ages = [(layer.kernel_size - 1 - k) * layer.dilation for k in range(layer.kernel_size)]
        self.ring = condition.new_zeros(self.ages[0] + 1, batch_size, channels)
        self.projected = layer.project_condition(condition)  # [B, F, 2 * gate]

    def step(self, x: Tensor, t: int, frame: int) -> tuple[Tensor, Tensor]:
        """x: `[B, channels]`, the layer's input at sample t -> next x, and gated `[B, gate]`."""
        size = len(self.ring)
        self.ring[t % size] = x
        filtered = self.layer.taps(torch.cat([self.ring[(t - age) % size] for age in self.ages], dim=-1))
        if self.projected is not None:
            filtered = filtered + self.projected[:, frame]
        gated = self.layer.gate(filtered)
        return self.layer.next_input(x, gated), gated


def step_stack(stack: WaveNetStack, rings: list[RingLayer], x: Tensor, t: int, frame: int) -> Tensor:
    """One sample through all layers: x `[B, channels]` -> outputs `[B, out_channels]`."""
    gated = []
    for ring in rings:
        x, g = ring.step(x, t, frame)
        gated.append(g)
    return stack.head(stack.skip(torch.cat(gated, dim=-1)))


@torch.inference_mode()
def sample_wavenet(
    decoder: WaveNetDecoder,
    z_q: Tensor,
    uniforms: Tensor,
    speaker: Tensor | None = None,
    *,
    teacher: Tensor | None = None,
    on_step: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Draw waveforms from p(x | z_q, speaker).

    Args:
        decoder: the WaveNet.
        z_q: `[B, D, F]`; several utterances run in lockstep.
        uniforms: `[B, T]` float64 in [0, 1), one per sample, T <= F * hop_length.
        speaker: `[B, speaker_dim]` or None.
        teacher: `[B, 1, T]`: feed these samples instead of the drawn ones, and return the outputs (for tests).
        on_step: called with the number of finished samples after each.

    Returns:
        waveform `[B, 1, T]`, and the outputs `[B, T, num_outputs]` if `teacher` was given, else None.
    """
    batch_size, length = uniforms.shape
    likelihood, stack = decoder.likelihood, decoder.stack
    condition = decoder.condition(z_q, speaker)
    rings = [RingLayer(layer, condition, batch_size, stack.channels) for layer in stack.wavenet_layers]
    waveform = z_q.new_zeros(batch_size, length)
    outputs: list[Tensor] = []
    previous = z_q.new_zeros(batch_size)
    for t in range(length):
        x = likelihood.embed(previous)
        out = step_stack(stack, rings, x, t, t // decoder.hop_length)
        waveform[:, t] = likelihood.sample(out, uniforms[:, t])
        previous = waveform[:, t]
        if teacher is not None:
            outputs.append(out)
            previous = teacher[:, 0, t]
        if on_step is not None:
            on_step(t + 1)
    return waveform.unsqueeze(1), torch.stack(outputs, dim=1) if teacher is not None else None
