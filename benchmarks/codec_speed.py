"""Speed of speech codecs on one core: the bundled model beside EnCodec, DAC and Mimi.

    python benchmarks/codec_speed.py [WAV] [--model NAME] [--peers encodec dac mimi] [--rounds 5] [--json FILE]

All code the same ten seconds, each at its own rate. The peers have random weights, on which speed does not depend:
nothing is downloaded. README.md says how they are installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module, resources
from pathlib import Path

import harness  # before torch: it sets the number of threads
import numpy as np
import torch
from torch import Tensor, nn

from audiovq.audio import load_model
from audiovq.data.audio import read_audio
from audiovq.data.resampling import resample

SECONDS = 10


@dataclass(frozen=True)
class Candidate:
    """A codec to measure: `encode` takes a waveform `[1, 1, T]` at `sample_rate`, `decode` what that returned."""

    module: nn.Module
    sample_rate: int
    bitrate: float
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], object]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description="Speed of speech codecs on one core.")
    parser.add_argument("wav", nargs="?", help="a recording; its first ten seconds are used, repeated if it is shorter")
    parser.add_argument("--model", default="speech-16k", help="ours: a bundled name or a folder (speech-16k)")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    harness.add_options(parser, rounds=5)
    options = parser.parse_args(argv)
    harness.pin()
    facts = harness.machine(options.device)
    print(", ".join(f"{key} {value}" for key, value in facts.items()), "\n")
    candidates = {options.model: ours(options.model)}
    for name in options.peers:
        try:
            candidates[name] = PEERS[name]()
        except ImportError as error:
            print(f"{name} is left out: {error}")
    sound, rate = recording(options.wav)
    rows = measure(candidates, sound, rate, options.rounds, torch.device(options.device))
    header = [
        "codec",
        "M weights",
        "kbit/s",
        "encode, x real time",
        "decode, x real time",
        "both, x real time",
        "time / ours",
    ]
    print(harness.table(header, [list(row.values()) for row in rows]))
    if options.json:
        harness.write_json(options.json, facts, rows=rows)


def recording(path: str | None) -> tuple[np.ndarray, int]:
    """Ten seconds of mono, and their rate."""
    source = Path(path) if path else Path(str(resources.files("audiovq") / "assets" / "sample.flac"))
    waveform, rate = read_audio(source)
    return np.resize(waveform[0], SECONDS * rate)[None], rate


@torch.inference_mode()
def measure(
    candidates: dict[str, Candidate], sound: np.ndarray, rate: int, rounds: int, device: torch.device
) -> list[dict[str, object]]:
    """One row a codec; all are measured in turn."""
    calls: dict[str, Callable[[], object]] = {}
    for name, codec in candidates.items():
        codec.module.eval().to(device)
        waveform = torch.from_numpy(resample(sound, rate, codec.sample_rate))[None].to(device)
        codes = codec.encode(waveform)
        calls[f"{name} encode"] = lambda codec=codec, waveform=waveform: codec.encode(waveform)
        calls[f"{name} decode"] = lambda codec=codec, codes=codes: codec.decode(codes)
    timings = harness.compare(calls, rounds=rounds, device=device)
    rows: list[dict[str, object]] = []
    for name, codec in candidates.items():
        encode, decode = (timings[f"{name} {what}"].ms / 1e3 for what in ("encode", "decode"))
        both = encode + decode
        first = rows[0]["both_x_real_time"] if rows else SECONDS / both
        rows.append(
            {
                "codec": name,
                "weights_m": sum(p.numel() for p in codec.module.parameters()) / 1e6,
                "kbit_per_s": codec.bitrate,
                "encode_x_real_time": SECONDS / encode,
                "decode_x_real_time": SECONDS / decode,
                "both_x_real_time": SECONDS / both,
                "time_over_ours": float(first) * both / SECONDS,  # type: ignore[arg-type]
            }
        )
    return rows


def ours(name: str) -> Candidate:
    """Our model at its default bitrate."""
    model = load_model(name)
    levels = model.default_num_quantizers
    bits = float(np.log2(model.codebook_sizes[:levels]).sum())
    return Candidate(
        model, model.sample_rate, model.frame_rate * bits / 1e3, lambda x: model.encode(x, levels), model.decode
    )


def encodec() -> Candidate:
    """EnCodec at 24 kHz, 1.5 kbit/s."""
    model = import_module("encodec").EncodecModel.encodec_model_24khz(pretrained=False)
    model.set_target_bandwidth(1.5)
    return Candidate(model, 24000, 1.5, lambda x: model.encode(x)[0][0], lambda codes: model.decode([(codes, None)]))


def dac() -> Candidate:
    """Descript's codec at 16 kHz, all twelve codebooks: 6 kbit/s."""
    model = import_module("dac").DAC(
        encoder_rates=[2, 4, 5, 8], decoder_rates=[8, 5, 4, 2], n_codebooks=12, sample_rate=16000
    )
    return Candidate(
        model,
        16000,
        6.0,
        lambda x: model.encode(x)[1],
        lambda codes: model.decode(model.quantizer.from_codes(codes)[0]),
    )


def mimi() -> Candidate:
    """Moshi's codec at 24 kHz, eight codebooks: 1.1 kbit/s."""
    model = import_module("moshi.models.loaders").get_mimi(None, device="cpu", num_codebooks=8)
    return Candidate(model, 24000, 1.1, model.encode, model.decode)


PEERS: dict[str, Callable[[], Candidate]] = {"encodec": encodec, "dac": dac, "mimi": mimi}

if __name__ == "__main__":
    main()
