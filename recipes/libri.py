"""LibriSpeech and LibriTTS, which share one layout: SUBSET/READER/CHAPTER/*, and a table of the readers.

A speaker is a reader. Kaldi's recipe takes a reader and chapter for one, which gives a model that is conditioned on
speakers several names for a voice.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from re import Pattern

from corpus_preparation import (
    check_counts,
    closed_split,
    corpus_parser,
    ids_by_speaker,
    print_some,
    refuse_writing_into,
    run_program,
    warn,
    words,
    write_split,
)

from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadDataError

_READERS = ("speakers.txt", "speakers.tsv")


@dataclass(frozen=True)
class Layout:
    """What tells the two corpora apart.

    Attributes:
        name: of the corpus, and of the folder in its archives.
        audio: name of an audio file, with the group `reader`.
        texts: the transcripts of a chapter's folder, by the stem of the audio file.
        expected: of each subset, its audio files and readers.
    """

    name: str
    audio: Pattern[str]
    texts: Callable[[Path], Mapping[str, str]]
    expected: Mapping[str, tuple[int, int]]


def prepare_libri(
    layout: Layout,
    db_root: Path,
    data_dir: Path,
    *,
    train_sets: Sequence[str] = ("train-clean-100", "train-clean-360"),
    dev_sets: Sequence[str] = ("dev-clean",),
    eval_sets: Sequence[str] = ("test-clean",),
    split: str = "open",
    trim_db: float | None = None,
    allow_partial: bool = False,
) -> dict[str, DataDir]:
    """Write `data_dir`/{train,dev,eval}; BadDataError for missing or incomplete subsets and for unreadable audio.

    split: `open` takes the subsets as they are, so that dev and eval have other readers than train; `closed` takes the
    last utterances of each reader in `train_sets` (see `closed_split`).
    """
    root = _find(layout, Path(os.path.abspath(db_root)))
    refuse_writing_into(root, data_dir)
    print(f"{root}: {layout.name}")
    parts = {"train": train_sets, "dev": dev_sets, "eval": eval_sets} if split == "open" else {"train": train_sets}
    subsets = [subset for named in parts.values() for subset in named]
    if twice := [subset for subset, count in Counter(subsets).items() if count > 1]:
        raise BadDataError(f"{' '.join(twice)}: named for more than one part; name other subsets")
    utterances: dict[str, list[Utterance]] = {}
    counts: dict[str, tuple[int, int]] = {}
    for subset in subsets:
        if not (root / subset).is_dir():
            raise BadDataError(f"{root / subset}: no such folder; unpack {subset} there or name other subsets")
        utterances[subset] = _list_subset(layout, root / subset)
        found = (len(utterances[subset]), len({u.speaker for u in utterances[subset]}))
        expected = layout.expected[subset]
        counts |= {f"{subset} audio files": (found[0], expected[0]), f"{subset} readers": (found[1], expected[1])}
    check_counts(root, counts, allow_partial=allow_partial)
    all_utterances = [u for listed in utterances.values() for u in listed]
    print_some("audio without text", [u.id for u in all_utterances if u.text is None])
    if split == "closed":
        ids = closed_split(ids_by_speaker(all_utterances))
    else:
        ids = {name: tuple(u.id for subset in named for u in utterances[subset]) for name, named in parts.items()}
    genders = _read_genders(root, subsets)
    return write_split(data_dir, ids, all_utterances, genders, trim_db=trim_db, allow_partial=allow_partial)


def run_libri(layout: Layout, doc: str | None) -> None:
    """The program: reads the options and prepares."""
    parser = corpus_parser(doc)
    for name, default in (
        ("train", "train-clean-100 train-clean-360"),
        ("dev", "dev-clean"),
        ("eval", "test-clean"),
    ):
        parser.add_argument(
            f"--{name}-sets", type=lambda value: _subsets(layout, value), default=default, metavar="SUBSETS",
            help=f"subsets for {name} [%(default)s]",
        )  # fmt: skip
    parser.add_argument("--split", choices=("open", "closed"), default="open", help="[%(default)s]")
    run_program(prepare_libri, layout=layout, **vars(parser.parse_args()))


def _subsets(layout: Layout, value: str) -> list[str]:
    if unknown := [s for s in words(value) if s not in layout.expected]:
        known = " ".join(layout.expected)
        raise argparse.ArgumentTypeError(f"no subset {' '.join(unknown)}; {layout.name} has {known}")
    return words(value)


def _find(layout: Layout, db_root: Path) -> Path:
    """The folder that holds the subsets: `db_root` or the only such one in it."""
    if not db_root.is_dir():
        raise BadDataError(f"{db_root}: no such folder; --db-root must be {layout.name}")
    folders = [db_root, *(f for f in sorted(db_root.iterdir()) if f.is_dir() and f.name not in layout.expected)]
    found = [f for f in folders if any((f / subset).is_dir() for subset in layout.expected)]
    if len(found) != 1:
        seen = f"both {found[0]} and {found[1]} hold" if found else "neither it nor a folder in it holds"
        raise BadDataError(f"{db_root}: {seen} subsets like train-clean-100; give the folder that has them")
    return found[0]


def _list_subset(layout: Layout, subset: Path) -> list[Utterance]:
    utterances, strays = [], []
    for chapter in sorted(subset.glob("*/*/")):
        texts = layout.texts(chapter)
        for file in sorted(chapter.iterdir()):
            match = layout.audio.fullmatch(file.name)
            if match and match["reader"] == chapter.parent.name:
                # LibriTTS's "_" sorts after digits: 84_1 84 would come after 840_1 840, against the speakers' order
                utterance = file.stem.replace("_", "-")
                utterances.append(Utterance(utterance, match["reader"], str(file), text=texts.get(file.stem)))
            elif file.suffix in (".flac", ".wav"):
                strays.append(file.relative_to(subset).as_posix())
    print_some(f"{subset.name}: files that are no utterances, passed over", strays)
    return utterances


def _read_genders(root: Path, subsets: Iterable[str]) -> dict[str, str]:
    """Reader -> m or f, by SPEAKERS.TXT (`14 | F | train-clean-360 | ...`) or speakers.tsv."""
    # subsets may be links to where each was unpacked, which has a table of its own
    folders = [root, *((root / subset).resolve().parent for subset in subsets)]
    files = [f for folder in folders for f in sorted(folder.iterdir()) if f.name.lower() in _READERS]
    if not files:
        warn(f"{root / 'SPEAKERS.TXT'}: missing; spk2gender is not written")
        return {}
    rows = [line.replace("|", " ").split() for line in files[0].read_text("utf-8", errors="replace").splitlines()]
    return {row[0]: row[1].lower() for row in rows if len(row) > 1 and row[0].isdigit() and row[1] in ("F", "M")}
