#!/usr/bin/env python3
"""The utterances of a data directory as codes, and those codes as sound, in N jobs.

    resynthesize.py encode --model exp/vqvae/models/best --data data/eval --out exp/codes/eval --job 1 --jobs 4
    resynthesize.py reconstruct --model exp/vqvae/models/best --data data/eval --codes exp/codes/eval/codes \\
                                --out exp/made/eval --job 1 --jobs 4
    resynthesize.py join --out exp/made/eval --jobs 4

`encode` makes a `.codes` file of each utterance, mono at the model's rate, with its speaker if the model knows them.
`reconstruct` decodes them as `audiovq decode` does, sample for sample; `convert` gives each speaker's utterances to the
other speakers in turn. Each job leaves its part in OUT.parts, where one that is started again finds it; `join` makes
OUT of the parts, a data directory.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from audiovq.data.audio import write_audio
from audiovq.data.files import atomic_folder
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.recording import is_seekable
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import AudioVQError, BadDataError, OutputError

if TYPE_CHECKING:  # `join` does without torch
    from audiovq.codec import Codec

BATCH_SIZE = 50  # utterances that an autoregressive decoder draws in step
MARKER = "made_from"


@dataclass(frozen=True)
class Take:
    """An utterance to be made.

    Attributes:
        id, voice: the new ones.
        source: the original.
        codes: its `.codes` file, to be decoded; None to make one.
    """

    id: str
    voice: str
    source: Utterance
    codes: Path | None = None


def rotated_voices(data: DataDir) -> list[Take]:
    """Every utterance in the voice of another speaker: a speaker's k-th utterance goes to the (1 + k mod (n - 1))-th
    speaker after them, in order, so that each pair of speakers occurs as often. BadDataError for a single speaker."""
    speakers = data.speakers
    if len(speakers) < 2:
        raise BadDataError(f"only speaker {', '.join(speakers)}: conversion needs two at least")
    takes = []
    for s, speaker in enumerate(speakers):
        own = [u for u in data.utterances if u.speaker == speaker]
        for k, utterance in enumerate(own):
            voice = speakers[(s + 1 + k % (len(speakers) - 1)) % len(speakers)]
            takes.append(Take(f"{voice}-from-{utterance.id}", voice, utterance))
    return takes


def original_of(converted: Utterance, originals: dict[str, Utterance]) -> Utterance:
    """What an utterance of `rotated_voices` was made from."""
    return originals[converted.id.removeprefix(f"{converted.speaker}-from-")]


def takes_of(what: str, data: DataDir, codes: Path | None, job: int, jobs: int) -> list[Take]:
    """The takes of one job; those to be decoded in whole batches of like length, dealt in turn."""
    takes = rotated_voices(data) if what == "convert" else [Take(u.id, u.speaker, u) for u in data.utterances]
    if codes is None:
        return takes[job - 1 :: jobs]
    takes = [replace(take, codes=codes / f"{take.source.id}.codes") for take in takes]
    for take in takes:
        if not take.codes.is_file():
            raise BadDataError(f"{take.codes}: missing; encode the data directory again")
    dealt = in_batches(takes, min(BATCH_SIZE, math.ceil(len(takes) / jobs)))[job - 1 :: jobs]
    return [take for batch in dealt for take in batch]


def in_batches(takes: Sequence[Take], batch_size: int) -> list[list[Take]]:
    """Takes of like length together, the shortest first, so that little is padding."""
    ordered = sorted(takes, key=lambda take: take.codes.stat().st_size if take.codes else 0)
    return [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]


def part_of(out: Path, part: object) -> Path:
    return out.with_name(f"{out.name}.parts") / str(part)


def make_part(options: argparse.Namespace) -> None:
    """Job `options.job` of `options.jobs`."""
    import torch

    from audiovq.codec import Codec
    from audiovq.modelfolder import read_model

    torch.set_num_threads(1)
    takes = takes_of(options.what, DataDir.read(options.data), options.codes, options.job, options.jobs)
    if not takes:
        raise BadDataError(f"{options.data}: fewer utterances than the {options.jobs} jobs; give a smaller --nj")
    stored, part = read_model(options.model), part_of(options.out, options.job)
    made_from = fingerprint(takes, stored.fingerprint, options.what, options.seed, options.decoder)
    if not made_before(part, made_from):
        codec = Codec.from_stored(stored, options.model, torch.device("cpu"))
        with atomic_folder(part) as making:
            if options.what == "encode":
                made = encode(codec, takes, making / "codes")
            else:
                wav = options.out.absolute() / "wav"  # where `join` puts it
                made = decode(codec, takes, making / "wav", wav, seed=options.seed, decoder=options.decoder)
            DataDir(tuple(made)).write(making)
            (making / MARKER).write_text(made_from)
    print(f"{len(takes)} utterances are there")


def made_before(part: Path, made_from: str) -> bool:
    """Whether a part was made of the same; OutputError for a folder that is no part."""
    if part.exists() and not (part / MARKER).is_file():
        raise OutputError(f"{part}: exists and was not made by this program; remove it")
    return part.exists() and (part / MARKER).read_text() == made_from


def fingerprint(takes: Sequence[Take], *options: object) -> str:
    """Of all that a part is made from; a file is known by its size and time."""
    digest = hashlib.sha256(repr(options).encode())
    for take in takes:
        source = take.codes or (take.source.recording if is_seekable(take.source.recording) else None)
        stamp = os.stat(source) if source else None
        changed = stamp and (stamp.st_size, stamp.st_mtime_ns)
        digest.update(repr((take, changed)).encode())
    return digest.hexdigest()


def encode(codec: Codec, takes: Sequence[Take], folder: Path) -> list[Utterance]:
    """A `.codes` file of each take; the data directory stays that of the originals."""
    folder.mkdir()
    for take in takes:
        speaker = take.voice if take.voice in codec.model.speakers else None
        sound = take.source.mono(codec.sample_rate)
        (folder / f"{take.id}.codes").write_bytes(codec.compress(sound, codec.sample_rate, speaker=speaker))
    return [take.source for take in takes]


def decode(
    codec: Codec, takes: Sequence[Take], folder: Path, lasting: Path, *, seed: int = 0, decoder: str | None = None
) -> list[Utterance]:
    """A wav of each take, with its source's number of samples at the model's rate.

    Args:
        takes: that have codes.
        folder: to be made; lasting: the folder that the data directory names in its place.
        seed: of noise and sampling, as in `audiovq decode`.
        decoder: name; default: the model's first.
    """
    folder.mkdir()
    started, done = time.monotonic(), 0
    codec.model.speaker_indices(take.voice for take in takes)  # an unknown one fails before the work
    for batch in in_batches(takes, BATCH_SIZE)[::-1]:  # the longest first: if memory is short, that shows at once
        voices = [take.voice if codec.model.speakers else None for take in batch]
        paths = [take.codes for take in batch]
        sounds = codec.decode_many(paths, speakers=voices, seed=seed, decoder=decoder)
        for take, sound in zip(batch, sounds, strict=True):
            write_audio(folder / f"{take.id}.wav", sound, codec.sample_rate)
        done += len(batch)
        print(f"{done} of {len(takes)} utterances, {time.monotonic() - started:.0f} s", flush=True)
    return [Utterance(t.id, t.voice, str(lasting / f"{t.id}.wav"), text=t.source.text) for t in takes]


def join(options: argparse.Namespace) -> None:
    """OUT of all parts, which stay where they are."""
    out: Path = options.out.absolute()
    parts = [part_of(out, job) for job in range(1, options.jobs + 1)]
    for part in parts:
        if not part.is_dir():  # it appears when all of it is there
            raise BadDataError(f"{part}: missing; run all {options.jobs} jobs first")
    making = part_of(out, "joined")
    shutil.rmtree(making, ignore_errors=True)
    for part in parts:
        for file in part.glob("*/*"):
            (making / file.parent.name).mkdir(parents=True, exist_ok=True)
            os.link(file, making / file.parent.name / file.name)
    utterances = sorted((u for part in parts for u in DataDir.read(part).utterances), key=lambda u: u.id.encode())
    DataDir(tuple(utterances)).write(making)
    if (making / "codes").exists():
        lines = (f"{u.id} {out / 'codes' / u.id}.codes\n" for u in utterances)
        (making / "codes.scp").write_text("".join(lines), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    making.rename(out)
    print(f"{out}: {len(utterances)} utterances")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["encode", "reconstruct", "convert", "join"])
    parser.add_argument("--model", help="model folder")
    parser.add_argument("--data", type=Path, help="data directory of the originals")
    parser.add_argument("--codes", type=Path, help="folder of their .codes files, to be decoded")
    parser.add_argument("--out", type=Path, required=True, help="data directory to make")
    parser.add_argument("--job", type=int, default=1, help="which part to make, from 1 on")
    parser.add_argument("--jobs", type=int, default=1, help="parts in all")
    parser.add_argument("--decoder", help="one of the model's; the first if not given")
    parser.add_argument("--seed", type=int, default=0, help="of noise and sampling, as of `audiovq decode`")
    options = parser.parse_args()
    if options.what != "join" and not (options.model and options.data):
        parser.error("--model and --data are needed")
    if options.what in ("reconstruct", "convert") and options.codes is None:
        parser.error("--codes is needed: the folder that `encode` left")
    if not 1 <= options.job <= options.jobs:
        parser.error(f"--job {options.job} is not one of {options.jobs}")
    try:
        join(options) if options.what == "join" else make_part(options)
    except AudioVQError as error:
        sys.exit(f"resynthesize.py: error: {error}")


if __name__ == "__main__":
    main()
