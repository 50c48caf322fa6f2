"""What recordings become as `.codes` files: bytes and kbit/s of whole files in every coding, header and checks included.

    python benchmarks/sizes.py RECORDING... [--model speech-16k] [--bitrate 1000] [--packet-seconds S] [--json FILE]

Each recording is encoded once, and its codes are then written in each coding that the model has.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import harness  # before torch: it sets the number of threads

from audiovq import Codec
from audiovq.bitstream import CodesReader, CodesWriter, Coding, as_audio
from audiovq.codec import encode_file


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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--model", default="speech-16k")
    parser.add_argument("--bitrate", type=float, nargs="+", default=[1000.0])
    parser.add_argument("--packet-seconds", type=float)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    codec = Codec.from_pretrained(options.model, "cpu")
    kinds = [coding.name.lower() for coding in Coding if coding == Coding.PACKED or coding in codec.coders]
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
