#!/usr/bin/env python3
"""Kaldi data directories of LibriTTS (openslr.org/60), 24 kHz; of LibriTTS-R (openslr.org/141) with --allow-partial.

    prepare_libritts.py --db-root LibriTTS --data-dir data --train-sets "train-clean-100 train-clean-360"

Speakers are readers. Utterances have `-` in their ids where LibriTTS has `_`, which sorts after digits, so that readers
84 and 840 would be out of order. The text is the normalized one. Splits are those of prepare_librispeech.py. A few
recordings of LibriTTS are not in LibriTTS-R, whose layout is the same.
"""

from __future__ import annotations

import re
from pathlib import Path

from corpus_preparation import read_text
from libri import Layout, run_libri

_TEXT = ".normalized.txt"


def read_transcripts(chapter: Path) -> dict[str, str]:
    """A file NAME.normalized.txt for each NAME.wav."""
    files = sorted(chapter.glob(f"[0-9]*{_TEXT}"))
    return {file.name.removesuffix(_TEXT): text for file in files if (text := read_text(file))}


LAYOUT = Layout(
    "LibriTTS",
    re.compile(r"(?P<reader>[0-9]+)_[0-9]+_[0-9]+_[0-9]+\.wav"),
    read_transcripts,
    {
        "train-clean-100": (33236, 247),
        "train-clean-360": (116500, 904),
        "train-other-500": (205044, 1160),
        "dev-clean": (5736, 40),
        "dev-other": (4613, 33),
        "test-clean": (4837, 39),
        "test-other": (5120, 33),
    },
)

if __name__ == "__main__":
    run_libri(LAYOUT, __doc__)
