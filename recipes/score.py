#!/usr/bin/env python3
"""The tables of a recipe's RESULTS.md: likelihood, codes, distance to the original, words and voices recognised.

    score.py --model exp/vqvae/models/best --data data/eval --train data/train --pack dump/16000/eval \\
             --codes exp/vqvae/codes_best/eval/codes \\
             --reconstructed exp/vqvae/reconstruct_best/eval --converted exp/vqvae/convert_best/eval --out scores

writes results.md and scores.json into OUT, and prints the former. Everything that recognises knows original recordings
only.
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
from resynthesize import original_of

from audiovq import AudioVQVAE, load_model
from audiovq.audio import WaveNetDecoder
from audiovq.audio.mulaw import mulaw_decode, mulaw_encode
from audiovq.bitstream import read_codes
from audiovq.data.corpus.packed import PackedCorpus
from audiovq.data.files import atomic_output
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.data.resampling import resample
from audiovq.errors import AudioVQError
from audiovq.evaluate.likelihood import measure_likelihood
from audiovq.metrics.interval import share_interval
from audiovq.metrics.scores import ALL, score_file, summarize
from audiovq.metrics.speech import metrics_for
from audiovq.metrics.table import markdown, number, summary_table, to_json
from audiovq.prior.coder import coder_at_hand
from audiovq.quantize import CodeUsage
from studies.recognition.discriminant import LinearDiscriminant
from studies.recognition.dtw import dtw_distances, nearest_labels
from studies.recognition.features import voice_features, word_features

Features = list[NDArray[np.float32]]
Table = tuple[str, dict[str, Any]]  # Markdown, and its figures for JSON
SENTENCES = 40  # originals among which a sentence is looked for; the work grows with the square
VOICE_CLIPS = 5000  # training recordings that voices are learnt from, at most


@dataclass(frozen=True)
class Speech:
    """Utterances and their sound `[T]`, in the same order."""

    utterances: Sequence[Utterance]
    sounds: list[NDArray[np.float32]]

    @classmethod
    def read(cls, utterances: Sequence[Utterance], rate: int) -> Speech:
        return cls(utterances, [u.mono(rate) for u in utterances])

    def choose(self, places: Sequence[int]) -> Speech:
        return Speech([self.utterances[i] for i in places], [self.sounds[i] for i in places])

    @property
    def speakers(self) -> list[str]:
        return [u.speaker for u in self.utterances]

    @property
    def texts(self) -> list[str]:
        return [u.text or "" for u in self.utterances]


@dataclass(frozen=True)
class Material:
    """All that is scored: `codes` `[Q, F]` are those of the originals, `sources` the originals of `converted`."""

    model: AudioVQVAE
    original: Speech
    codes: list[torch.Tensor]
    reconstructed: Speech
    converted: Speech | None
    sources: list[Utterance]

    @property
    def rate(self) -> int:
        return self.model.sample_rate


def likelihood_table(model: AudioVQVAE, nocodes: AudioVQVAE | None, pack: PackedCorpus) -> Table:
    """Bits per sample with own, shuffled and no codes."""
    runs: list[tuple[str, AudioVQVAE, Literal["own", "shuffled", "none"]]] = [
        ("VQ-VAE, own codes", model, "own"),
        ("VQ-VAE, another utterance's codes", model, "shuffled"),
    ]
    if nocodes is not None:
        runs.append(("the same WaveNet trained without codes", nocodes, "none"))
    rows: list[list[str]] = []
    tree: dict[str, Any] = {}
    for title, network, codes in runs:
        found = measure_likelihood(network, pack, codes)
        elbo = "-" if codes == "shuffled" else f"{found.elbo_bits:.3f}"
        rows.append([title, number(found.reconstruction_bits, *found.interval, 3), elbo])
        tree[codes] = {"bits_per_sample": found.reconstruction_bits, "interval_95": found.interval}
        tree[codes]["code_bits_per_sample"] = found.code_bits
    return markdown(["model", "-log2 p(x), bits/sample", "ELBO, bits/sample"], rows), tree


def usage_table(model: AudioVQVAE, codes: Sequence[torch.Tensor], file_kbps: float) -> Table:
    """Perplexity and usage over all codes of the set, at the levels they have, and what the files take."""
    sizes = model.codebook_sizes[: len(codes[0])]
    usage = CodeUsage(sizes)
    for one in codes:
        usage.update(one.unsqueeze(0))
    figures = {name: values.tolist() for name, values in usage.compute().items()} | {"file_kbps": file_kbps}
    rows = []
    for level, size in enumerate(sizes):
        used, perplexity = f"{figures['usage'][level]:.1%}", f"{figures['perplexity'][level]:.1f}"
        rows.append([str(level), str(size), used, perplexity, f"{model.frame_rate * math.log2(size):.0f}"])
    table = markdown(["level", "codebook size", "used", "perplexity", "bits/s"], rows)
    return f"{table}\n\nThe .codes files take {file_kbps:.3f} kbit/s, headers and all.", figures


def distance_table(material: Material, *, companded: bool) -> Table:
    """Distances of the reconstructions, and (`companded`) of what 8-bit mu-law alone does to the originals."""
    original, outputs = material.original, {"reconstructed": material.reconstructed.sounds}
    if companded:
        sounds = [mulaw_decode(mulaw_encode(torch.from_numpy(x))).numpy() for x in original.sounds]
        outputs["original in 8-bit mu-law"] = sounds
    rate = 16000 if material.rate >= 16000 else 8000
    summaries, tree = {}, {}
    for title, sounds in outputs.items():
        scores = []
        for u, x, y in zip(original.utterances, original.sounds, sounds, strict=True):
            reference, decoded = (resample(z[None], material.rate, rate)[0] for z in (x, y))
            scores.append(score_file(u.id, reference, decoded, rate))
        summaries[title] = summarize(scores)[ALL]
        tree[title] = {name: asdict(summary) for name, summary in summaries[title].items()}
    return summary_table(summaries, metrics_for(rate)), tree


def word_table(material: Material, templates: Speech) -> Table:
    """Words recognised by their nearest templates: of all speakers, and of other speakers than the one who is heard."""
    model, original = material.model, material.original

    def vectors_of(codes: Sequence[torch.Tensor]) -> Features:
        return [model.quantizer.decode(one.unsqueeze(0))[0].T.numpy() for one in codes]

    def mfcc_of(speech: Speech) -> Features:
        return [word_features(x, material.rate) for x in speech.sounds]

    known, levels = mfcc_of(templates), len(material.codes[0])
    own = [model.encode(torch.from_numpy(x).view(1, 1, -1), levels)[0] for x in templates.sounds]
    queries = {
        "codes of the originals": (original, vectors_of(material.codes), vectors_of(own)),
        "originals, MFCC": (original, mfcc_of(original), known),
        "reconstructed, MFCC": (material.reconstructed, mfcc_of(material.reconstructed), known),
    }
    if material.converted is not None:
        queries["converted, MFCC"] = (material.converted, mfcc_of(material.converted), known)
    voices = np.array(templates.speakers)
    rows, tree = [], {}
    for title, (speech, features, template_features) in queries.items():
        distances = dtw_distances(features, template_features)
        strangers = np.array(speech.speakers)[:, None] != voices
        found = [nearest_labels(distances, templates.texts, allowed=allowed) for allowed in (None, strangers)]
        hits = [sum(a == b for a, b in zip(labels, speech.texts, strict=True)) for labels in found]
        rows.append([title, *(share(h, len(speech.texts)) for h in hits)])
        tree[title] = {"all_speakers": hits[0] / len(features), "other_speakers": hits[1] / len(features)}
    rows.append(["chance", *[f"{1 / len(set(templates.texts)):.1%}"] * 2])
    return markdown(["word recognised in", "templates of all speakers", "of other speakers only"], rows), tree


def sentence_table(material: Material) -> Table:
    """How often the nearest of some originals is the one that a reconstruction or a conversion was made from."""
    places = evenly(len(material.original.utterances), SENTENCES)
    originals = material.original.choose(places)
    ids = [u.id for u in originals.utterances]
    known = [word_features(x, material.rate) for x in originals.sounds]
    queries = {"reconstructed": (material.reconstructed.choose(places), ids)}
    if material.converted is not None:
        chosen = [i for i, source in enumerate(material.sources) if source.id in set(ids)]
        queries["converted"] = (material.converted.choose(chosen), [material.sources[i].id for i in chosen])
    rows, tree = [], {}
    for title, (speech, wanted) in queries.items():
        distances = dtw_distances([word_features(x, material.rate) for x in speech.sounds], known)
        hits = sum(a == b for a, b in zip(nearest_labels(distances, ids), wanted, strict=True))
        rows.append([title, share(hits, len(wanted))])
        tree[title] = {"found": hits / len(wanted), "among": len(ids)}
    rows.append(["chance", f"{1 / len(ids):.1%}"])
    return markdown(["sentence", f"nearest of {len(ids)} originals is its own"], rows), tree


def speaker_table(material: Material, train: Speech) -> Table:
    """Who is heard, by a linear discriminant on means and deviations of MFCCs over a recording."""
    rate, own = material.rate, material.original.speakers
    classifier = LinearDiscriminant(np.stack([voice_features(x, rate) for x in train.sounds]), train.speakers)
    sets = {"originals": (material.original, own), "reconstructed": (material.reconstructed, own)}
    if material.converted is not None:
        sets["converted"] = (material.converted, [source.speaker for source in material.sources])
    rows, tree = [], {}
    for title, (speech, sources) in sets.items():
        recognised = classifier.predict(np.stack([voice_features(x, rate) for x in speech.sounds]))
        hits = [sum(a == b for a, b in zip(recognised, names, strict=True)) for names in (speech.speakers, sources)]
        rows.append([title, *(share(h, len(recognised)) for h in hits)])
        tree[title] = {"asked_for": hits[0] / len(recognised), "source": hits[1] / len(recognised)}
    rows.append(["chance", *[f"{1 / len(classifier.classes):.1%}"] * 2])
    return markdown(["speaker heard in", "is the one asked for", "is the source's"], rows), tree


def share(hits: int, count: int) -> str:
    """Percentage with its 95 % interval."""
    low, high = share_interval(hits, count)
    return f"{hits / count:.1%} [{low:.1%}, {high:.1%}]"


def evenly(count: int, most: int) -> list[int]:
    """Indices of at most so many of `count` things."""
    return [k * count // min(count, most) for k in range(min(count, most))]


def chosen_templates(train: DataDir, each: int) -> list[Utterance]:
    """Of each word and speaker the same few, spread evenly."""
    groups: dict[tuple[str, str | None], list[Utterance]] = defaultdict(list)
    for u in train.utterances:
        groups[u.speaker, u.text].append(u)
    return [g[i] for g in groups.values() for i in evenly(len(g), each)]


def read_material(options: argparse.Namespace) -> Material:
    """The model, and the sets as sound at its rate."""
    model = load_model(options.model)
    original, reconstructed = (
        Speech.read(DataDir.read(path).utterances, model.sample_rate) for path in (options.data, options.reconstructed)
    )
    files = [read_codes(options.codes / f"{u.id}.codes", coder_at_hand) for u in original.utterances]
    codes = [torch.from_numpy(found[0]) for _, found in files]  # of the one channel
    if options.converted is None:
        return Material(model, original, codes, reconstructed, None, [])
    converted = Speech.read(DataDir.read(options.converted).utterances, model.sample_rate)
    by_id = {u.id: u for u in original.utterances}
    sources = [original_of(u, by_id) for u in converted.utterances]
    return Material(model, original, codes, reconstructed, converted, sources)


@torch.inference_mode()
def score(options: argparse.Namespace) -> dict[str, Table]:
    """All tables by title."""
    material = read_material(options)
    model, train = material.model, DataDir.read(options.train)
    decoder = model.decoders[options.decoder or model.decoder_names[0]]
    tables: dict[str, Table] = {}
    if isinstance(decoder, WaveNetDecoder) and options.pack is not None:
        nocodes = load_model(options.nocodes) if options.nocodes else None
        tables["Likelihood"] = likelihood_table(model, nocodes, PackedCorpus.open(options.pack))
    seconds = sum(len(x) for x in material.original.sounds) / material.rate
    file_bits = 8 * sum(f.stat().st_size for f in options.codes.glob("*.codes"))
    tables["Codes"] = usage_table(model, material.codes, file_bits / seconds / 1000)
    tables["Distance"] = distance_table(material, companded=isinstance(decoder, WaveNetDecoder))
    if options.templates:
        templates = Speech.read(chosen_templates(train, options.templates), material.rate)
        tables["Words"] = word_table(material, templates)
    else:
        tables["Sentences"] = sentence_table(material)
    if len(train.speakers) > 1:
        clips = [train.utterances[i] for i in evenly(len(train.utterances), VOICE_CLIPS)]
        tables["Speakers"] = speaker_table(material, Speech.read(clips, material.rate))
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the model")
    parser.add_argument("--nocodes", help="folder of the same model trained without codes")
    parser.add_argument("--decoder", help="that made the sound, one of the model's; the first if not given")
    parser.add_argument("--data", type=Path, required=True, help="data directory of the originals")
    parser.add_argument(
        "--train", type=Path, required=True, help="data directory that voices and words are learnt from"
    )
    parser.add_argument("--pack", type=Path, help="the packed originals, for likelihoods")
    parser.add_argument("--codes", type=Path, required=True, help="folder of the originals' .codes files")
    parser.add_argument("--reconstructed", type=Path, required=True, help="data directory of the reconstructions")
    parser.add_argument("--converted", type=Path, help="data directory of the conversions")
    parser.add_argument("--templates", type=int, default=0, help="of each word and speaker, where utterances are words")
    parser.add_argument("--out", type=Path, required=True, help="folder for results.md and scores.json")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        tables = score(options)
        text = "\n\n".join(f"## {title}\n\n{table}" for title, (table, _) in tables.items()) + "\n"
        tree = {"model": options.model, **{title.lower(): figures for title, (_, figures) in tables.items()}}
        for name, content in (("results.md", text), ("scores.json", to_json(tree))):
            with atomic_output(options.out / name, force=True) as temporary:
                temporary.write_text(content, encoding="utf-8")
    except AudioVQError as error:
        sys.exit(f"score.py: error: {error}")
    print(text, end="")


if __name__ == "__main__":
    main()
