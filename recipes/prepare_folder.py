#!/usr/bin/env python3
"""Kaldi data directories of any tree of audio files: a speaker is a folder.

    prepare_folder.py --db-root recordings --data-dir data [--speaker-folder 1]

By default the folder that holds a file is its speaker. --speaker-folder N takes the N-th folder below --db-root
instead, as for SPEAKER/SESSION/FILE with 1. An utterance's id is the speaker, then what follows in the path, joined by
`-`; characters other than letters, digits, `_` and `.` become `_`. A file NAME.txt beside NAME.wav is its text.

Of each speaker the last 10 utterances go to eval, the 10 before to dev, the others to train; a speaker with fewer than
91 gives a tenth of them to each, with fewer than 4 none. With --dev-speakers and --eval-speakers those speakers are dev
and eval instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from corpus_preparation import (
    Split,
    bytewise,
    closed_split,
    corpus_parser,
    ids_by_speaker,
    print_some,
    read_text,
    refuse_writing_into,
    run_program,
    warn,
    words,
    write_split,
)

from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.data.walk import AUDIO_SUFFIXES, walk
from audiovq.errors import BadDataError


def prepare(
    db_root: Path,
    data_dir: Path,
    *,
    speaker_folder: int = 0,
    dev_speakers: Sequence[str] = (),
    eval_speakers: Sequence[str] = (),
    trim_db: float | None = None,
    allow_partial: bool = False,
) -> dict[str, DataDir]:
    """Write `data_dir`/{train,dev,eval}; BadDataError for names that clash and for unreadable audio.

    speaker_folder: the how manieth folder below `db_root` is the speaker, from 1; 0 is the one that holds the file.
    """
    root = Path(os.path.abspath(db_root))
    if not root.is_dir():
        raise BadDataError(f"{root}: no such folder; --db-root must hold audio files")
    refuse_writing_into(root, data_dir)
    tree = walk(root, AUDIO_SUFFIXES)
    print(f"{root}: {len(tree.files)} audio files found")
    print_some(
        "files that are no audio, by kind", [f"{suffix or 'none'}:{n}" for suffix, n in sorted(tree.left_out.items())]
    )
    files = tree.files if allow_partial else tree.checked()
    for problem in tree.problems:
        warn(f"left out {problem}")
    utterances = [_utterance(root, file, speaker_folder) for file in files]
    _refuse_clashes(utterances)
    split = _split(ids_by_speaker(utterances), dev_speakers, eval_speakers)
    return write_split(data_dir, split, utterances, {}, trim_db=trim_db, allow_partial=allow_partial)


def _utterance(root: Path, file: Path, speaker_folder: int) -> Utterance:
    parts = [root.name, *file.relative_to(root).with_suffix("").parts]
    folder = speaker_folder or max(0, len(parts) - 2)
    if folder > len(parts) - 2:
        raise BadDataError(f"{file}: lies in {len(parts) - 2} folders; --speaker-folder {speaker_folder} needs more")
    # neither speaker nor file name may hold a `-`: it sorts before letters and digits, and so after a speaker's name
    # keeps the order of utterances that of their speakers, as Kaldi wants it
    names = [re.sub(r"[^\w.]", "_", part) for part in parts[folder:]]
    text = file.with_suffix(".txt")
    transcript = (read_text(text) or None) if text.is_file() else None
    return Utterance("-".join(names), names[0], str(file), text=transcript)


def _refuse_clashes(utterances: Sequence[Utterance]) -> None:
    recordings: dict[str, str] = {}
    for u in utterances:
        if u.id in recordings:
            raise BadDataError(
                f"{u.recording}: would have the id {u.id}, as has {recordings[u.id]}; rename one, or see "
                "--speaker-folder if they lie in different folders"
            )
        recordings[u.id] = u.recording


def _split(by_speaker: dict[str, list[str]], dev: Sequence[str], evaluation: Sequence[str]) -> Split:
    if not dev and not evaluation:
        return closed_split(by_speaker)
    held = {"dev": dev, "eval": evaluation}
    for name, speakers in held.items():
        if missing := bytewise(set(speakers) - by_speaker.keys()) or ([] if speakers else ["none given"]):
            raise BadDataError(f"--{name}-speakers: {' '.join(missing)}; there are {' '.join(bytewise(by_speaker))}")
    if both := bytewise(set(dev) & set(evaluation)):
        raise BadDataError(f"{' '.join(both)}: in --dev-speakers and in --eval-speakers; choose one")
    train = [s for s in by_speaker if s not in {*dev, *evaluation}]
    return {
        name: tuple(u for s in speakers for u in by_speaker[s]) for name, speakers in (("train", train), *held.items())
    }


def main() -> None:
    parser = corpus_parser(__doc__)
    parser.add_argument("--speaker-folder", type=int, default=0, metavar="N", help="which folder [the file's own]")
    for name in ("dev", "eval"):
        parser.add_argument(f"--{name}-speakers", type=words, default=[], metavar='"a b"', help=f"all of {name}")
    options = parser.parse_args()
    if options.speaker_folder < 0:
        parser.error(f"argument --speaker-folder: {options.speaker_folder} is no number of a folder, from 1")
    run_program(prepare, **vars(options))


if __name__ == "__main__":
    main()
