#!/usr/bin/env python3
"""Kaldi data directories of the CSTR VCTK Corpus, release 0.80 or 0.92.

    prepare_vctk.py --db-root VCTK-Corpus-0.92 --data-dir data

The folder wav48 (0.80) or wav48_silence_trimmed (0.92) is found in --db-root or up to two folders below. Splits:

    closed      of each speaker the last 10 utterances to eval, the 10 before to dev, the others to train, as in
                ParallelWaveGAN; a speaker with fewer than 91 gives a tenth to each, with fewer than 4 none
    open        dev is p226 and p287, eval p232 and p257, and no one of them is in train
    valentini   dev and eval as in open, train the other 26 speakers of the 28-speaker set of the noisy VCTK database
                (Valentini-Botinhao et al. 2016); the rest of the corpus is left out

An utterance is in the same split whichever microphone is used, and whether text is required or not. Audio without text
(p315) is kept, as a codec can learn from it, unless --require-text true.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from corpus_preparation import (
    Split,
    boolean,
    bytewise,
    check_counts,
    closed_split,
    corpus_parser,
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
from audiovq.errors import BadDataError

FOLDERS = {"0.80": "wav48", "0.92": "wav48_silence_trimmed"}
FILES = {
    "0.80": re.compile(r"(?P<utterance>[a-z]+[0-9]+_[0-9]+)\.wav"),
    "0.92": re.compile(r"(?P<utterance>[a-z]+[0-9]+_[0-9]+)_(?P<mic>mic[12])\.flac"),
}
TRIM_DB = {"0.80": 25.0, "0.92": None}  # 0.92 was trimmed by its publisher

# Speakers, audio files, and those of them that have a txt. p315 (172 files) has none; p280 and p315 have no mic2.
EXPECTED = {
    ("0.80", "mic1"): (109, 44257, 44085),
    ("0.92", "mic1"): (110, 44455, 44283),
    ("0.92", "mic2"): (108, 43873, 43873),
}

DEV_SPEAKERS, EVAL_SPEAKERS = ("p226", "p287"), ("p232", "p257")
VALENTINI_SPEAKERS = (  # the 28-speaker training set without p226 and p287
    *("p227", "p228", "p230", "p231", "p233", "p236", "p239", "p243", "p244", "p250", "p254", "p256", "p258"),
    *("p259", "p267", "p268", "p269", "p270", "p273", "p274", "p276", "p277", "p278", "p279", "p282", "p286"),
)


@dataclass
class Corpus:
    """What a copy holds: its folder, its release, and by utterance the audio of each microphone and the txt files."""

    root: Path
    version: str
    audio: dict[str, dict[str, Path]] = field(default_factory=lambda: {"mic1": {}, "mic2": {}})
    texts: dict[str, Path] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)  # files in the audio's folders that are none of its utterances

    @cached_property
    def utterances(self) -> list[str]:
        """All that have audio, of whichever microphone."""
        return bytewise(self.audio["mic1"].keys() | self.audio["mic2"].keys())


def find_corpus(db_root: Path, version: str = "auto") -> Corpus:
    """Find wav48* in `db_root` or up to two folders below and list the files; BadDataError if there is not just one."""
    if not db_root.is_dir():
        raise BadDataError(f"{db_root}: no such folder; --db-root must be the VCTK corpus")
    found = [(v, folder.parent) for v, name in FOLDERS.items() for folder in _folders(db_root, name)]
    wanted = [(v, root) for v, root in found if version in ("auto", v)]
    if not wanted:
        names = " or ".join(f"{FOLDERS[v]} ({v})" for v in FOLDERS if version in ("auto", v))
        seen = "".join(f"; there is {root / FOLDERS[v]}, of release {v}" for v, root in found)
        raise BadDataError(
            f"{db_root}: no folder {names} there or up to two below{seen}; name the folder that VCTK was unpacked into"
        )
    if len(wanted) > 1:
        places = " and ".join(str(root / FOLDERS[v]) for v, root in wanted)
        raise BadDataError(f"{db_root}: holds both {places}; give --db-root one of them, or --corpus-version")
    corpus = Corpus(wanted[0][1], wanted[0][0])
    _list_audio(corpus)
    _list_texts(corpus)
    return corpus


def read_genders(root: Path) -> dict[str, str]:
    """Speaker -> m or f by speaker-info.txt; ids without p (0.80), missing ages and regions, and comments are fine."""
    path = root / "speaker-info.txt"
    if not path.is_file():
        warn(f"{path}: missing; spk2gender is not written")
        return {}
    genders = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        speaker, *others = line.split() or [""]
        gender = next((f.lower() for f in others if f in ("F", "M")), None)
        if gender is not None and re.fullmatch(r"[a-z]*[0-9]+", speaker):
            genders["p" + speaker if speaker.isdigit() else speaker] = gender
    return genders


def split_of(utterances: Sequence[str], split: str) -> Split:
    """The named split of utterance ids, which begin with their speaker."""
    by_speaker: dict[str, list[str]] = {}
    for utterance in utterances:
        by_speaker.setdefault(speaker_of(utterance), []).append(utterance)
    if split == "closed":
        return closed_split(by_speaker)
    held = {*DEV_SPEAKERS, *EVAL_SPEAKERS}
    train = VALENTINI_SPEAKERS if split == "valentini" else [s for s in by_speaker if s not in held]
    chosen = {"train": train, "dev": DEV_SPEAKERS, "eval": EVAL_SPEAKERS}
    missing = [s for s in (*DEV_SPEAKERS, *EVAL_SPEAKERS, *train) if s not in by_speaker]
    print_some(f"speakers of the split {split} that are not there", missing)
    return {name: tuple(u for s in speakers for u in by_speaker.get(s, ())) for name, speakers in chosen.items()}


def speaker_of(utterance: str) -> str:
    return utterance.split("_")[0]  # p225 or s5: not all are four characters long


def prepare(
    db_root: Path,
    data_dir: Path,
    *,
    corpus_version: str = "auto",
    mic: str = "mic1",
    split: str = "closed",
    require_text: bool = False,
    trim_db: float | Literal["auto"] | None = "auto",
    speakers: Sequence[str] = (),
    allow_partial: bool = False,
) -> dict[str, DataDir]:
    """Write `data_dir`/{train,dev,eval}; BadDataError for a wrong release, an incomplete corpus or unreadable audio."""
    corpus = find_corpus(Path(os.path.abspath(db_root)), corpus_version)
    refuse_writing_into(corpus.root, data_dir)
    print(f"{corpus.root}: VCTK {corpus.version}, {mic}")
    if (corpus.version, mic) not in EXPECTED:
        raise BadDataError(f"{corpus.root}: release {corpus.version} has one microphone; give --mic mic1")
    audio = corpus.audio[mic]
    _check(corpus, mic, allow_partial)
    texts = {u: text for u in audio if u in corpus.texts and (text := read_text(corpus.texts[u]))}
    print_some("empty txt", [u for u in audio if u in corpus.texts and u not in texts])
    if missing := bytewise(set(speakers) - {speaker_of(u) for u in audio}):
        raise BadDataError(f"{corpus.root}: no audio of {' '.join(missing)}; check --speakers and --mic")
    # of all utterances, before any is left out, so that none changes its place in the split
    parts = split_of([u for u in corpus.utterances if not speakers or speaker_of(u) in speakers], split)
    chosen = [u for ids in parts.values() for u in ids if u in audio]
    if require_text:
        print_some("left out, no text", [u for u in chosen if u not in texts])
        chosen = [u for u in chosen if u in texts]
    utterances = [Utterance(u, speaker_of(u), str(audio[u]), text=texts.get(u)) for u in bytewise(chosen)]
    decibels = TRIM_DB[corpus.version] if trim_db == "auto" else trim_db
    genders = read_genders(corpus.root)
    return write_split(data_dir, parts, utterances, genders, trim_db=decibels, allow_partial=allow_partial)


def _folders(db_root: Path, name: str) -> list[Path]:
    """`db_root` itself, if it has that name, or the folders of that name up to three below."""
    if db_root.name == name:
        return [db_root]
    return [f for depth in ("", "*/", "*/*/") for f in sorted(db_root.glob(depth + name)) if f.is_dir()]


def _list_audio(corpus: Corpus) -> None:
    top = corpus.root / FOLDERS[corpus.version]
    for folder in sorted(top.iterdir()):
        for file in sorted(folder.iterdir()) if folder.is_dir() else [folder]:
            match = FILES[corpus.version].fullmatch(file.name)
            if match and folder.is_dir() and speaker_of(match["utterance"]) == folder.name:
                corpus.audio[match.groupdict().get("mic", "mic1")][match["utterance"]] = file
            else:
                corpus.strays.append(file.relative_to(top).as_posix())


def _list_texts(corpus: Corpus) -> None:
    for folder in sorted((corpus.root / "txt").glob("*/")):
        for file in sorted(folder.glob("*.txt")):
            if re.fullmatch(re.escape(folder.name) + "_[0-9]+", file.stem):
                corpus.texts[file.stem] = file


def _check(corpus: Corpus, mic: str, allow_partial: bool) -> None:
    """Print what is odd about the copy, then compare the counts with the release's."""
    audio, with_audio = corpus.audio[mic], dict.fromkeys(corpus.utterances)
    speakers = {speaker_of(u) for u in audio}
    print_some("files that are no utterances, passed over", corpus.strays)
    print_some("txt without audio", [u for u in corpus.texts if u not in with_audio])
    print_some("audio without txt, by speaker", bytewise({speaker_of(u) for u in audio if u not in corpus.texts}))
    print_some(f"without {mic}, speakers", bytewise({speaker_of(u) for u in with_audio} - speakers))
    print_some(f"without {mic}", [u for u in with_audio if u not in audio and speaker_of(u) in speakers])
    found = (len(speakers), len(audio), sum(u in corpus.texts for u in audio))
    names = ("speakers", "audio files", "audio files with txt")
    counts = dict(zip(names, zip(found, EXPECTED[corpus.version, mic], strict=True), strict=True))
    # a hundred files at most, well under one speaker: copies that lack a few, as of p362, are about
    check_counts(corpus.root, counts, allow_partial=allow_partial, slack=0.002)


def main() -> None:
    parser = corpus_parser(__doc__, auto_trim="25 for 0.80, none for 0.92")
    parser.add_argument("--corpus-version", choices=("auto", *FOLDERS), default="auto", help="release [%(default)s]")
    parser.add_argument("--mic", choices=("mic1", "mic2"), default="mic1", help="of 0.92 [%(default)s]")
    parser.add_argument("--split", choices=("closed", "open", "valentini"), default="closed", help="[%(default)s]")
    parser.add_argument(
        "--require-text", type=boolean, default=False, metavar="true|false", help="leave out audio without [false]"
    )
    parser.add_argument("--speakers", type=words, default=[], metavar='"p225 p226"', help="only these [all]")
    options: argparse.Namespace = parser.parse_args()
    run_program(prepare, **vars(options))


if __name__ == "__main__":
    main()
