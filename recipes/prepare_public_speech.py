#!/usr/bin/env python3
"""Kaldi data directories of redistributable speech out of local checkouts of public repositories, one per source.

    prepare_public_speech.py --sources checkouts --minivctk corpora/minivctk --data-dir data/public
    prepare_public_speech.py --minivctk corpora/minivctk --data-dir data   # what comes from minivctk alone

`--sources` holds checkouts under their repositories' names: Resemblyzer, speechocean762, dataset-voice-kerstin,
speech-to-intent-benchmark. `minivctk` is a small VCTK-like corpus whose clips are excerpts of some of the same
recordings (its manifest.csv says of which). Written are the training sets `libri speechocean kerstin intent minivctk`,
and `dev` and `eval`, which are held back from all of them: see `hold_back`. Without sources these two and the training
set `minivctk` are written: enough to score a model.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from corpus_preparation import add_output_options, check_counts, durations, measure, run_program, write_data_dirs

from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadDataError

LIBRI, SPEECHOCEAN = "resemble-ai/Resemblyzer", "jimbozhang/speechocean762"
KERSTIN, INTENT = "rhasspy/dataset-voice-kerstin", "Picovoice/speech-to-intent-benchmark"

# Kept for final evaluation; no list written here may ever name them (minivctk's own clips of them excepted).
RESERVED = (
    ("yl4579/StarGANv2-VC", "Demo/VCTK-corpus/*"),
    ("coqui-ai/TTS", "tests/data/ljspeech/*"),
    ("auspicious3000/autovc", "wavs/*"),
    (LIBRI, "audio_data/librispeech_test-other/*"),
    ("speechbrain/speechbrain", "tests/samples/*"),
    ("besacier/mboshi-french-parallel-corpus", "full_corpus_newsplit/dev/*"),
)
KERSTIN_STRIDE = 3  # every third clip: about 0.6 of 1.8 h, so that one voice does not outweigh the others
EXPECTED = {"libri": 251, "speechocean": 5000, "kerstin": 1374, "intent": 619, "minivctk": 339}  # files in the sources

# Held-back clips per family of minivctk: first and last id, unseen speakers per gender, seen speakers, clips of each.
# Seen are twice the unseen in every family, so that their means can be compared.
FAMILIES = (
    ("p225", "p228", 1, 2, 2),  # VCTK: 2 unseen, 4 seen clips
    ("p401", "p456", 3, 12, 1),  # LibriSpeech: 6 and 12
    ("p501", "p528", 3, 12, 1),  # speechocean762: 6 and 12
)
DEV_CLIPS = 16


@dataclass(frozen=True)
class Clip:
    """A row of minivctk's manifest."""

    file: str
    speaker: str
    repository: str
    path: str

    @property
    def id(self) -> str:
        return Path(self.file).stem.removesuffix("_mic1")


@dataclass(frozen=True)
class HeldBack:
    """What must not be trained on: the clips by list, and the speakers of whom nothing at all may be."""

    unseen: tuple[Clip, ...]
    seen: tuple[Clip, ...]
    dev: tuple[Clip, ...]
    unseen_speakers: frozenset[str]

    @property
    def clips(self) -> tuple[Clip, ...]:
        return self.unseen + self.seen + self.dev


def hold_back(clips: Iterable[Clip], genders: dict[str, str]) -> HeldBack:
    """The fixed evaluation and validation clips, by rule.

    unseen: of each family the last women and men by id, their first clip; none of their other clips is trained on.
    seen: of each family, among the other speakers with three clips or more, evenly spaced ones, their last clips.
    dev: among all speakers left with three clips or more, evenly spaced ones, their last clip.
    """
    by_speaker: dict[str, list[Clip]] = {}
    for clip in sorted(clips, key=lambda c: c.id.encode()):
        by_speaker.setdefault(clip.speaker, []).append(clip)
    unseen, seen = [], []
    used: set[str] = set()
    for first, last, per_gender, num_seen, clips_each in FAMILIES:
        family = [s for s in by_speaker if first <= s <= last]
        held = [s for gender in "fm" for s in [s for s in family if genders[s] == gender][-per_gender:]]
        unseen += [by_speaker[s][0] for s in held]
        used.update(held)
        rest = [s for s in family if s not in used and len(by_speaker[s]) >= 3]
        for s in evenly(rest, num_seen):
            seen += by_speaker[s][-clips_each:]
            used.add(s)
    unseen_speakers = frozenset(clip.speaker for clip in unseen)
    rest = [s for s in by_speaker if s not in used and len(by_speaker[s]) >= 3]
    dev = [by_speaker[s][-1] for s in evenly(rest, DEV_CLIPS)]
    return HeldBack(tuple(unseen), tuple(seen), tuple(dev), unseen_speakers)


def evenly(items: list[str], count: int) -> list[str]:
    count = min(count, len(items))
    return [items[k * len(items) // count] for k in range(count)]


def person_of(repository: str, path: str) -> tuple[str, str]:
    """Who speaks in a source file: the repository and its own name for the person."""
    if repository == LIBRI:  # <reader>-<chapter>-<number>.flac
        return repository, Path(path).name.split("-")[0]
    if repository == KERSTIN:
        return repository, "kerstin"
    return repository, Path(path).parent.name  # speechocean762: WAVE/SPEAKER0001/000010011.WAV


class Preparation:
    """One run: the manifest and what is held back, then one method a source."""

    def __init__(self, sources: Path | None, minivctk: Path):
        self.sources, self.minivctk_root = sources and sources.absolute(), minivctk.absolute()
        manifest = minivctk / "manifest.csv"
        if not manifest.exists():
            raise BadDataError(f"{manifest}: missing; --minivctk must be the folder of the minivctk corpus")
        with manifest.open(encoding="utf-8", newline="") as lines:
            self.clips = [Clip(r["file"], r["speaker"], r["repository"], r["path"]) for r in csv.DictReader(lines)]
        self.genders = self._read_genders()
        self.held_back = hold_back(self.clips, self.genders)
        # a person whom minivctk has keeps that name in every list
        self.names = {person_of(c.repository, c.path): c.speaker for c in self.clips}
        self.held_files = {(c.repository, c.path) for c in self.held_back.clips}
        self.found: dict[str, int] = {}

    def libri(self) -> DataDir:
        """The LibriSpeech train-clean-100 readers of Resemblyzer, one clip each."""
        root = self._checkout(LIBRI)
        files = sorted((root / "audio_data/librispeech_train-clean-100").glob("*.flac"))
        self.found["libri"] = len(files)
        return self._select(LIBRI, root, dict.fromkeys(files), lambda path: "ls" + path.name.split("-")[0])

    def speechocean(self) -> DataDir:
        """The 5000 listed clips of speechocean762: Mandarin speakers of English, half of them children."""
        root = self._checkout(SPEECHOCEAN)
        files: dict[Path, str | None] = {}
        for part in ("train", "test"):
            texts = read_pairs(root / part / "text")
            files |= {root / path: texts.get(key) for key, path in read_pairs(root / part / "wav.scp").items()}
        self.found["speechocean"] = len(files)
        return self._select(SPEECHOCEAN, root, files, lambda path: "so" + path.parent.name.removeprefix("SPEAKER"))

    def kerstin(self) -> DataDir:
        """Every third clip of one German voice."""
        root = self._checkout(KERSTIN)
        files = sorted((root / "verified").glob("*.flac"))
        self.found["kerstin"] = len(files)
        with (root / "metadata.csv").open(encoding="utf-8", newline="") as lines:
            texts = dict(line.rstrip("\r\n").split("|", maxsplit=1) for line in lines if "|" in line)
        chosen = {f: texts.get(f.stem) for f in files[::KERSTIN_STRIDE]}
        return self._select(KERSTIN, root, chosen, lambda path: "kerstin")

    def intent(self) -> DataDir:
        """Orders for coffee by over 50 people; who speaks is not known, so all go by one name."""
        root = self._checkout(INTENT)
        files = sorted((root / "data/speech/clean").glob("*.wav"))
        self.found["intent"] = len(files)
        return self._select(INTENT, root, dict.fromkeys(files), lambda path: "intent")

    def minivctk(self) -> DataDir:
        """What minivctk has besides the clips held back and the other clips of unseen speakers."""
        self.found["minivctk"] = len(self.clips)
        held = {c.file for c in self.held_back.clips}
        return self.of_minivctk(
            c for c in self.clips if c.file not in held and c.speaker not in self.held_back.unseen_speakers
        )

    def of_minivctk(self, clips: Iterable[Clip]) -> DataDir:
        utterances = []
        for clip in clips:
            text = self.minivctk_root / "txt" / clip.speaker / f"{clip.id}.txt"
            transcript = " ".join(text.read_text("utf-8").split()) if text.exists() else None
            file = self.minivctk_root / clip.file
            utterances.append(Utterance(clip.id, clip.speaker, str(file), text=transcript))
        return DataDir(tuple(utterances), self.genders)

    def _select(
        self, repository: str, root: Path, files: dict[Path, str | None], name_of: Callable[[Path], str]
    ) -> DataDir:
        """The files (with their texts) that may be trained on, as utterances."""
        utterances = []
        for file, text in files.items():
            path = file.relative_to(root).as_posix()
            speaker = self.names.get(person_of(repository, path), name_of(file))
            if is_reserved(repository, path) or (repository, path) in self.held_files:
                continue
            if speaker in self.held_back.unseen_speakers:
                continue
            utterances.append(Utterance(f"{speaker}-{file.stem}", speaker, str(file), text=text))
        return DataDir(tuple(utterances), self.genders)

    def _checkout(self, repository: str) -> Path:
        assert self.sources is not None
        root = self.sources / repository.split("/")[1]
        if not root.is_dir():
            raise BadDataError(f"{root}: no such folder; clone https://github.com/{repository} there")
        return root

    def _read_genders(self) -> dict[str, str]:
        lines = (self.minivctk_root / "speaker-info.txt").read_text("utf-8").splitlines()[1:]
        return {fields[0]: fields[2].lower() for line in lines if len(fields := line.split()) > 2}


def is_reserved(repository: str, path: str) -> bool:
    return any(repository == r and fnmatchcase(path, pattern) for r, pattern in RESERVED)


def read_pairs(path: Path) -> dict[str, str]:
    """A table of `<key> <value>` lines, as speechocean762 ships them (tabs, not sorted)."""
    lines = path.read_text("utf-8").splitlines()
    return dict(line.split(maxsplit=1) for line in lines if len(line.split(maxsplit=1)) == 2)


def prepare(sources: Path | None, minivctk: Path, data_dir: Path, *, allow_partial: bool = False) -> dict[str, DataDir]:
    """Write all data directories under `data_dir`; BadDataError if a source has another number of files.

    Without `sources`, only those that come from minivctk.
    """
    run = Preparation(sources, minivctk)
    names = list(EXPECTED) if sources else ["minivctk"]
    data = {name: getattr(run, name)() for name in names}
    counts = {f"{name} files": (run.found[name], EXPECTED[name]) for name in names}
    check_counts(sources or minivctk, counts, allow_partial=allow_partial)
    held = run.held_back
    data["dev"], data["eval"] = run.of_minivctk(held.dev), run.of_minivctk(held.unseen + held.seen)
    groups = {c.id: "unseen" for c in held.unseen} | {c.id: "seen" for c in held.seen}
    _, seconds = measure([u for d in data.values() for u in d.utterances], allow_partial=allow_partial)
    for name, directory in data.items():
        kept = tuple(u for u in directory.utterances if u.id in seconds)
        tables = {"utt2dur": durations(kept, seconds), "utt2group": groups if name == "eval" else {}}
        data[name] = replace(directory, utterances=kept, tables=tables)
    write_data_dirs(data_dir, data)
    print(f"eval: {len(held.unseen)} clips of unseen speakers, {len(held.seen)} of seen ones (utt2group)")
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sources", type=Path, help="folder that holds the checkouts; without it, minivctk's sets only"
    )
    parser.add_argument("--minivctk", type=Path, required=True, help="folder of the minivctk corpus")
    add_output_options(parser)
    run_program(prepare, **vars(parser.parse_args()))


if __name__ == "__main__":
    main()
