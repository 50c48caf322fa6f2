"""Speed of WaveNet sampling: ours in three precisions against PyTorch samplers and the floor, on one core.

    python benchmarks/wavenet_sampling.py [--configs A B] [--peer CHECKOUT] [--compile] [--rounds 7] [--json FILE]
    python benchmarks/wavenet_sampling.py --configs --trained MODEL --data DATA_DIR [--seconds 30]

Weights are random: speed does not depend on them. --peer takes a checkout of r9y9/wavenet_vocoder. --compile adds a
step made by torch.compile, which needs a C++ compiler and minutes. --trained adds what the precisions cost in quality.

The floor: a sample of one stream needs every weight, so it takes the time in which this core reads them. That is
measured in the same rounds, by adding up an array of as many bytes as the packed weights have. Past taps of a layer
with a dilation of 2, 4, or 8 and more are known as many samples ahead: their part is read once in 2, 4 or 8 samples.
Embedding rows, biases and conditions, under a hundredth, are left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import harness  # before torch: it sets the number of threads
import numba
import numpy as np
import torch
import wavenet_peers
import wavenet_precision
from numpy.typing import NDArray

from audiovq.audio import MuLawSoftmax, WaveNetDecoder, sample_wavenet
from audiovq.audio.wavenet_sampler import PRECISIONS, WaveNetSampler
from audiovq.audio.wavenet_sampler.pack import aligned_zeros

RATE = 16000  # Hz, of the real-time factors
HOP = 64
CALL_SECONDS = 0.25  # about as long as a measurement takes
STREAMS = 8  # drawn in lockstep by one thread
BLOCK = 8  # samples whose past taps are computed at once
WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
PEER, PYTORCH, COMPILED = "wavenet_vocoder", "PyTorch", "torch.compile"


@dataclass(frozen=True)
class Config:
    """Widths of a WaveNet with 256 classes, kernel size 2, dilations 1 to 512, and 64 + 64 channels of condition."""

    name: str
    cycles: int
    channels: int
    gate_channels: int
    skip_channels: int = 128

    def decoder(self) -> WaveNetDecoder:
        """With random weights."""
        return WaveNetDecoder(
            64,
            hop_length=HOP,
            likelihood=MuLawSoftmax(self.channels, levels=256),
            channels=self.channels,
            gate_channels=self.gate_channels,
            skip_channels=self.skip_channels,
            kernel_size=2,
            dilations=[2**i for i in range(10)] * self.cycles,
            condition_channels=64,
            speaker_dim=64,
        ).eval()


CONFIGS = {c.name: c for c in (Config("A", 2, 64, 64), Config("B", 3, 128, 128))}

# Times wavenet_vocoder, times real time, share of the floor.
TARGETS = {
    ("A", "fp32"): (150, 2.0, 0.8),
    ("A", "bf16"): (240, None, None),
    ("A", "int8"): (450, 6.0, None),
    ("B", "fp32"): (60, None, None),
    ("B", "int8"): (170, 1.0, None),
}


@dataclass(frozen=True)
class Drawing:
    """A call that draws `samples` samples."""

    call: Callable[[], object]
    samples: int


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description="Speed of WaveNet sampling on one core.")
    parser.add_argument("--configs", nargs="*", choices=list(CONFIGS), default=list(CONFIGS), metavar="CONFIG")
    parser.add_argument("--peer", type=Path, metavar="CHECKOUT", help="of r9y9/wavenet_vocoder")
    parser.add_argument("--compile", action="store_true", help="measure a step made by torch.compile too")
    parser.add_argument("--trained", metavar="MODEL", help="folder or name of a model, for the table of precisions")
    parser.add_argument("--data", type=Path, metavar="DIR", help="Kaldi data directory for --trained")
    parser.add_argument("--seconds", type=float, default=30.0, help="of that data to use (30)")
    harness.add_options(parser, rounds=7)
    parser.set_defaults(device="cpu")
    options = parser.parse_args(argv)
    if options.device != "cpu":
        parser.error("this benchmark measures CPUs; leave --device out")
    if (options.trained is None) != (options.data is None):
        parser.error("--trained and --data go together")
    harness.pin()
    facts = harness.machine() | {"numba": numba.__version__}
    print(", ".join(f"{key} {value}" for key, value in facts.items()), "\n")
    rows, targets = [], []
    for name in options.configs:
        measured = measure(CONFIGS[name], options.peer, options.compile, options.rounds)
        print(f"### {title(CONFIGS[name])}\n\n{show(measured)}\n", flush=True)
        rows += measured
        targets += check(measured)
    if targets:
        header = ["target", "wanted", "measured", "met"]
        cells = [[t["target"], t["wanted"], t["measured"], "yes" if t["met"] else "NO"] for t in targets]
        print(harness.table(header, cells), "\n")
    precisions = []
    if options.trained:
        precisions = wavenet_precision.measure(options.trained, options.data, options.seconds)
        print(wavenet_precision.show(precisions))
    if options.json:
        harness.write_json(options.json, facts, rows=rows, targets=targets, precisions=precisions)


def measure(config: Config, peer: Path | None, compiled: bool, rounds: int) -> list[dict[str, object]]:
    """All candidates and the floor, in turn: rows of {config, name, samples_per_second, real_time, times_peer, samples,
    **Timing}, ours with {share_of_floor, floor_bytes, gb_per_second} too; `times_peer`: times the rate of the peer, or
    of PyTorch's sampler without one."""
    torch.manual_seed(0)
    decoder = config.decoder()
    drawings = {precision: ours(decoder, precision) for precision in PRECISIONS}
    drawings |= {f"{precision}, {STREAMS} streams": ours(decoder, precision, STREAMS) for precision in PRECISIONS}
    drawings[PYTORCH] = pytorch(decoder)
    if compiled:
        drawings[COMPILED] = drawn_in_time(wavenet_peers.compiled_step(decoder))
    if peer is not None:
        shape = (config.cycles, config.channels, config.gate_channels, config.skip_channels)
        drawings[PEER] = drawn_in_time(wavenet_peers.wavenet_vocoder(peer, *shape))
    reads = {f"read {p}": Read(decoder, WEIGHT_BYTES[p]) for p in PRECISIONS}
    timings = harness.compare({n: d.call for n, d in drawings.items()} | reads, rounds=rounds)

    def per_sample(name: str) -> float:
        """Time per sample in calls of the first candidate: from the rounds in which both were measured."""
        return timings[name].ratio / (drawings | reads)[name].samples

    against = PEER if peer is not None else PYTORCH
    rows: list[dict[str, object]] = []
    for name, drawing in drawings.items():
        rate = drawing.samples / timings[name].ms * 1000
        row = dict(config=config.name, name=name, samples_per_second=rate, real_time=rate / RATE)
        row |= dict(against=against, times_peer=per_sample(against) / per_sample(name), samples=drawing.samples)
        if (read := reads.get(floor := f"read {name}")) is not None:
            row |= dict(share_of_floor=per_sample(floor) / per_sample(name), floor_bytes=read.bytes_per_sample)
            row |= dict(gb_per_second=read.bytes_per_sample * read.samples / timings[floor].ms / 1e6)
        rows.append(row | asdict(timings[name]))
    return rows


def ours(decoder: WaveNetDecoder, precision: str, streams: int = 1) -> Drawing:
    """The sampler that decoding uses, begun anew in each call; the samples are those of all streams together."""
    sampler = WaveNetSampler(decoder, precision)
    if sampler.backend_reason:
        raise SystemExit(f"{precision}: the compiled sampler does not run here as it should: {sampler.backend_reason}")

    def draw(samples: int) -> None:
        each = -(-samples // streams)
        condition = torch.randn(streams, -(-each // HOP), 128)
        sampler.sample(condition, torch.rand(streams, each, dtype=torch.float64))

    draw(streams)  # code for several streams may have to be compiled yet
    return drawn_in_time(draw)


def pytorch(decoder: WaveNetDecoder) -> Drawing:
    """The definition of the fast sampler."""

    def draw(samples: int) -> None:
        z_q, speaker = torch.randn(1, 64, -(-samples // HOP)), torch.randn(1, 64)
        sample_wavenet(decoder, z_q, torch.rand(1, samples, dtype=torch.float64), speaker)

    return drawn_in_time(draw)


def drawn_in_time(draw: Callable[[int], object]) -> Drawing:
    """As many samples as `draw` gives in about `CALL_SECONDS`."""
    samples = 32
    while True:
        began = time.process_time()
        draw(samples)
        cpu = time.process_time() - began
        if cpu > CALL_SECONDS / 4:
            break
        samples *= 2
    samples = max(32, round(samples * CALL_SECONDS / cpu))
    return Drawing(lambda: draw(samples), samples)


class Read:
    """A call that reads weights as `samples` samples have to.

    Attributes:
        bytes_per_sample: on average.
    """

    def __init__(self, decoder: WaveNetDecoder, weight_bytes: int) -> None:
        counts = weights_of(decoder)
        self.bytes_per_sample = sum(count / samples for samples, count in counts.items()) * weight_bytes
        weights = aligned_zeros(sum(counts.values()) * weight_bytes // 4, np.float32)
        weights += 1  # what was never written to is all one page
        ends = np.cumsum(list(counts.values())) * weight_bytes // 4
        self.parts = tuple(np.split(weights, ends[:-1]))
        self.sums = np.zeros(max(1, round(CALL_SECONDS * 40e9 / self.bytes_per_sample / BLOCK)) * BLOCK)
        self.samples = len(self.sums)

    def __call__(self) -> None:
        read(self.parts, self.sums)


@numba.njit(fastmath=True)
def read(parts: tuple[NDArray[np.float32], ...], sums: NDArray[np.float64]) -> None:
    """Add up parts 0, 1, 2, 3 for every, every second, fourth and eighth entry. (fastmath: in several sums at once.)"""
    for t in range(len(sums)):
        total = np.float32(0)
        for k in range(len(parts)):
            if t % (1 << k) == 0:
                part = parts[k]
                for i in range(len(part)):
                    total += part[i]
        sums[t] = total


def weights_of(decoder: WaveNetDecoder) -> dict[int, int]:
    """How many weights the products need once in 1, 2, 4 and 8 samples."""
    stack = decoder.stack
    linears = [stack.skip, stack.hidden, stack.output]
    linears += [layer.residual for layer in stack.wavenet_layers if layer.residual is not None]
    counts = dict.fromkeys((1, 2, 4, BLOCK), 0)
    counts[1] = sum(linear.weight.numel() for linear in linears)
    for layer in stack.wavenet_layers:
        tap = layer.taps.weight.numel() // layer.kernel_size
        counts[1] += tap
        counts[min(BLOCK, 1 << layer.dilation.bit_length() - 1)] += tap * (layer.kernel_size - 1)
    return counts


def title(config: Config) -> str:
    """The heading of a table."""
    weights = sum(weights_of(config.decoder()).values())
    return (
        f"{config.name}: {config.cycles} x 10 layers, residual {config.channels}, gate 2 x {config.gate_channels}, "
        f"skip {config.skip_channels}, {weights:,} weights"
    )


def show(rows: list[dict[str, object]]) -> str:
    """Markdown: a line per candidate."""
    header = ["", "samples/s", "x real time", f"x {rows[0]['against']}", "share of floor", "floor MB/sample", "GB/s"]
    keys = ["name", "samples_per_second", "real_time", "times_peer", "share_of_floor"]
    cells = []
    for row in rows:
        floor = row["floor_bytes"] / 1e6 if "floor_bytes" in row else None
        cells.append([*(row.get(key) for key in keys), floor, row.get("gb_per_second")])
    return harness.table(header, cells)


def check(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """What was aimed at, and what came out: rows of {target, wanted, measured, met}."""
    checks = []
    for row in rows:
        wanted = TARGETS.get((row["config"], row["name"]), (None, None, None))
        keys = {"times_peer": f"times {PEER}", "real_time": "times real time", "share_of_floor": "share of the floor"}
        for (key, words), limit in zip(keys.items(), wanted, strict=True):
            if limit is not None and (key != "times_peer" or row["against"] == PEER):
                name = f"{row['config']} {row['name']}: {words}"
                met = row[key] >= limit
                checks.append(dict(target=name, wanted=f">= {limit:g}", measured=row[key], met=met))
    return checks


if __name__ == "__main__":
    main()
