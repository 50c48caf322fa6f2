"""Other samplers for `wavenet_sampling.py`: r9y9/wavenet_vocoder, and a step of ours made by torch.compile.

Each function gives a call `draw(samples)` that draws so many samples of one stream.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from audiovq.audio import WaveNetDecoder

Draw = Callable[[int], object]


def wavenet_vocoder(checkout: Path, cycles: int, channels: int, gate_channels: int, skip_channels: int) -> Draw:
    """`incremental_forward` of a checkout of r9y9/wavenet_vocoder, weight normalisation removed, no upsampling."""
    if not (checkout / "wavenet_vocoder").is_dir():
        raise SystemExit(f"{checkout}: no wavenet_vocoder in it; give a checkout of r9y9/wavenet_vocoder")
    sys.path.insert(0, str(checkout))
    from wavenet_vocoder import WaveNet

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about its weight_norm
        model = WaveNet(
            out_channels=256,
            layers=10 * cycles,
            stacks=cycles,
            residual_channels=channels,
            gate_channels=2 * gate_channels,  # it counts filter and gate together
            skip_out_channels=skip_channels,
            kernel_size=2,
            cin_channels=64,
            gin_channels=64,
        ).eval()
        model.make_generation_fast_()

    @torch.inference_mode()
    def draw(samples: int) -> None:
        model.incremental_forward(c=torch.randn(1, 64, samples), g=torch.randn(1, 64), T=samples)

    return draw


def compiled_step(decoder: WaveNetDecoder) -> Draw:
    """A sample as one compiled graph, called from a Python loop."""
    torch.set_grad_enabled(False)  # freezing is for inference only
    step = torch.compile(Step(decoder).eval(), fullgraph=True, options={"freezing": True, "cpp_wrapper": True})

    def draw(samples: int) -> Tensor:
        frames = -(-samples // decoder.hop_length)
        condition = decoder.condition(torch.randn(1, 64, frames), torch.randn(1, 64))
        return run(step, decoder, condition, torch.rand(samples, dtype=torch.float64))

    return draw


class Step(nn.Module):
    """A sample of a mu-law WaveNet with two taps.

    All layers' past inputs are known when it begins and are one batched product; the current taps, the skips and the
    head follow layer by layer.
    """

    def __init__(self, decoder: WaveNetDecoder) -> None:
        super().__init__()
        layers = decoder.stack.wavenet_layers
        taps = torch.stack([layer.taps.weight for layer in layers])  # [L, 2G, 2C]
        past, current = taps.chunk(2, dim=2)
        self.past = nn.Parameter(past.transpose(1, 2).contiguous())
        self.current = nn.ParameterList(current.contiguous().unbind())
        self.bias = nn.Parameter(torch.stack([layer.taps.bias for layer in layers]))
        self.dilations = nn.Parameter(torch.tensor([layer.dilation for layer in layers]), requires_grad=False)
        self.rows = nn.Parameter(torch.arange(len(layers)), requires_grad=False)
        self.decoder = decoder

    def forward(self, sample: Tensor, t: Tensor, projected: Tensor, rings: Tensor, uniform: Tensor) -> Tensor:
        """sample `[1]` before this one, t `[]`, projected conditions `[L, 2G]`, rings `[L, max dilation, C]` (written
        to), uniform `[1]` -> sample `[1]`."""
        slots = t % self.dilations
        old = rings[self.rows, slots]
        filtered = torch.bmm(old.unsqueeze(1), self.past).squeeze(1) + projected + self.bias
        x = self.decoder.likelihood.embed(sample)
        inputs, gated = [], []
        for i, layer in enumerate(self.decoder.stack.wavenet_layers):
            inputs.append(x)
            g = layer.gate(nn.functional.linear(x, self.current[i]) + filtered[i])
            x = layer.next_input(x, g)
            gated.append(g)
        rings[self.rows, slots] = torch.cat(inputs)
        outputs = self.decoder.stack.head(self.decoder.stack.skip(torch.cat(gated, dim=-1)))
        return self.decoder.likelihood.sample(outputs, uniform)


def run(step: Callable[..., Tensor], decoder: WaveNetDecoder, condition: Tensor, uniforms: Tensor) -> Tensor:
    """condition `[1, F, D]`, uniforms `[T]` -> waveform `[T]`."""
    layers = decoder.stack.wavenet_layers
    projected = torch.stack([layer.project_condition(condition)[0] for layer in layers], dim=1)  # [F, L, 2G]
    rings = torch.zeros(len(layers), max(layer.dilation for layer in layers), decoder.stack.channels)
    sample, drawn = torch.zeros(1), []
    for t in range(len(uniforms)):
        sample = step(sample, torch.tensor(t), projected[t // decoder.hop_length], rings, uniforms[t : t + 1])
        drawn.append(sample)
    return torch.cat(drawn)
