#!/usr/bin/env python3
"""The tables of what a recipe's priors are worth: bits on held-out codes, and what is heard in what they draw.

    score_samples.py --data data/eval --train data/train --reconstructed exp/vqvae/reconstruct_best/eval \\
                     --priors exp/vqvae/prior_best --samples exp/vqvae/samples_best any text speaker --out scores

PRIORS/NAME/eval.json is from `audiovq prior score`, SAMPLES/NAME from sample_codes.py. Writes results.md and
scores.json into OUT, and prints the former. Everything that recognises knows original recordings only.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from score import VOICE_CLIPS, Speech, Table, evenly, share

from audiovq.data.files import atomic_output
from audiovq.data.kaldi.datadir import DataDir
from audiovq.errors import AudioVQError
from audiovq.metrics.table import markdown, to_json
from studies.recognition.classifier import Trained, train_classifier
from studies.recognition.discriminant import LinearDiscriminant
from studies.recognition.features import log_mel, voice_features
from studies.recognition.frechet import frechet_distance

ANY = "any"  # the prior without labels


def bits_table(priors: Path, names: list[str]) -> Table:
    """Held-out bits of each prior."""
    rows, tree = [], {}
    for name in names:
        found = json.loads((priors / name / "eval.json").read_text(encoding="utf-8"))
        total, kind = found["all"], found["config"]["prior"]["kind"]
        saved = 1 - total["bits"] / total["uniform_bits"]
        rows.append([kind, "-" if name == ANY else name, f"{total['bits_per_code']:.3f}", f"{saved:.1%}",
                     f"{total['bits_per_second']:.0f}", f"{found['num_parameters']:,}"])  # fmt: skip
        tree[name] = {"bits_per_code": total["bits_per_code"], "saved": saved}
    return markdown(["prior", "told", "bits/code", "saved", "bits/s", "parameters"], rows), tree


class Listener:
    """Recognises words (where utterances are words) and speakers, and measures distances, all from recordings.

    Args:
        train: recordings to learn from; words: whether utterances are single words.
        rate: of the sound, Hz.
    """

    def __init__(self, train: Speech, rate: int, *, words: bool) -> None:
        self.rate, self.words = rate, words
        labels = train.texts if words else train.speakers
        self.classifier: Trained | None = None
        if len(set(labels)) > 1:
            self.classifier = train_classifier(self._images(train), labels)
        self.voices: LinearDiscriminant | None = None
        if len(set(train.speakers)) > 1:
            self.voices = LinearDiscriminant(self._voices(train), train.speakers)
        self.train = train

    def row(self, title: str, speech: Speech, *, text_was_asked: bool) -> tuple[list[str], dict[str, Any]]:
        """A line of the table, and its figures."""
        tree: dict[str, Any] = {}
        cells = [title, "-", "-", "-"]
        if self.classifier is not None:
            features = self.classifier.features(self._images(speech))
            chosen = [self.train.sounds[i] for i in evenly(len(self.train.sounds), len(features))]
            own = self.classifier.features([log_mel(x, self.rate)[:, None] for x in chosen])
            tree["frechet"] = frechet_distance(own, features)
            cells[3] = f"{tree['frechet']:.2f}"
            if self.words and text_was_asked:
                recognised = self._words(features)
                tree["word"] = float(np.mean([a == b for a, b in zip(recognised, speech.texts, strict=True)]))
                cells[1] = share(round(tree["word"] * len(recognised)), len(recognised))
        if self.voices is not None:
            voices = self.voices.predict(self._voices(speech))
            tree["speaker"] = float(np.mean([a == b for a, b in zip(voices, speech.speakers, strict=True)]))
            cells[2] = share(round(tree["speaker"] * len(voices)), len(voices))
        return cells, tree

    def chance(self) -> list[str]:
        """The last line."""
        words = f"{1 / len(self.classifier.classes):.1%}" if self.words and self.classifier else "-"
        return ["chance", words, f"{1 / len(self.voices.classes):.1%}" if self.voices else "-", "-"]

    def _words(self, features: np.ndarray) -> list[str]:
        assert self.classifier is not None
        with torch.inference_mode():
            logits = self.classifier.model.logits(torch.from_numpy(features).float())
        return [self.classifier.classes[i] for i in logits.argmax(1).tolist()]

    def _images(self, speech: Speech) -> list[np.ndarray]:
        return [log_mel(x, self.rate)[:, None] for x in speech.sounds]

    def _voices(self, speech: Speech) -> np.ndarray:
        return np.stack([voice_features(x, self.rate) for x in speech.sounds])


def samples_table(options: argparse.Namespace) -> Table:
    """What is heard in recordings, reconstructions and samples."""
    directories = {"recordings": options.data, "reconstructed": options.reconstructed}
    titles = {name: "drawn" if name == ANY else f"drawn, told the {name}" for name in options.names}
    directories |= {titles[name]: options.samples / name for name in options.names}
    rate = DataDir.read(options.reconstructed).utterances[0].read()[1]
    train = DataDir.read(options.train).utterances
    clips = Speech.read([train[i] for i in evenly(len(train), VOICE_CLIPS)], rate)
    listener = Listener(clips, rate, words=options.words)
    rows, tree = [], {}
    for title, path in directories.items():
        asked = title not in titles.values() or title == titles.get("text")
        cells, tree[title] = listener.row(title, Speech.read(DataDir.read(path).utterances, rate), text_was_asked=asked)
        rows.append(cells)
    rows.append(listener.chance())
    table = markdown(["heard in", "the word asked for", "the speaker asked for", "Frechet distance"], rows)
    if (taught := listener.classifier) is not None:
        table += (
            "\n\nWords and distance: a small convolutional classifier of log-mel spectra,"
            f" {len(taught.classes)} classes, right on {taught.accuracy:.1%} of {taught.held_out} training recordings"
            " that it was not shown; the distance is to as many training recordings. Speakers: a linear discriminant"
            " on MFCCs."
        )
        tree["classifier_accuracy"] = taught.accuracy
    return table, tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data directory of the originals")
    parser.add_argument(
        "--train", type=Path, required=True, help="data directory that words and voices are learnt from"
    )
    parser.add_argument("--reconstructed", type=Path, required=True, help="data directory of the reconstructions")
    parser.add_argument("--priors", type=Path, required=True, help="folder of the priors")
    parser.add_argument("--samples", type=Path, required=True, help="folder of the samples' data directories")
    parser.add_argument("--words", action="store_true", help="utterances are single words, to be recognised")
    parser.add_argument("names", nargs="+", help="of the priors; 'any' is the one without labels")
    parser.add_argument("--out", type=Path, required=True, help="folder for results.md and scores.json")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        tables = {"Priors": bits_table(options.priors, options.names), "Samples": samples_table(options)}
        text = "\n\n".join(f"## {title}\n\n{table}" for title, (table, _) in tables.items()) + "\n"
        tree = {title.lower(): figures for title, (_, figures) in tables.items()}
        for name, content in (("results.md", text), ("scores.json", to_json(tree))):
            with atomic_output(options.out / name, force=True) as temporary:
                temporary.write_text(content, encoding="utf-8")
    except AudioVQError as error:
        sys.exit(f"score_samples.py: error: {error}")
    print(text, end="")


if __name__ == "__main__":
    main()
