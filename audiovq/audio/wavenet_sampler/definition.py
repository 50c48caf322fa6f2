"""The definition: a readable autoregressive sampler, against which the compiled one is tested.

Every dilated layer keeps the inputs it will need again in a ring buffer, so that one sample costs one pass over the
weights ("fast WaveNet", Paine et al. 2016, arXiv 1611.09482). Conditions are projected once a frame. The caller passes
the uniform numbers: the same numbers give the same sound.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.audio.wavenet_sampler.state import SamplerState, padded, ring_rows
from audiovq.layers.wavenet.stack import WaveNetLayer, WaveNetStack


class RingLayer:
    """One WaveNet layer run a sample at a time; `ring`: `[B, rows, channels]`, written to."""

    def __init__(self, layer: WaveNetLayer, condition: Tensor, ring: Tensor) -> None:
        self.layer = layer
        self.ages = [(layer.kernel_size - 1 - k) * layer.dilation for k in range(layer.kernel_size)]
        self.ring = ring
        self.projected = layer.project_condition(condition)  # [B, F, 2 * gate]

    def step(self, x: Tensor, t: int, frame: int) -> tuple[Tensor, Tensor]:
        """x: `[B, channels]`, the layer's input at sample t -> next x, and gated `[B, gate]`."""
        rows = self.ring.shape[1]
        self.ring[:, t % rows] = x
        filtered = self.layer.taps(torch.cat([self.ring[:, (t - age) % rows] for age in self.ages], dim=-1))
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


def start_state(decoder: WaveNetDecoder, batch_size: int, identity: str = "") -> SamplerState:
    """Before the first sample: silence."""
    rows = sum(ring_rows(layer) for layer in decoder.stack.wavenet_layers)
    return SamplerState(
        identity=identity,
        rings=np.zeros((batch_size, rows, padded(decoder.stack.channels)), np.float32),
        scales=np.ones((batch_size, rows), np.float32),
        previous=np.zeros(batch_size, np.float32),
    )


@torch.inference_mode()
def continue_wavenet(
    decoder: WaveNetDecoder,
    condition: Tensor,
    uniforms: Tensor,
    state: SamplerState,
    *,
    teacher: Tensor | None = None,
    on_step: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Draw the next samples of p(x | condition), after those that led to `state`, which is advanced.

    Args:
        decoder: the WaveNet.
        condition: `[B, F, C]` of `WaveNetDecoder.condition`, from the frame on that the next sample lies in.
        uniforms: `[B, T]` float64 in [0, 1), one per sample, no more than the frames given have.
        state: from `start_state` or an earlier call.
        teacher: `[B, 1, T]`: feed these samples instead of the drawn ones, and return the outputs.
        on_step: called with the number of finished samples after each.

    Returns:
        waveform `[B, 1, T]`, and the outputs `[B, T, num_outputs]` if `teacher` was given, else None.
    """
    batch_size, length = uniforms.shape
    likelihood, stack = decoder.likelihood, decoder.stack
    all_rings = torch.from_numpy(state.rings).to(condition.device)  # on a CPU the state's own memory
    rings, first = [], 0
    for layer in stack.wavenet_layers:
        rows = ring_rows(layer)
        rings.append(RingLayer(layer, condition, all_rings[:, first : first + rows, : stack.channels]))
        first += rows
    phase = state.position % decoder.hop_length
    waveform = condition.new_zeros(batch_size, length)
    outputs = condition.new_zeros(batch_size, length, likelihood.num_outputs) if teacher is not None else None
    previous = torch.from_numpy(state.previous).to(condition.device)
    for t in range(length):
        x = likelihood.embed(previous)
        out = step_stack(stack, rings, x, state.position + t, (phase + t) // decoder.hop_length)
        waveform[:, t] = likelihood.sample(out, uniforms[:, t])
        previous = waveform[:, t]
        if outputs is not None and teacher is not None:
            outputs[:, t] = out
            previous = teacher[:, 0, t]
        if on_step is not None:
            on_step(t + 1)
    state.rings[...] = all_rings.cpu().numpy()
    state.previous[...] = previous.cpu().numpy()
    state.position += length
    return waveform.unsqueeze(1), outputs


def sample_wavenet(
    decoder: WaveNetDecoder,
    z_q: Tensor,
    uniforms: Tensor,
    speaker: Tensor | None = None,
    *,
    teacher: Tensor | None = None,
    on_step: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Draw whole waveforms from p(x | z_q, speaker).

    Args:
        decoder: the WaveNet.
        z_q: `[B, D, F]`; several utterances run in lockstep.
        uniforms: `[B, T]` float64 in [0, 1), one per sample, T <= F * hop_length.
        speaker: `[B, speaker_dim]` or None.
        teacher, on_step, and what is returned: see `continue_wavenet`.
    """
    with torch.inference_mode():
        condition = decoder.condition(z_q, speaker)
    state = start_state(decoder, len(uniforms))
    return continue_wavenet(decoder, condition, uniforms, state, teacher=teacher, on_step=on_step)
