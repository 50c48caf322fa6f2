"""Memory and time of `encode_file` and `decode_file` against the length of the file, and of a part against its place.

    python benchmarks/length.py [--model NAME] [--minutes 1 10 60 180] [--json FILE]

Each length is coded in processes of its own, whose peak of resident memory is that of the system's count. Files of
`--minutes` are 16 kHz mono; one of a third of the longest is 48 kHz stereo.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import harness  # before torch: it sets the number of threads
import numpy as np
import soundfile

from audiovq.codec import Codec, decode_file
from audiovq.data.audio import read_audio
from audiovq.data.audio_writer import open_writer
from audiovq.data.resampling import resample

PART_SECONDS = 10.0

# What a process of its own does: "torch", "model", or a call on files; it prints seconds and MB.
CHILD = """
import json, sys
from pathlib import Path
import torch
what, model, source, target = sys.argv[1:]
torch.set_num_threads(1)
seconds = 0.0
if what != "torch":
    from audiovq import codec
    loaded = codec.Codec.from_pretrained(model)
    if what != "model":
        seconds = getattr(codec, what)(loaded, source, target).elapsed
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps([seconds, int(peak.split()[1]) / 1e3]))
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description="Memory and time against the length of a file.")
    parser.add_argument("--model", default="speech-16k", help="a bundled name or a folder (speech-16k)")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60, 180], help="lengths (1 10 60 180)")
    harness.add_options(parser, rounds=5)
    options = parser.parse_args(argv)
    harness.pin()
    facts = harness.machine(options.device)
    print(", ".join(f"{key} {value}" for key, value in facts.items()), "\n")
    longest = max(options.minutes)
    cases = [(16000, 1, minutes) for minutes in options.minutes] + [(48000, 2, longest / 3)]
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(Path(folder), options.model, *case) for case in cases]
        empty = {what: child(what, options.model)[1] for what in ("torch", "model")}
        print(f"Peak MB of importing torch: {empty['torch']:.0f}; of loading the model: {empty['model']:.0f}\n")
        header = ["file", "encode, s", "x real time", "peak MB", "decode, s", "x real time", "peak MB"]
        print(harness.table(header, [list(row.values()) for row in rows]))
        places = parts(Path(folder), options.model, longest, options.rounds)
    print(f"\nThe {PART_SECONDS:g} s from a place on, of {longest:g} minutes, with one codec:\n")
    print(harness.table(["begins after, min", "decode, ms"], [list(row.values()) for row in places]))
    if options.json:
        harness.write_json(options.json, facts | empty, rows=rows, places=places)


def measure(folder: Path, model: str, rate: int, channels: int, minutes: float) -> dict[str, object]:
    """Encode and decode a file of that shape, each in a process of its own."""
    wav, codes, decoded = folder / "in.wav", folder / f"{rate}.codes", folder / "out.wav"
    write_speech(wav, rate, channels, 60 * minutes)
    codes.unlink(missing_ok=True)
    encoding, decoding = child("encode_file", model, wav, codes), child("decode_file", model, codes, decoded)
    assert soundfile.info(decoded).frames == soundfile.info(wav).frames
    wav.unlink()
    decoded.unlink()
    row: dict[str, object] = {"file": f"{minutes:g} min, {rate // 1000} kHz, {channels} ch"}
    for name, (seconds, peak) in (("encode", encoding), ("decode", decoding)):
        row |= {f"{name}_s": seconds, f"{name}_x": 60 * minutes / seconds, f"{name}_mb": peak}
    return row


def parts(folder: Path, model: str, minutes: float, rounds: int) -> list[dict[str, object]]:
    """Time of a part of the longest file by where it begins, places in turn."""
    codec = Codec.from_pretrained(model, "cpu")
    places = [0.0, 0.1 * minutes, 0.5 * minutes, minutes - PART_SECONDS / 60]
    times: dict[float, list[float]] = {place: [] for place in places}
    for _ in range(rounds + 1):
        for place in places:
            began = time.perf_counter()
            part = {"start": 60 * place, "duration": PART_SECONDS}
            decode_file(codec, folder / "16000.codes", folder / "part.wav", force=True, **part)
            times[place].append(1e3 * (time.perf_counter() - began))
    return [{"minutes": place, "ms": statistics.median(times[place][1:])} for place in places]


def child(what: str, model: str, source: Path = Path(), target: Path = Path()) -> tuple[float, float]:
    """Seconds and peak MB of a process."""
    command = [sys.executable, "-c", CHILD, what, model, str(source), str(target)]
    seconds, peak = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return seconds, peak


def write_speech(path: Path, rate: int, channels: int, seconds: float) -> None:
    """The sample that comes with the package, over and over."""
    waveform, own = read_audio(Path(str(resources.files("audiovq") / "assets" / "sample.flac")))
    speech = np.repeat(np.clip(resample(waveform[:1], own, rate), -1, 1), channels, axis=0)
    left = round(rate * seconds)
    with open_writer(path, channels, rate, left) as writer:
        while left:
            writer.write(speech[:, :left])
            left -= min(left, speech.shape[1])


if __name__ == "__main__":
    main()
