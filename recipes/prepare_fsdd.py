#!/usr/bin/env python3
"""Kaldi data directories of the Free Spoken Digit Dataset (Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0).

    prepare_fsdd.py --db-root free-spoken-digit-dataset --data-dir data

Recordings are `recordings/{digit}_{speaker}_{index}.wav`, 8 kHz, 6 speakers x 10 digits x 50. Splits: `test` is index
0-4, as the data set's README says; `dev` is index 5-9, our choice out of its training part; `train` is the rest.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from corpus_preparation import check_counts, corpus_parser, refuse_writing_into, run_program, write_split

from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadDataError

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
EXPECTED = 6 * 10 * 50
NAME = re.compile(r"([0-9])_([a-z]+)_([0-9]+)\.wav")


def split_of(index: int) -> str:
    return "test" if index < 5 else "dev" if index < 10 else "train"


def prepare(
    db_root: Path, data_dir: Path, *, trim_db: float | None = None, allow_partial: bool = False
) -> dict[str, DataDir]:
    """Write `data_dir`/{train,dev,test}; BadDataError if the number of recordings is not the expected one."""
    root = Path(os.path.abspath(db_root))
    recordings = root / "recordings"
    if not recordings.is_dir():
        raise BadDataError(f"{recordings}: no such folder; --db-root must be a checkout of free-spoken-digit-dataset")
    refuse_writing_into(root, data_dir)
    utterances = []
    split: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for file in sorted(recordings.iterdir()):
        if match := NAME.fullmatch(file.name):
            digit, speaker, index = int(match[1]), match[2], int(match[3])
            utterances.append(Utterance(f"{speaker}-{digit}-{index:02d}", speaker, str(file), text=WORDS[digit]))
            split[split_of(index)].append(utterances[-1].id)
    check_counts(recordings, {"recordings": (len(utterances), EXPECTED)}, allow_partial=allow_partial)
    return write_split(data_dir, split, utterances, {}, trim_db=trim_db, allow_partial=allow_partial)


def main() -> None:
    run_program(prepare, **vars(corpus_parser(__doc__).parse_args()))


if __name__ == "__main__":
    main()
