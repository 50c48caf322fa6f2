"""What the integer coders of a model save and cost: kbit/s of whole files, and times beside those of the packed file.

    python benchmarks/coder.py WAV|PACK [--model speech-16k] [--seconds 60 4] [--packet-seconds 4.8] [--rounds 3]
        [--json FILE]

The sound, of a folder of recordings or of a pack (`audiovq data pack`), is joined and cut into files of so many
seconds. Bytes are those of whole `.codes` files. Coding and decoding are timed on one core, the packed file's time is
that of the codec's encoder and default decoder.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness  # before torch: it sets the number of threads
import numpy as np

from audiovq import Codec
from audiovq.bitstream import PacketCoder, write_codes
from audiovq.codec import EncodedAudio
from audiovq.data.audio import read_audio
from audiovq.data.corpus.packed import PackedCorpus
from audiovq.data.resampling import resample
from audiovq.data.walk import walk
from audiovq.errors import BadAudioError
from audiovq.modelfolder import resolve_model
from audiovq.prior.coder import load_coders

TIMED_SECONDS = 5.0


def sound_of(place: Path, rate: int) -> np.ndarray:
    """All sound of a pack or a folder, joined, float32 `[T]` at `rate`."""
    if (place / "index.json").is_file():
        corpus = PackedCorpus.open(place)
        return np.concatenate([corpus.read(i) for i in range(len(corpus.utterances))])
    files = walk(place, (".wav", ".flac")).checked(BadAudioError) if place.is_dir() else [place]
    return np.concatenate([resample(*read_audio(file), rate)[0] for file in files])


def bytes_of(encoded: EncodedAudio, coder: PacketCoder | None) -> int:
    """Of one file."""
    header = encoded.header if coder is None else encoded.header.coded_by(coder)
    return write_codes(io.BytesIO(), header, encoded.codes, coder)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sound", type=Path)
    parser.add_argument("--model", default="speech-16k")
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0, 4.0])
    parser.add_argument("--packet-seconds", type=float)
    harness.add_options(parser, rounds=3)
    options = parser.parse_args(arguments)
    harness.pin()
    codec = Codec.from_pretrained(options.model, "cpu")
    coders = load_coders(resolve_model(options.model))
    kinds: dict[str, PacketCoder | None] = {"packed": None} | {c.name.lower(): coders[c] for c in sorted(coders)}
    sound = sound_of(options.sound, codec.sample_rate)
    how: dict[str, Any] = {"packet_seconds": options.packet_seconds, "coding": "packed"}
    rates, speeds = [], []
    for levels in range(1, codec.num_quantizers + 1):
        for seconds in options.seconds:
            length = int(seconds * codec.sample_rate)
            files = [sound[i : i + length] for i in range(0, len(sound), length)]
            files = [file for file in files if len(file) == length] or files
            codes = [codec.encode(file, codec.sample_rate, num_quantizers=levels, **how) for file in files]
            total = sum(len(file) for file in files) / codec.sample_rate
            row: list[object] = [codec.bitrates[levels - 1] / 1e3, seconds, len(files)]
            row += [8 * sum(bytes_of(own, coder) for own in codes) / total / 1e3 for coder in kinds.values()]
            rates.append(row)
        part = sound[: int(TIMED_SECONDS * codec.sample_rate)]
        encoded = codec.encode(part, codec.sample_rate, num_quantizers=levels)
        candidates = {"codec": lambda e=encoded, p=part, q=levels: round_trip(codec, p, e, q)}
        for name, coder in kinds.items():
            if coder is not None:
                candidates[name] = lambda c=coder, e=encoded.codes: c.decode(c.encode(e), *e.shape)
        found = harness.compare(candidates, rounds=options.rounds)
        for name in candidates:
            real_time = len(part) / codec.sample_rate / found[name].ms * 1e3
            speeds.append([codec.bitrates[levels - 1] / 1e3, name, found[name].ms, real_time, found[name].ratio])
    print(harness.table(["nominal kbit/s", "seconds", "files", *(f"{kind}, kbit/s" for kind in kinds)], rates))
    print()
    header = ["nominal kbit/s", "encode + decode of", "ms for 5 s", "times real time", "time / the codec's"]
    print(harness.table(header, speeds))
    if options.json:
        harness.write_json(options.json, harness.machine(), rates=rates, speeds=speeds)


def round_trip(codec: Codec, sound: np.ndarray, encoded: object, levels: int) -> None:
    """Encode and decode with the packed coding."""
    codec.encode(sound, codec.sample_rate, num_quantizers=levels)
    codec.decode(encoded)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
