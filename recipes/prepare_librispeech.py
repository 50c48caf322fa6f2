#!/usr/bin/env python3
"""Kaldi data directories of LibriSpeech (openslr.org/12), 16 kHz.

    prepare_librispeech.py --db-root LibriSpeech --data-dir data --train-sets "train-clean-100 train-clean-360"

Speakers are readers, utterances keep their ids (READER-CHAPTER-NUMBER). Splits: `open` takes the subsets as they are,
so that dev and eval are other readers than train; `closed` takes of each reader in --train-sets the last 10 utterances
to eval, the 10 before to dev and the others to train.
"""

from __future__ import annotations

import re
from pathlib import Path

from libri import Layout, run_libri


def read_transcripts(chapter: Path) -> dict[str, str]:
    """READER-CHAPTER.trans.txt: lines of an utterance's id and its text."""
    texts = {}
    for file in sorted(chapter.glob("[0-9]*.trans.txt")):
        for line in file.read_text("utf-8").splitlines():
            utterance, *text = line.split(maxsplit=1)
            if text:
                texts[utterance] = " ".join(text[0].split())
    return texts


LAYOUT = Layout(
    "LibriSpeech",
    re.compile(r"(?P<reader>[0-9]+)-[0-9]+-[0-9]+\.flac"),
    read_transcripts,
    {
        "train-clean-100": (28539, 251),
        "train-clean-360": (104014, 921),
        "train-other-500": (148688, 1166),
        "dev-clean": (2703, 40),
        "dev-other": (2864, 33),
        "test-clean": (2620, 40),
        "test-other": (2939, 33),
    },
)

if __name__ == "__main__":
    run_libri(LAYOUT, __doc__)
