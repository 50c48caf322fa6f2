#!/usr/bin/env python3
"""Kaldi data directories of the Free Spoken Digit Dataset (Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0).

    prepare_fsdd.py --db-root free-spoken-digit-dataset --out data

Recordings are `recordings/{digit}_{speaker}_{index}.wav`, 8 kHz, 6 speakers x 10 digits x 50. Splits: `test` is index
0-4, as the data set's README says; `dev` is index 5-9, our choice out of its training part; `train` is the rest.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from audiovq.data.kaldi import DataDir, Utterance
from audiovq.errors import AudioVQError, BadDataError

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
EXPECTED = 6 * 10 * 50
NAME = re.compile(r"([0-9])_([a-z]+)_([0-9]+)\.wav")


def split_of(index: int) -> str:
    return "test" if index < 5 else "dev" if index < 10 else "train"


def prepare(db_root: Path, out: Path, *, allow_partial: bool = False) -> dict[str, DataDir]:
    """Write `out`/{train,dev,test}; BadDataError if the number of recordings is not the expected one."""
    recordings = db_root / "recordings"
    if not recordings.is_dir():
        raise BadDataError(f"{recordings}: no such folder; --db-root must be a checkout of free-spoken-digit-dataset")
    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for file in recordings.iterdir():
        if match := NAME.fullmatch(file.name):
            digit, speaker, index = int(match[1]), match[2], int(match[3])
            utterance = Utterance(f"{speaker}-{digit}-{index:02d}", speaker, str(file.absolute()), text=WORDS[digit])
            splits[split_of(index)].append(utterance)
    found = sum(map(len, splits.values()))
    print(f"recordings: {found} found, {EXPECTED} expected")
    if found != EXPECTED and not allow_partial:
        raise BadDataError(
            f"{recordings}: {found} recordings found, {EXPECTED} expected; mend the checkout or give --allow-partial"
        )
    data = {name: DataDir(tuple(utterances)) for name, utterances in splits.items()}
    for name, split in data.items():
        if not split.utterances:
            raise BadDataError(f"{recordings}: nothing found for {name}; the checkout is incomplete")
        split.write(out / name)
        print(f"{out / name}: {len(split.utterances)} utterances, {len(split.speakers)} speakers")
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db-root", type=Path, required=True, help="checkout of the data set")
    parser.add_argument("--out", type=Path, required=True, help="where train, dev and test are written")
    parser.add_argument("--allow-partial", action="store_true", help="go on with another number of recordings")
    options = parser.parse_args()
    try:
        prepare(options.db_root, options.out, allow_partial=options.allow_partial)
    except AudioVQError as error:
        sys.exit(f"prepare_fsdd.py: error: {error}")


if __name__ == "__main__":
    main()
