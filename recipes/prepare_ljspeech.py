#!/usr/bin/env python3
"""Kaldi data directories of LJSpeech 1.1 (keithito.com/LJ-Speech-Dataset): one speaker, 22.05 kHz.

    prepare_ljspeech.py --db-root LJSpeech-1.1 --data-dir data

The last 250 clips are eval, the 250 before dev, as in ESPnet and ParallelWaveGAN. The text is the normalized one.
"""

from __future__ import annotations

import os
from pathlib import Path

from corpus_preparation import (
    check_counts,
    closed_split,
    corpus_parser,
    print_some,
    refuse_writing_into,
    run_program,
    write_split,
)

from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadDataError

SPEAKER, GENDER = "LJ", "f"
EXPECTED = 13100
HELD = 250  # clips of dev, and of eval


def prepare(
    db_root: Path, data_dir: Path, *, trim_db: float | None = None, allow_partial: bool = False
) -> dict[str, DataDir]:
    """Write `data_dir`/{train,dev,eval}; BadDataError for an incomplete corpus or unreadable audio."""
    root = _find(Path(os.path.abspath(db_root)))
    refuse_writing_into(root, data_dir)
    texts = read_metadata(root / "metadata.csv")
    files = {f.stem: f for f in sorted((root / "wavs").glob("LJ*.wav"))}
    print(f"{root}: LJSpeech")
    print_some("text without audio", [u for u in texts if u not in files])
    print_some("audio without text", [u for u in files if u not in texts])
    counts = {"audio files": (len(files), EXPECTED), "lines of text": (len(texts), EXPECTED)}
    check_counts(root, counts, allow_partial=allow_partial)
    utterances = [Utterance(u, SPEAKER, str(file), text=texts.get(u) or None) for u, file in files.items()]
    split = closed_split({SPEAKER: files}, HELD)
    genders = {SPEAKER: GENDER}
    return write_split(data_dir, split, utterances, genders, trim_db=trim_db, allow_partial=allow_partial)


def read_metadata(path: Path) -> dict[str, str]:
    """`id|text|normalized text` lines; quotation marks are part of the text, so it is no CSV that a reader knows."""
    texts = {}
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), start=1):
        fields = line.split("|")
        if len(fields) < 2:
            raise BadDataError(f"{path}:{number}: no | in the line; needed id|text|normalized text")
        texts[fields[0]] = " ".join((fields[-1] or fields[1]).split())
    return texts


def _find(db_root: Path) -> Path:
    for root in (db_root, db_root / "LJSpeech-1.1"):
        if (root / "metadata.csv").is_file():
            return root
    raise BadDataError(f"{db_root}: no metadata.csv there or in LJSpeech-1.1; --db-root must be LJSpeech")


def main() -> None:
    run_program(prepare, **vars(corpus_parser(__doc__).parse_args()))


if __name__ == "__main__":
    main()
