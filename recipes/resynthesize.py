#!/usr/bin/env python3
"""The utterances of a data directory through a model and back to sound, or to codes only, in N jobs.

    resynthesize.py reconstruct --model exp/vqvae/models/best --data data/eval --out exp/made/eval --job 1 --jobs 4
    resynthesize.py convert     --model exp/vqvae/models/best --data data/eval --out exp/made/eval --job 1 --jobs 4
    resynthesize.py encode      --model exp/vqvae/models/best --data data/eval --out exp/made/eval --job 1 --jobs 4
    resynthesize.py join --out exp/made/eval --jobs 4

Each job leaves its part in OUT.parts, where one that is started again finds it; `join` makes OUT of the parts: a data
directory, with its `.codes` files too if the own voices were asked for. `reconstruct` keeps the voices, `convert` gives
each speaker's utterances to the other speakers in turn; `encode` makes no sound, only codes.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from audiovq.data.kaldi.datadir import DataDir
from audiovq.errors import AudioVQError, BadDataError

if TYPE_CHECKING:  # `join` does without torch
    from audiovq.evaluate.resynthesis import Take

BATCH_SIZE = 50  # utterances that an autoregressive decoder runs in lockstep


def part_of(out: Path, job: int) -> Path:
    return out.with_name(f"{out.name}.parts") / str(job)


def takes_of(what: str, data: DataDir, job: int, jobs: int) -> list[Take]:
    """The takes of one job: whole batches, dealt in turn."""
    from audiovq.evaluate.resynthesis import Take, in_batches, rotated_voices

    takes = rotated_voices(data) if what == "convert" else [Take(u.id, u.speaker, u) for u in data.utterances]
    batch_size = min(BATCH_SIZE, math.ceil(len(takes) / jobs))
    return [take for batch in in_batches(takes, batch_size)[job - 1 :: jobs] for take in batch]


def make_part(options: argparse.Namespace) -> None:
    """Job `options.job` of `options.jobs`."""
    import torch

    from audiovq.evaluate.resynthesis import resynthesize

    torch.set_num_threads(1)
    started = time.monotonic()

    def progress(done: int, total: int) -> None:
        print(f"{done} of {total} utterances, {time.monotonic() - started:.0f} s", flush=True)

    takes = takes_of(options.what, DataDir.read(options.data), options.job, options.jobs)
    if not takes:
        raise BadDataError(f"{options.data}: fewer utterances than the {options.jobs} jobs; give a smaller --nj")
    if options.what == "encode":
        encode_part(options, takes)
        return
    how = {"batch_size": BATCH_SIZE, "seed": options.seed, "decoder": options.decoder}
    part = part_of(options.out, options.job)
    resynthesize(options.model, takes, part, progress=progress, **how)
    if options.what == "reconstruct" and not (part / "codes").is_dir():
        write_codes(options.model, takes, part)
    print(f"{len(takes)} utterances are there, {time.monotonic() - started:.0f} s")


def encode_part(options: argparse.Namespace, takes: list[Take]) -> None:
    """A part of codes alone, made anew if it is there: what it was made of is not known."""
    part = part_of(options.out, options.job)
    making = part.with_name(f".{part.name}.making")
    for folder in (part, making):
        shutil.rmtree(folder, ignore_errors=True)
    making.mkdir(parents=True)
    write_codes(options.model, takes, making)
    DataDir(tuple(take.source for take in takes)).write(making)
    making.rename(part)
    print(f"{len(takes)} utterances are encoded")


def write_codes(model: str, takes: list[Take], part: Path) -> None:
    """The `.codes` files of all takes."""
    from audiovq.codec import Codec
    from audiovq.evaluate.resynthesis import mono

    codec = Codec.from_pretrained(model, "cpu")
    making = part / "codes.making"
    making.mkdir(exist_ok=True)
    for take in takes:
        speaker = take.voice if take.voice in codec.model.speakers else None
        sound = mono(take.source, codec.sample_rate)[None]
        (making / f"{take.id}.codes").write_bytes(codec.compress(sound, codec.sample_rate, speaker=speaker))
    making.rename(part / "codes")


def join(options: argparse.Namespace) -> None:
    """OUT of all parts, which stay where they are."""
    out: Path = options.out.absolute()
    parts = [part_of(out, job) for job in range(1, options.jobs + 1)]
    for part in parts:
        if not part.is_dir():  # it appears when all of it is there
            raise BadDataError(f"{part}: missing; run all {options.jobs} jobs first")
    making = out.with_name(f".{out.name}.joining")
    shutil.rmtree(making, ignore_errors=True)
    utterances = []
    for part in parts:
        for u in DataDir.read(part).utterances:
            sound = str(out / "wav" / f"{u.id}.wav") if (part / "wav").exists() else u.recording
            utterances.append(replace(u, recording=sound))
        for folder in ("wav", "codes"):
            if (part / folder).exists():
                (making / folder).mkdir(parents=True, exist_ok=True)
                for file in (part / folder).iterdir():
                    os.link(file, making / folder / file.name)
    DataDir(tuple(utterances)).write(making)
    if (making / "codes").exists():
        lines = (f"{u.id} {out / 'codes' / u.id}.codes\n" for u in sorted(utterances, key=lambda u: u.id.encode()))
        (making / "codes.scp").write_text("".join(lines), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    making.rename(out)
    print(f"{out}: {len(utterances)} utterances")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["reconstruct", "convert", "encode", "join"])
    parser.add_argument("--model", help="model folder")
    parser.add_argument("--data", type=Path, help="data directory of the originals")
    parser.add_argument("--out", type=Path, required=True, help="data directory to make")
    parser.add_argument("--job", type=int, default=1, help="which part to make, from 1 on")
    parser.add_argument("--jobs", type=int, default=1, help="parts in all")
    parser.add_argument("--decoder", help="one of the model's; the first if not given")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling")
    options = parser.parse_args()
    if options.what != "join" and not (options.model and options.data):
        parser.error("--model and --data are needed")
    if not 1 <= options.job <= options.jobs:
        parser.error(f"--job {options.job} is not one of {options.jobs}")
    try:
        join(options) if options.what == "join" else make_part(options)
    except AudioVQError as error:
        sys.exit(f"resynthesize.py: error: {error}")


if __name__ == "__main__":
    main()
