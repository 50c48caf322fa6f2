#!/usr/bin/env python3
"""The utterances of a data directory through a model and back to sound, in their own voices or in others'.

    resynthesize.py reconstruct --model exp/vqvae/models/best --data data/test --out exp/vqvae/reconstruct/test
    resynthesize.py convert     --model exp/vqvae/models/best --data data/test --out exp/vqvae/convert/test

`convert` gives each speaker's utterances to the other speakers in turn. OUT is a data directory again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from audiovq.data.kaldi import DataDir
from audiovq.errors import AudioVQError
from audiovq.evaluate.resynthesis import Take, resynthesize, rotated_voices


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["reconstruct", "convert"])
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--data", type=Path, required=True, help="data directory of the originals")
    parser.add_argument("--out", type=Path, required=True, help="data directory to make")
    parser.add_argument("--nj", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--batch-size", type=int, default=50, help="utterances that are sampled in lockstep")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()

    def progress(done: int, total: int) -> None:
        print(f"{done} of {total} utterances, {time.monotonic() - started:.0f} s", flush=True)

    try:
        data = DataDir.read(options.data)
        own_voices = [Take(u.id, u.speaker, u) for u in data.utterances]
        takes = rotated_voices(data) if options.what == "convert" else own_voices
        how = {"nj": options.nj, "batch_size": options.batch_size, "seed": options.seed}
        made = resynthesize(options.model, takes, options.out, progress=progress, **how)
    except AudioVQError as error:
        sys.exit(f"resynthesize.py: error: {error}")
    print(f"{options.out}: " + (f"{len(takes)} utterances" if made else "made from the same before, nothing to do"))


if __name__ == "__main__":
    main()
