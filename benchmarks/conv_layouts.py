"""Two choices of memory layout: a depthwise convolution in channels-last memory, and WaveNet layers as matrix products.

    python benchmarks/conv_layouts.py [--rounds 15] [--json FILE]

Each is compared with the textbook form in Conv1d, which holds the same weights and gives the same output, at the shapes
of the bundled codec (egs/minivctk/codec) and of the small WaveNet (egs/fsdd/vqvae). Ratios are the other form's time by
ours, the median over rounds in which both are measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

import harness  # before torch: it sets the number of threads
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.layers.convnext import ConvNeXtBlock
from audiovq.layers.wavenet.stack import RESIDUAL_SCALE, WaveNetStack

# Batch, frames, channels of a depthwise convolution with 7 taps: the codec's training batch at 50 and 100 frames/s, and
# ten seconds to decode.
DEPTHWISE = [(16, 64, 288), (16, 128, 256), (1, 500, 288)]

# Batch, samples, frames of the condition, and the stack: the recipe's, and one of twice its width.
WAVENETS = [
    (8, 3072, 48, dict(channels=32, gate_channels=32, skip_channels=96, condition_dim=48)),
    (8, 3072, 48, dict(channels=64, gate_channels=64, skip_channels=192, condition_dim=96)),
]
DILATIONS = [2**i for i in range(8)] * 2


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description="Layouts of depthwise convolutions and WaveNet layers.")
    harness.add_options(parser, rounds=15)
    options = parser.parse_args(argv)
    harness.pin()
    facts = harness.machine(options.device)
    print(", ".join(f"{key} {value}" for key, value in facts.items()), "\n")
    rows = []
    with torch.device(options.device):
        torch.manual_seed(0)
        for batch, frames, channels in DEPTHWISE:
            x = torch.randn(batch, frames, channels)
            title = f"depthwise, [{batch}, {frames}, {channels}]"
            rows += measure(title, depthwise(channels), (x,), options)
        for batch, samples, frames, sizes in WAVENETS:
            inputs = torch.randn(batch, samples, sizes["channels"]), torch.randn(batch, frames, sizes["condition_dim"])
            title = f"WaveNet of {len(DILATIONS)} layers, [{batch}, {samples}, {sizes['channels']}]"
            rows += measure(title, wavenets(sizes), inputs, options)
    header = ["case", "what", "form", "ms", "wall ms", "time / ours", "peak MB"]
    keys = ["case", "what", "name", "ms", "wall_ms", "ratio", "peak_mb"]
    print(harness.table(header, [[row[key] for key in keys] for row in rows]))
    if options.json:
        harness.write_json(options.json, facts, rows=rows)


def measure(
    case: str, modules: dict[str, nn.Module], inputs: tuple[Tensor, ...], options: argparse.Namespace
) -> list[dict[str, object]]:
    """Rows of {case, what, name, **Timing}; the forms' outputs have to agree."""
    with torch.no_grad():
        outputs = [module(*inputs) for module in modules.values()]
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0], rtol=1e-3, atol=1e-4)
    leaves = [x.clone().requires_grad_() for x in inputs]
    gradient = torch.randn_like(outputs[0])

    def forward(module: nn.Module) -> None:
        with torch.no_grad():
            module(*inputs)

    def backward(module: nn.Module) -> None:
        module.zero_grad()
        for leaf in leaves:
            leaf.grad = None
        module(*leaves).backward(gradient)

    rows = []
    for what, step in {"forward": forward, "forward+backward": backward}.items():
        calls = {name: (lambda step=step, module=module: step(module)) for name, module in modules.items()}
        timings = harness.compare(calls, rounds=options.rounds, device=options.device)
        rows += [dict(case=case, what=what, name=name) | asdict(timing) for name, timing in timings.items()]
    return rows


def depthwise(channels: int) -> dict[str, nn.Module]:
    """Two causal depthwise convolutions [B, F, C] -> [B, F, C], as they stand in a ConvNeXt block."""
    ours = ChannelsLastDepthwise(channels)
    textbook = GroupedConv1d(channels)
    with torch.no_grad():
        textbook.conv.weight.copy_(ours.conv.weight.squeeze(-1))
        textbook.conv.bias.copy_(ours.conv.bias)
    return {"Conv2d, channels last": ours, "grouped Conv1d": textbook}


class ChannelsLastDepthwise(nn.Module):
    """The first lines of `ConvNeXtBlock.forward`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        block = ConvNeXtBlock(channels)
        self.conv, self.context = block.depthwise, block.context

    def forward(self, x: Tensor) -> Tensor:
        h = F.pad(x, (0, 0, self.context, 0)).unsqueeze(2).permute(0, 3, 1, 2)
        return self.conv(h).squeeze(-1).transpose(1, 2)


class GroupedConv1d(nn.Module):
    """The same in Conv1d; the layer norm and the linear layers beside it want channels last, so it turns both ways."""

    def __init__(self, channels: int, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, kernel_size, groups=channels)
        self.context = kernel_size - 1

    def forward(self, x: Tensor) -> Tensor:
        h = F.pad(x.transpose(1, 2), (self.context, 0))
        return self.conv(h).transpose(1, 2).contiguous()


def wavenets(sizes: dict[str, int]) -> dict[str, nn.Module]:
    """Two stacks with the same weights: [B, T, channels], condition [B, F, D] -> [B, T, out]."""
    ours = WaveNetStack(kernel_size=2, dilations=DILATIONS, out_channels=256, **sizes)
    return {"matrix products, channels last": ours, "Conv1d, a skip sum per layer": Conv1dWaveNet(ours)}


class Conv1dWaveNet(nn.Module):
    """A `WaveNetStack` in the textbook's form: dilated Conv1d, and each layer adds its skip projection to a sum."""

    def __init__(self, stack: WaveNetStack) -> None:
        super().__init__()
        layers = stack.wavenet_layers
        self.dilations = [layer.dilation for layer in layers]
        self.taps = nn.ModuleList()
        for layer in layers:
            size, width = layer.kernel_size, layer.taps.in_features // layer.kernel_size
            conv = nn.Conv1d(width, layer.taps.out_features, size, dilation=layer.dilation)
            with torch.no_grad():  # [out, taps * in] -> [out, in, taps]
                conv.weight.copy_(layer.taps.weight.unflatten(1, (size, width)).transpose(1, 2))
                conv.bias.copy_(layer.taps.bias)
            self.taps.append(conv)
        self.conditions = nn.ModuleList(_pointwise(layer.condition) for layer in layers)
        self.residuals = nn.ModuleList(_pointwise(layer.residual) for layer in layers[:-1])
        self.skips = nn.ModuleList()
        for i, weight in enumerate(stack.skip.weight.chunk(len(layers), dim=1)):
            skip = nn.Conv1d(weight.shape[1], weight.shape[0], 1, bias=i == 0)
            with torch.no_grad():
                skip.weight.copy_(weight.unsqueeze(-1))
                if i == 0:
                    skip.bias.copy_(stack.skip.bias)
            self.skips.append(skip)
        self.head = nn.Sequential(nn.ReLU(), _pointwise(stack.hidden), nn.ReLU(), _pointwise(stack.output))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x, condition = x.transpose(1, 2).contiguous(), condition.transpose(1, 2).contiguous()
        repeats = x.shape[2] // condition.shape[2]
        total = None
        for i, (taps, dilation) in enumerate(zip(self.taps, self.dilations, strict=True)):
            filtered = taps(F.pad(x, ((taps.kernel_size[0] - 1) * dilation, 0)))
            projected = self.conditions[i](condition)  # at the frame rate, as ours: this is not what is compared
            filtered = (filtered.unflatten(2, (-1, repeats)) + projected.unsqueeze(3)).flatten(2, 3)
            filter_, gate = filtered.chunk(2, dim=1)
            gated = torch.tanh(filter_) * torch.sigmoid(gate)
            skip = self.skips[i](gated)
            total = skip if total is None else total + skip
            if i < len(self.residuals):
                x = (x + self.residuals[i](gated)) * RESIDUAL_SCALE
        return self.head(total).transpose(1, 2)


def _pointwise(linear: nn.Linear) -> nn.Conv1d:
    conv = nn.Conv1d(linear.in_features, linear.out_features, 1, bias=linear.bias is not None)
    with torch.no_grad():
        conv.weight.copy_(linear.weight.unsqueeze(-1))
        if linear.bias is not None:
            conv.bias.copy_(linear.bias)
    return conv


if __name__ == "__main__":
    main()
