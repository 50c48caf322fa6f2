"""Speech over a channel that loses packets of 100 ms, or flips bits: the bundled model beside Opus and Codec2.

    python benchmarks/loss.py --data data/eval [--png docs/loss.png] [--json FILE] [--codecs NAME ...] [--limit N]

PESQ-WB and STOI against the original, and DistillMOS (extra `judges`), which no model here was trained on. All codecs
lose the same packets. A packet with a wrong bit is lost, as its checksum tells, but not Codec2's, which has none.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import harness  # before torch: it sets the number of threads
import numpy as np
from loss_codecs import PACKET_SECONDS, Bools, LossyCodec, Waveform, codec2, opus, ours
from numpy.typing import NDArray
from tqdm import tqdm

from audiovq.codec import Codec
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.resampling import resample
from audiovq.evaluate.quality_judges import quality_metrics
from audiovq.metrics.alignment import lag_ms
from audiovq.metrics.speech import Metric, metrics_for

RATE = 16000
BURST = 3.0  # packets lost in a row, on average, where losses come in bursts


@dataclass(frozen=True)
class Channel:
    """What happens on the way: packets lost, alone or in bursts, or bits flipped."""

    name: str
    loss: float = 0.0
    bit_errors: float = 0.0
    burst: float = 0.0

    def damage(self, packet_bits: Sequence[int], checked: bool, seed: int) -> tuple[Bools, NDArray[np.int64]]:
        """Which packets are lost, and which bits are wrong, of all packets one after another.

        With the same seed, a worse channel damages what a better one does, and more.
        """
        rng = np.random.default_rng(seed)
        lost = self._lost(rng.random(len(packet_bits)))
        flips = np.flatnonzero(rng.random(sum(packet_bits)) < self.bit_errors)
        if checked:
            lost[np.searchsorted(np.cumsum(packet_bits), flips, side="right")] = True
        return lost, flips

    def _lost(self, uniform: NDArray[np.float64]) -> Bools:
        if not self.burst:
            return uniform < self.loss
        leave = 1 / self.burst  # a bad state of mean length `burst`, entered such that its share is `loss` (Gilbert)
        enter = leave * self.loss / (1 - self.loss)
        lost, bad = np.zeros(len(uniform), bool), False
        for packet, value in enumerate(uniform):
            bad = value >= leave if bad else value < enter
            lost[packet] = bad
        return lost


LOSSES = [Channel(f"{100 * loss:g} %", loss=loss) for loss in (0, 0.01, 0.02, 0.05, 0.1, 0.2)]
BURSTS = [Channel("10 % in bursts", loss=0.1, burst=BURST)]
BIT_ERRORS = [Channel(f"BER {rate:g}", bit_errors=rate) for rate in (1e-5, 1e-4, 3e-4, 1e-3)]

CODECS: dict[str, Callable[[Codec], LossyCodec]] = {
    "audiovq:0.5": lambda codec: ours(codec, 1),
    "audiovq:1": lambda codec: ours(codec, 2),
    "audiovq:2": lambda codec: ours(codec, 4),
    "silence:1": lambda codec: ours(codec, 2, "silence"),
    "repetition:1": lambda codec: ours(codec, 2, "repetition"),
    "opus:6": lambda codec: opus(6),
    "opus:12": lambda codec: opus(12),
    "codec2:700C": lambda codec: codec2("700C"),
    "codec2:1300": lambda codec: codec2("1300"),
    "codec2:3200": lambda codec: codec2("3200"),
}
USUAL = ["audiovq:0.5", "audiovq:1", "audiovq:2", "silence:1", "opus:6", "codec2:1300"]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, measure, print, draw."""
    parser = argparse.ArgumentParser(description="Speech over a channel that loses packets or flips bits.")
    parser.add_argument("--data", type=Path, required=True, help="a Kaldi data directory")
    parser.add_argument("--limit", type=int, help="only so many of its utterances")
    parser.add_argument("--codecs", nargs="*", choices=list(CODECS), default=USUAL)
    parser.add_argument("--png", type=Path, help="draw the curves")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows and the facts of the machine there")
    options = parser.parse_args(argv)
    harness.pin()
    facts = harness.machine()
    sounds = [utterance.mono(RATE) for utterance in DataDir.read(options.data).utterances[: options.limit]]
    metrics = [metric for metric in metrics_for(RATE) if metric.name in ("pesq", "stoi")]
    judges, left_out = quality_metrics(["distillmos"], None)
    metrics += judges
    codec, codecs = Codec.from_pretrained(device="cpu"), []
    for name in options.codecs:
        try:
            codecs.append(CODECS[name](codec))
        except OSError as error:
            left_out.append(f"{name} is left out: {error}")
    print("\n".join(left_out) + "\n" if left_out else "", end="")
    seconds = sum(map(len, sounds)) / RATE
    print(f"{len(sounds)} utterances, {seconds:.0f} s; {', '.join(f'{key} {value}' for key, value in facts.items())}\n")
    rows = measure(codecs, sounds, metrics, [*LOSSES, *BURSTS, *BIT_ERRORS])
    for metric in metrics:
        print(f"{metric.title}\n\n{tabulate(rows, metric)}\n")
    if options.json:
        harness.write_json(options.json, facts, rows=rows)
    if options.png:
        draw(rows, metrics).savefig(options.png, dpi=110)


def measure(
    codecs: Sequence[LossyCodec], sounds: Sequence[Waveform], metrics: Sequence[Metric], channels: Sequence[Channel]
) -> list[dict[str, object]]:
    """A row a codec and channel: means over all sounds `[T]` at 16 kHz, and the bitrate."""
    rows: list[dict[str, object]] = []
    for codec in codecs:
        scores = np.zeros((len(sounds), len(channels), len(metrics)))
        bits = 0
        lost_share = np.zeros((len(sounds), len(channels)))
        for i, sound in enumerate(tqdm(sounds, desc=codec.name, disable=None)):
            sent = codec.send(resample(sound[None], RATE, codec.rate)[0])
            bits += sum(sent.packet_bits)
            lag = 0
            for j, channel in enumerate(channels):
                lost, flips = channel.damage(sent.packet_bits, codec.checked, i)
                output = resample(sent.receive(lost, flips)[None], codec.rate, RATE)[0]
                if j == 0:  # nothing is lost: the codec's own delay, which is no damage
                    lag = round(lag_ms(sound, output, RATE) * RATE / 1000)
                pair = sound[max(0, -lag) :], output[max(0, lag) :]
                length = min(map(len, pair))
                scores[i, j] = [_score(metric, pair[0][:length], pair[1][:length]) for metric in metrics]
                lost_share[i, j] = lost.mean()
        kbps = bits / sum(map(len, sounds)) * RATE / 1000
        for j, channel in enumerate(channels):
            means = {
                metric.name: float(value)
                for metric, value in zip(metrics, np.nanmean(scores[:, j], axis=0), strict=True)
            }
            lost = float(lost_share[:, j].mean())
            rows.append({"codec": codec.name, "kbps": kbps, "channel": channel.name, "lost": lost, **means})
    return rows


def _score(metric: Metric, reference: Waveform, output: Waveform) -> float:
    """NaN where there is none, as PESQ's of an output without speech: it is left out of the mean, and said."""
    try:
        return metric.measure(reference, output, RATE)
    except Exception as error:  # the libraries raise many types
        print(f"{metric.name}: no score of one output ({error})", flush=True)
        return math.nan


def tabulate(rows: Sequence[dict[str, object]], metric: Metric) -> str:
    """Codecs down, channels across."""
    channels = list(dict.fromkeys(row["channel"] for row in rows))
    lines = []
    for name in dict.fromkeys(row["codec"] for row in rows):
        own = {row["channel"]: row for row in rows if row["codec"] == name}
        cells = [f"{own[channel][metric.name]:.{metric.digits}f}" for channel in channels]
        lines.append([name, f"{own[channels[0]]['kbps']:.2f}", *cells])
    return harness.table(["codec", "kbit/s", *map(str, channels)], lines)


def draw(rows: Sequence[dict[str, object]], metrics: Sequence[Metric]) -> object:
    """A matplotlib figure: a row for losses and one for bit errors, a column a metric."""
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    figure = Figure(figsize=(4.2 * len(metrics), 6.6), layout="constrained")
    axes = np.atleast_2d(figure.subplots(2, len(metrics)))
    groups = (
        (LOSSES, [100 * channel.loss for channel in LOSSES]),
        (
            BIT_ERRORS,
            [math.log10(channel.bit_errors) for channel in BIT_ERRORS],
        ),
    )
    labels = "lost packets of 100 ms, %", "bit error rate, log10"
    for line, (channels, places), label in zip(axes, groups, labels, strict=True):
        for axis, metric in zip(line, metrics, strict=True):
            for number, name in enumerate(dict.fromkeys(row["codec"] for row in rows)):
                own = {row["channel"]: row for row in rows if row["codec"] == name}
                values = [own[channel.name][metric.name] for channel in channels]
                ours = str(name).startswith("audiovq")
                style = ":" if "silence" in str(name) else "-" if ours else "--"
                axis.plot(places, values, style, marker="o", markersize=3, color=f"C{number}", label=name)
            axis.set(xlabel=label, ylabel=metric.title)
            axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    figure.suptitle(f"Packets of {1000 * PACKET_SECONDS:g} ms over a bad channel")
    return figure


if __name__ == "__main__":
    main()
