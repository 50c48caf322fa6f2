"""Codes of speech at any codebook size and frame rate, for priors: k-means of the latents of a codec's encoder.

    python benchmarks/kmeans_codes.py PACK... --out DIR [--codec M] [--sizes 64 1024] [--stack 1 2] [--fit 30000]

For each codebook size K and each number of frames that are stacked into one, DIR/kK-RHz gets a `.codes` file for each
utterance. Codebooks are fitted on the first pack alone. There is no decoder for these codes: they serve
`audiovq prior`, to see how bits per code change with K and the frame rate.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import harness  # before torch: it sets the number of threads
import numpy as np
import torch

from audiovq.audio import AudioVQVAE, load_model
from audiovq.bitstream import FINGERPRINT_BYTES, AudioHeader, write_codes
from audiovq.data.corpus.packed import PackedCorpus
from audiovq.quantize.search.kmeans import kmeans
from audiovq.quantize.search.nearest import nearest


@torch.inference_mode()
def latents(model: AudioVQVAE, corpus: PackedCorpus, stack: int) -> list[torch.Tensor]:
    """z_e of each utterance, `stack` frames in one: `[F / stack, stack * D]`."""
    found = []
    for i in range(len(corpus)):
        z = model.encoder(torch.from_numpy(corpus.read(i)).view(1, 1, -1))[0].T
        found.append(z[: len(z) // stack * stack].reshape(-1, stack * z.shape[1]))
    return found


def write(folder: Path, name: str, codes: torch.Tensor, codebook: torch.Tensor, model: AudioVQVAE, stack: int) -> None:
    """One utterance's codes `[F]`; the codebook's own fingerprint tells these codes from all others."""
    header = AudioHeader(
        model=f"kmeans-{len(codebook)}",
        fingerprint=hashlib.sha256(codebook.numpy().tobytes()).digest()[:FINGERPRINT_BYTES],
        sample_rate=model.sample_rate,
        channels=1,
        num_samples=len(codes) * model.hop_length * stack,
        model_sample_rate=model.sample_rate,
        hop_length=model.hop_length * stack,
        frames_per_packet=max(1, round(model.frame_rate / stack)),
        codebook_sizes=(len(codebook),),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_codes(folder / f"{name}.codes", header, codes.numpy()[None, None], force=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packs", nargs="+", type=Path, metavar="PACK", help="from `audiovq data pack`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--codec", default="speech-16k")
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 1024], metavar="K")
    parser.add_argument("--stack", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--fit", type=int, default=30_000, help="vectors that k-means sees (30000)")
    chosen = parser.parse_args(arguments)
    harness.pin()
    model = load_model(chosen.codec)
    for stack in chosen.stack:
        corpora = [PackedCorpus.open(pack) for pack in chosen.packs]
        vectors = [latents(model, corpus, stack) for corpus in corpora]
        pool = torch.cat(vectors[0])
        picked = np.random.default_rng(0).permutation(len(pool))[: chosen.fit]
        for size in chosen.sizes:
            torch.manual_seed(0)
            codebook, _ = kmeans(pool[picked], size, torch.ones(len(picked), dtype=torch.bool))
            for pack, corpus, items in zip(chosen.packs, corpora, vectors, strict=True):
                folder = chosen.out / f"k{size}-{model.frame_rate / stack:g}Hz" / pack.name
                for utterance, z in zip(corpus.utterances, items, strict=True):
                    write(folder, utterance.id, nearest(z, codebook), codebook, model, stack)
            print(f"K = {size}, {model.frame_rate / stack:g} Hz: {len(pool):,} frames in {chosen.packs[0]}", flush=True)


if __name__ == "__main__":
    main()
