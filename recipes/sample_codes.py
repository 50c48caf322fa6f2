#!/usr/bin/env python3
"""Draws codes from a prior and decodes them: as many items as a set has, of its lengths, labels and voices.

    sample_codes.py --prior exp/vqvae/prior_best/text --model exp/vqvae/models/best --labels data/eval/text \\
                    --data data/eval --codes exp/vqvae/codes_best/eval/codes --out exp/vqvae/samples_best/text

OUT becomes a data directory of the sound, where `text` and `utt2spk` say what was asked for, with the codes in
OUT/codes.npz.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from audiovq.cli.prior.codes import read_labels
from audiovq.codec import Codec
from audiovq.codec.sampled import recording_of
from audiovq.data.audio import write_audio
from audiovq.data.files import atomic_folder
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import AudioVQError, BadDataError
from audiovq.prior import Prior, load_prior, sample
from audiovq.prior.base import Codes
from audiovq.prior.collection import read_collection
from audiovq.prior.sampling import uniform_streams

BATCH_SIZE = 50  # that an autoregressive decoder draws in step


def draw(prior: Prior, lengths: dict[str, int], labels: dict[str, str], seed: int, top_p: float) -> dict[str, Codes]:
    """Codes `[Q, F]` of each item, those of a label in step; a seed for each label."""
    groups: dict[str | None, list[str]] = {}
    for name in lengths:
        groups.setdefault(labels[name] if prior.spec.labels else None, []).append(name)
    drawn = {}
    for label, names in groups.items():
        longest = max(lengths[name] for name in names)
        own_seed = zlib.crc32(f"{seed} {label}".encode())
        uniforms = uniform_streams(own_seed, len(names), longest, prior.spec.num_quantizers)
        for name, codes in zip(names, sample(prior, uniforms, (longest,), label=label, top_p=top_p), strict=True):
            drawn[name] = codes[:, : lengths[name]]
    return drawn


def make(options: argparse.Namespace) -> None:
    """All of OUT, which appears when it is whole."""
    started = time.monotonic()
    prior, codec = load_prior(options.prior), Codec.from_pretrained(options.model, "cpu")
    utterances = {u.id: u for u in DataDir.read(options.data).utterances}
    items = {item.name: item for item in read_collection([str(options.codes)]).items}
    if missing := sorted(set(utterances) - set(items)):
        raise BadDataError(f"{options.codes}: no codes of {missing[0]}; encode {options.data} again")
    labels = read_labels(options.labels) or {}
    if prior.spec.labels and (missing := sorted(set(utterances) - set(labels))):
        raise BadDataError(f"{options.labels}: no label of {missing[0]}; add a line for it")
    codes = draw(prior, {name: items[name].codes.shape[1] for name in utterances}, labels, options.seed, options.top_p)
    print(f"{len(codes)} items drawn, {time.monotonic() - started:.0f} s", flush=True)

    out: Path = options.out.absolute()
    names = sorted(codes, key=lambda name: codes[name].shape[1])  # like with like, so that little is padding
    with atomic_folder(out) as making:
        (making / "wav").mkdir()
        for batch in (names[i : i + BATCH_SIZE] for i in range(0, len(names), BATCH_SIZE)):
            voices = [utterances[name].speaker if codec.model.speakers else None for name in batch]
            recordings = [recording_of(codec, codes[name]) for name in batch]
            sounds = codec.decode_many(recordings, speakers=voices, seed=options.seed, decoder=options.decoder)
            for name, sound in zip(batch, sounds, strict=True):
                write_audio(making / "wav" / f"{name}.wav", sound, codec.sample_rate)
        np.savez(making / "codes.npz", **codes)
        DataDir(tuple(_at(u, out / "wav" / f"{name}.wav") for name, u in utterances.items())).write(making)
    print(f"{out}: {len(codes)} items, {time.monotonic() - started:.0f} s")


def _at(utterance: Utterance, path: Path) -> Utterance:
    return replace(utterance, recording=str(path), start=0.0, end=None, recording_id="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path, required=True, help="folder of the prior")
    parser.add_argument("--model", required=True, help="folder of the model that decodes")
    parser.add_argument("--decoder", help="one of the model's; the first if not given")
    parser.add_argument(
        "--data", type=Path, required=True, help="data directory whose ids, texts and speakers are used"
    )
    parser.add_argument("--codes", type=Path, required=True, help="folder of its codes, whose lengths are used")
    parser.add_argument("--labels", type=Path, help="lines of <item> <label>, for a prior that takes one")
    parser.add_argument("--top-p", type=float, default=1.0, help="draw from the fewest codes of this probability (1)")
    parser.add_argument("--seed", type=int, default=0, help="of codes and sound")
    parser.add_argument("--out", type=Path, required=True, help="data directory to make")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        make(options)
    except AudioVQError as error:
        sys.exit(f"sample_codes.py: error: {error}")


if __name__ == "__main__":
    main()
