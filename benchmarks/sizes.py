"""What recordings become as `.codes` files: bytes and kbit/s of whole files in every coding, all included.

    python benchmarks/sizes.py RECORDING... [--model speech-16k] [--bitrate 1000] [--packet-seconds S] [--json FILE]
    python benchmarks/sizes.py RECORDING... --bursts 50 100 200

Each recording is encoded once, and its codes are then written in each coding that the model has. With --bursts: seconds
of speech that a burst of so many bytes holds in the mean, framed as in docs/radio.md.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import harness  # before torch: it sets the number of threads
import numpy as np

from audiovq import Codec
from audiovq.bitstream import CodesReader, CodesWriter, Coding, PacketCoder, as_audio
from audiovq.bitstream.packing import bit_width
from audiovq.codec import encode_file
from audiovq.codec.code_streams import Codes
from audiovq.data.audio import read_audio


def sizes_of(codec: Codec, recording: Path, bitrate: float, packet_seconds: float | None) -> dict[str, float]:
    """Seconds, channels, and bytes of each coding."""
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "packed.codes"
        report = encode_file(codec, recording, packed, bitrate=bitrate, packet_seconds=packet_seconds, coding="packed")
        row: dict[str, float] = {"seconds": report.seconds, "packed": report.num_bytes}
        for coding, coder in codec.coders.items():
            with CodesReader(packed) as reader:
                header = as_audio(reader.header, str(packed))
                row["channels"] = header.channels
                with CodesWriter(io.BytesIO(), replace(header).coded_by(coder), coder) as writer:
                    for codes in reader.packets():
                        writer.write(codes)
            row[coding.name.lower()] = writer.num_bytes
    return row


def burst_seconds(codec: Codec, codes: Codes, burst_bytes: int, coder: PacketCoder | None) -> float:
    """Of codes `[1, Q, F]`, in the mean over bursts that are full."""
    counts, start = [], 0
    while start < codes.shape[2]:
        rest = codes[:, :, start : start + 255]
        if coder is None:
            bits = sum(map(bit_width, codec.model.codebook_sizes[: codes.shape[1]]))
            counts.append(8 * (burst_bytes - 4) // bits)
        else:
            fits = range(1, rest.shape[2] + 1)
            counts.append(bisect_right(fits, burst_bytes - 6, key=lambda n: len(coder.encode(rest[:, :, :n]))))
        start += counts[-1]
    return float(np.mean(counts[:-1] or counts)) / codec.frame_rate


def print_bursts(codec: Codec, recordings: Sequence[Path], bursts: Sequence[int], kinds: Sequence[str]) -> None:
    rows: list[list[object]] = []
    sounds = [read_audio(recording) for recording in recordings]
    for kind in kinds:
        coder = codec.coders.get(Coding[kind.upper()])
        for size in bursts:
            row: list[object] = [kind, size]
            for levels in (1, 2, 4):
                codes = [codec.encode(sound[:1], rate, num_quantizers=levels).codes for sound, rate in sounds]
                row.append(f"{np.mean([burst_seconds(codec, own, size, coder) for own in codes]):.2f}")
            rows.append(row)
    rates = [f"{codec.bitrates[levels - 1] / 1e3:g} kbit/s" for levels in (1, 2, 4)]
    print(harness.table(["coding", "burst, bytes", *rates], rows))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--model", default="speech-16k")
    parser.add_argument("--bitrate", type=float, nargs="+", default=[1000.0])
    parser.add_argument("--packet-seconds", type=float)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--bursts", type=int, nargs="+")
    options = parser.parse_args(arguments)
    codec = Codec.from_pretrained(options.model, "cpu")
    kinds = [coding.name.lower() for coding in Coding if coding == Coding.PACKED or coding in codec.coders]
    if options.bursts:
        print_bursts(codec, options.recordings, options.bursts, kinds)
        return
    rows = []
    for bitrate in options.bitrate:
        for recording in options.recordings:
            row = sizes_of(codec, recording, bitrate, options.packet_seconds)
            cells: list[object] = [recording.name, f"{row['seconds']:.1f}", int(row["channels"]), bitrate / 1e3]
            for kind in kinds:
                rate = 8 * row[kind] / row["seconds"] / row["channels"] / 1e3
                cells.append(f"{int(row[kind]):,} ({rate:.3f})")
            rows.append(cells)
    header = ["recording", "seconds", "channels", "nominal kbit/s", *(f"{kind}, bytes (kbit/s)" for kind in kinds)]
    print(harness.table(header, rows))
    if options.json:
        harness.write_json(options.json, harness.machine(), rows=rows)


if __name__ == "__main__":
    main()
