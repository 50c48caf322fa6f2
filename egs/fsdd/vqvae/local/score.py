#!/usr/bin/env python3
"""The tables of RESULTS.md: likelihoods, use of codes, distances to the original, digits and speakers recognised.

    score.py --model exp/vqvae/models/best --nocodes exp/nocodes/models/best --data data --pack dump/test \\
             --reconstructed exp/vqvae/reconstruct_best/test --converted exp/vqvae/convert_best/test --out scores

writes scores.md and scores.json, and prints the former. Digits are recognised by the nearest of 4 training utterances
of each digit and speaker under DTW, speakers by a linear discriminant; both know original recordings only.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq import AudioVQVAE, load_model
from audiovq.audio.mulaw import mulaw_decode, mulaw_encode
from audiovq.data.files import atomic_output
from audiovq.data.kaldi import DataDir, Utterance
from audiovq.data.pack import PackedCorpus
from audiovq.errors import AudioVQError
from audiovq.evaluate.discriminant import LinearDiscriminant
from audiovq.evaluate.dtw import dtw_distances, nearest_labels
from audiovq.evaluate.features import voice_features, word_features
from audiovq.evaluate.interval import share_interval
from audiovq.evaluate.likelihood import measure_likelihood
from audiovq.evaluate.metrics import metrics_for
from audiovq.evaluate.resynthesis import mono, original_of
from audiovq.evaluate.scores import ALL, score_file, summarize
from audiovq.evaluate.table import markdown, number, summary_table, to_json
from audiovq.quantize import CodeUsage

Features = list[NDArray[np.float32]]
Table = tuple[str, dict[str, Any]]  # Markdown, and its figures for JSON
TEMPLATES = 4  # of each digit and speaker


@dataclass(frozen=True)
class Speech:
    """Utterances and their sound `[T]`, in the same order."""

    utterances: Sequence[Utterance]
    sounds: list[NDArray[np.float32]]

    @classmethod
    def read(cls, utterances: Sequence[Utterance], rate: int) -> Speech:
        return cls(utterances, [mono(u, rate) for u in utterances])

    @property
    def speakers(self) -> list[str]:
        return [u.speaker for u in self.utterances]

    @property
    def digits(self) -> list[str]:
        return [u.text or "" for u in self.utterances]


def likelihood_table(model: AudioVQVAE, nocodes: AudioVQVAE, pack: PackedCorpus) -> Table:
    """Bits per sample with own, shuffled and no codes."""
    runs: list[tuple[str, AudioVQVAE, Literal["own", "shuffled", "none"]]] = [
        ("VQ-VAE, own codes", model, "own"),
        ("VQ-VAE, another utterance's codes", model, "shuffled"),
        ("the same WaveNet trained without codes", nocodes, "none"),
    ]
    rows: list[list[str]] = []
    tree: dict[str, Any] = {}
    for title, network, codes in runs:
        found = measure_likelihood(network, pack, codes)
        elbo = "-" if codes == "shuffled" else f"{found.elbo_bits:.3f}"
        rows.append([title, number(found.reconstruction_bits, *found.interval, 3), elbo])
        tree[codes] = {"bits_per_sample": found.reconstruction_bits, "interval_95": found.interval}
        tree[codes]["code_bits_per_sample"] = found.code_bits
    return markdown(["model", "-log2 p(x), bits/sample", "ELBO, bits/sample"], rows), tree


def usage_table(model: AudioVQVAE, codes: Sequence[torch.Tensor]) -> Table:
    """Perplexity and usage over all codes of the test set."""
    usage = CodeUsage(model.codebook_sizes)
    for one in codes:
        usage.update(one.unsqueeze(0))
    figures = {name: values.tolist() for name, values in usage.compute().items()}
    rows = []
    for level, size in enumerate(model.codebook_sizes):
        used, perplexity = f"{figures['usage'][level]:.1%}", f"{figures['perplexity'][level]:.1f}"
        rows.append([str(level), str(size), used, perplexity, f"{model.frame_rate * math.log2(size):.0f}"])
    return markdown(["level", "codebook size", "used", "perplexity", "bits/s"], rows), figures


def distance_table(originals: Speech, reconstructed: Speech, rate: int) -> Table:
    """Distances of the reconstructions, and of what 8-bit mu-law alone does to the originals."""
    companded = [mulaw_decode(mulaw_encode(torch.from_numpy(x))).numpy() for x in originals.sounds]
    summaries, tree = {}, {}
    for title, outputs in (("reconstructed", reconstructed.sounds), ("original in 8-bit mu-law", companded)):
        triples = zip(originals.utterances, originals.sounds, outputs, strict=True)
        summaries[title] = summarize([score_file(u.id, x, y, rate) for u, x, y in triples])[ALL]
        tree[title] = {name: asdict(summary) for name, summary in summaries[title].items()}
    return summary_table(summaries, metrics_for(rate)), tree


def digit_table(queries: dict[str, tuple[Speech, Features, Features]], templates: Speech) -> Table:
    """Digits recognised. Queries: title -> (what was said, its features, the same features of the templates)."""
    voices = np.array(templates.speakers)
    rows, tree = [], {}
    for title, (speech, features, template_features) in queries.items():
        distances = dtw_distances(features, template_features)
        strangers = np.array(speech.speakers)[:, None] != voices
        found = [nearest_labels(distances, templates.digits, allowed=allowed) for allowed in (None, strangers)]
        hits = [sum(a == b for a, b in zip(labels, speech.digits, strict=True)) for labels in found]
        rows.append([title, *(share(h, len(speech.digits)) for h in hits)])
        tree[title] = {"all_speakers": hits[0] / len(features), "other_speakers": hits[1] / len(features)}
    rows.append(["chance", *[f"{1 / len(set(templates.digits)):.1%}"] * 2])
    return markdown(["digits recognised in", "templates of all speakers", "of other speakers only"], rows), tree


def speaker_table(sets: dict[str, tuple[Speech, list[str]]], train: Speech, rate: int) -> Table:
    """Who is heard. Sets: title -> (speech in the voice that was asked for, the speakers it was made from)."""
    classifier = LinearDiscriminant(np.stack([voice_features(x, rate) for x in train.sounds]), train.speakers)
    rows, tree = [], {}
    for title, (speech, sources) in sets.items():
        heard = classifier.predict(np.stack([voice_features(x, rate) for x in speech.sounds]))
        hits = [sum(a == b for a, b in zip(heard, names, strict=True)) for names in (speech.speakers, sources)]
        rows.append([title, *(share(h, len(heard)) for h in hits)])
        tree[title] = {"asked_for": hits[0] / len(heard), "source": hits[1] / len(heard)}
    rows.append(["chance", *[f"{1 / len(classifier.classes):.1%}"] * 2])
    return markdown(["speaker heard in", "is the one asked for", "is the source's"], rows), tree


def share(hits: int, count: int) -> str:
    """Percentage with its 95 % interval."""
    low, high = share_interval(hits, count)
    return f"{hits / count:.1%} [{low:.1%}, {high:.1%}]"


def chosen_templates(train: DataDir) -> list[Utterance]:
    """Of each digit and speaker the same few, spread evenly."""
    groups: dict[tuple[str, str | None], list[Utterance]] = defaultdict(list)
    for u in train.utterances:
        groups[u.speaker, u.text].append(u)
    return [g[k * len(g) // TEMPLATES] for g in groups.values() for k in range(min(TEMPLATES, len(g)))]


@torch.inference_mode()
def score(options: argparse.Namespace) -> dict[str, Table]:
    """All tables by title."""
    model, nocodes = load_model(options.model), load_model(options.nocodes)
    rate = model.sample_rate
    train = DataDir.read(options.data / "train")
    templates = Speech.read(chosen_templates(train), rate)
    original, reconstructed, converted = (
        Speech.read(DataDir.read(path).utterances, rate)
        for path in (options.data / "test", options.reconstructed, options.converted)
    )

    def codes_of(speech: Speech) -> list[torch.Tensor]:
        return [model.encode(torch.from_numpy(x).view(1, 1, -1))[0] for x in speech.sounds]

    def vectors_of(codes: list[torch.Tensor]) -> Features:
        return [model.quantizer.decode(one.unsqueeze(0))[0].T.numpy() for one in codes]

    def mfcc_of(speech: Speech) -> Features:
        return [word_features(x, rate) for x in speech.sounds]

    codes, known = codes_of(original), mfcc_of(templates)
    queries = {
        "codes of the originals": (original, vectors_of(codes), vectors_of(codes_of(templates))),
        "originals, MFCC": (original, mfcc_of(original), known),
        "reconstructed, MFCC": (reconstructed, mfcc_of(reconstructed), known),
        "converted, MFCC": (converted, mfcc_of(converted), known),
    }
    by_id = {u.id: u for u in original.utterances}
    voices = {
        "originals": (original, original.speakers),
        "reconstructed": (reconstructed, reconstructed.speakers),
        "converted": (converted, [original_of(u, by_id).speaker for u in converted.utterances]),
    }
    return {
        "Likelihood": likelihood_table(model, nocodes, PackedCorpus.open(options.pack)),
        "Codes": usage_table(model, codes),
        "Distance": distance_table(original, reconstructed, rate),
        "Digits": digit_table(queries, templates),
        "Speakers": speaker_table(voices, Speech.read(train.utterances, rate), rate),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the VQ-VAE")
    parser.add_argument("--nocodes", required=True, help="folder of the model without codes")
    parser.add_argument("--data", type=Path, required=True, help="data directories train and test")
    parser.add_argument("--pack", type=Path, required=True, help="the packed test set")
    parser.add_argument("--reconstructed", type=Path, required=True, help="data directory of the reconstructions")
    parser.add_argument("--converted", type=Path, required=True, help="data directory of the conversions")
    parser.add_argument("--out", type=Path, required=True, help="OUT.md and OUT.json are written")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        tables = score(options)
        text = "\n\n".join(f"## {title}\n\n{table}" for title, (table, _) in tables.items()) + "\n"
        tree = {"model": options.model, **{title.lower(): figures for title, (_, figures) in tables.items()}}
        for suffix, content in ((".md", text), (".json", to_json(tree))):
            with atomic_output(f"{options.out}{suffix}", force=True) as temporary:
                temporary.write_text(content, encoding="utf-8")
    except AudioVQError as error:
        sys.exit(f"score.py: error: {error}")
    print(text, end="")


if __name__ == "__main__":
    main()
