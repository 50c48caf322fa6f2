"""A WaveNet's training step on a CPU: float32, bfloat16 by autocast, and bfloat16 as the package does it.

    python benchmarks/wavenet_training.py [--rounds 5] [--json FILE]

Forward and backward pass of the decoder's likelihood, without the optimizer, on one core; the sizes are those of
egs/minivctk/codec (20 layers of 64 channels) and egs/fsdd/vqvae (16 of 32). Ratios are to float32 of the same round.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import harness  # before torch: it sets the number of threads
import torch

from audiovq.audio.likelihood import MuLawSoftmax
from audiovq.audio.wavenet_decoder import WaveNetDecoder

# Batch, samples, hop, and the decoder.
CASES = {
    "speech_16k_wavenet": (3, 8000, 320, dict(channels=64, gate_channels=64, skip_channels=128), 10),
    "fsdd": (8, 3072, 64, dict(channels=32, gate_channels=32, skip_channels=96), 8),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description="Training steps of a WaveNet by precision.")
    harness.add_options(parser, rounds=5)
    options = parser.parse_args(argv)
    harness.pin()
    facts = harness.machine(options.device)
    print(", ".join(f"{key} {value}" for key, value in facts.items()), "\n")
    rows = []
    for case, (batch, samples, hop, sizes, layers) in CASES.items():
        timings = harness.compare(steps(batch, samples, hop, sizes, layers), rounds=options.rounds)
        for name, timing in timings.items():
            speed = batch * samples / timing.ms * 1e3
            rows.append(dict(case=case, name=name, samples_per_second=speed) | asdict(timing))
    header = ["case", "precision", "ms", "samples/s", "time / float32", "peak MB"]
    keys = ["case", "name", "ms", "samples_per_second", "ratio", "peak_mb"]
    print(harness.table(header, [[row[key] for key in keys] for row in rows]))
    if options.json:
        harness.write_json(options.json, facts, rows=rows)


def steps(batch: int, samples: int, hop: int, sizes: dict[str, int], layers: int) -> dict[str, Callable[[], object]]:
    """One training step in each precision, of the same decoder on the same noise."""
    torch.manual_seed(0)
    decoder = WaveNetDecoder(
        64,
        hop_length=hop,
        likelihood=MuLawSoftmax(sizes["channels"], levels=256),
        kernel_size=2,
        dilations=[2**i for i in range(layers)] * 2,
        condition_channels=64,
        speaker_dim=0,
        **sizes,
    )
    waveform, z_q = 0.1 * torch.randn(batch, 1, samples), torch.randn(batch, 64, samples // hop)

    stack = decoder.stack
    fused_forward = stack.forward

    def step(bfloat16: bool, fused: bool) -> None:
        decoder.zero_grad()
        stack.forward = fused_forward if fused else lambda x, condition: stack.head(stack.skips(x, condition))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            loss = decoder.bits(waveform, z_q).mean()
        loss.backward()

    return {
        "float32": partial(step, False, True),
        "bfloat16 by autocast": partial(step, True, False),
        "bfloat16, fused loops": partial(step, True, True),
    }


if __name__ == "__main__":
    main()
