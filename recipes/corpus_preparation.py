"""What every prepare_*.py does: count, open the audio, trim, split, and write Kaldi data directories that never mix.

The programs find the recordings of a corpus and know its quirks; everything after that is here. None of it depends on
the locale or on the order in which the file system lists files, and nothing is written into a corpus.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from audiovq.data.corpus.trim import trim_range
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.recording import check_recording
from audiovq.data.kaldi.tables import keys_of
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import AudioVQError, BadAudioError, BadDataError, OutputError

Split = dict[str, tuple[str, ...]]  # train, dev, eval -> ids

# --- what was found ---------------------------------------------------------------------------------------------


def check_counts(
    corpus: Path, counts: Mapping[str, tuple[int, int]], *, allow_partial: bool, slack: float = 0.0
) -> None:
    """Print (found, expected) of each name; BadDataError with both numbers if any differ, a warning if that is allowed.

    It stops a wrong release or an incomplete copy before hours of training on it. A number that is off by no more than
    `slack`, a share of the one expected, is a warning too.
    """
    for name, (found, expected) in counts.items():
        print(f"{name}: {found} found, {expected} expected")
    off = {name: abs(found - expected) / expected for name, (found, expected) in counts.items() if found != expected}
    wrong = [f"{counts[name][0]} {name} found, {counts[name][1]} expected" for name in off if off[name] > slack]
    if wrong and not allow_partial:
        raise BadDataError(
            f"{corpus}: {'; '.join(wrong)}; it is another release or an incomplete copy: "
            "get it again, or give --allow-partial true if it is meant to be a part"
        )
    if off:
        warn(f"{corpus}: {len(off)} of these counts are not those expected; going on with what is there")


def print_some(what: str, items: Sequence[str], limit: int = 10) -> None:
    """`what: number (the first few)`, nothing if there are none."""
    if items:
        more = " ..." if len(items) > limit else ""
        print(f"{what}: {len(items)} ({' '.join(items[:limit])}{more})")


def warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


def bytewise(items: Iterable[str]) -> list[str]:
    """Sorted as `LC_ALL=C sort` does, whatever the locale."""
    return sorted(items, key=os.fsencode)


def read_text(path: Path) -> str:
    """A transcript as one line: CRLF, several lines and blanks become single spaces; may be empty."""
    try:
        return " ".join(path.read_bytes().decode("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise BadDataError(f"{path}: not UTF-8 at byte {error.start}; convert it") from None


# --- the audio --------------------------------------------------------------------------------------------------


def measure(
    utterances: Sequence[Utterance], trim_db: float | None = None, allow_partial: bool = False
) -> tuple[list[Utterance], dict[str, float]]:
    """Open every recording: (the utterances, the seconds of each), with start and end set if trimming.

    trim_db: frames at both ends that are this many dB under the loudest one are cut but for 0.1 s (`trim_range`).
    Unreadable, empty and (if trimming) silent recordings are a BadDataError; if that is allowed, they are left out and
    each is named with the reason.
    """
    kept, seconds, problems = [], {}, []
    rates: Counter[int] = Counter()
    cut = 0.0
    for utterance in tqdm(utterances, desc="audio", unit="utt", disable=None):
        try:
            sound, _ = check_recording(utterance.recording)
            measured = utterance if trim_db is None else _trimmed(utterance, trim_db)
            total = sound.num_samples / sound.rate
            seconds[utterance.id] = (measured.end or total) - measured.start
            cut += total - seconds[utterance.id]
            rates[sound.rate] += 1
            kept.append(measured)
        except BadAudioError as error:
            problems.append(f"{utterance.id}: {error}")
    if problems and not allow_partial:
        raise BadDataError(
            f"{len(problems)} of {len(utterances)} recordings can't be used, the first is {problems[0]}; "
            "copy them again, or give --allow-partial true to leave them out"
        )
    for problem in problems:
        warn(f"left out {problem}")
    print("sample rates: " + ", ".join(f"{rate} Hz ({count})" for rate, count in sorted(rates.items())))
    if trim_db is not None:
        print(
            f"silence {trim_db:g} dB under the peak: {cut / 3600:.3f} h cut, {sum(seconds.values()) / 3600:.3f} h left"
        )
    return kept, seconds


def _trimmed(utterance: Utterance, trim_db: float) -> Utterance:
    waveform, rate = utterance.read()
    start, end = trim_range(waveform.mean(axis=0), rate, trim_db)
    if not end:
        raise BadAudioError(f"{utterance.recording}: silent; leave it out")
    return replace(utterance, start=start / rate, end=end / rate)


# --- splits -----------------------------------------------------------------------------------------------------


def closed_split(by_speaker: Mapping[str, Iterable[str]], held: int = 10) -> Split:
    """Of each speaker the last `held` ids to eval, as many before them to dev, the others to train.

    That is ParallelWaveGAN's rule for VCTK. A speaker with few utterances gives a tenth of them (rounded up) to each
    instead of `held`, so that most of every speaker is trained on; one with fewer than 4 gives none.
    """
    split: dict[str, list[str]] = {"train": [], "dev": [], "eval": []}
    short: list[str] = []
    train_only: list[str] = []
    for speaker in bytewise(by_speaker):
        ids = bytewise(by_speaker[speaker])
        count = min(held, -(-len(ids) // 10)) if len(ids) >= 4 else 0
        if count < held:
            (short if count else train_only).append(speaker)
        split["train"] += ids[: len(ids) - 2 * count]
        split["dev"] += ids[len(ids) - 2 * count : len(ids) - count]
        split["eval"] += ids[len(ids) - count :]
    print_some(f"speakers of whom a tenth, fewer than {held}, goes to dev and as much to eval", short)
    print_some("speakers with fewer than 4 utterances, all in train", train_only)
    return {name: tuple(ids) for name, ids in split.items()}


def ids_by_speaker(utterances: Iterable[Utterance]) -> dict[str, list[str]]:
    """The ids of each speaker's utterances."""
    by_speaker: dict[str, list[str]] = {}
    for u in utterances:
        by_speaker.setdefault(u.speaker, []).append(u.id)
    return by_speaker


# --- writing ----------------------------------------------------------------------------------------------------


def write_split(
    data_dir: Path,
    split: Mapping[str, Iterable[str]],
    utterances: Iterable[Utterance],
    genders: Mapping[str, str],
    *,
    trim_db: float | None = None,
    allow_partial: bool = False,
) -> dict[str, DataDir]:
    """Open the audio (see `measure`) and write `data_dir`/{train,dev,eval} with utt2dur (see `write_data_dirs`).

    An utterance that the split does not name is left out, an id that no utterance has is passed over. BadDataError if
    nothing is left for a part.
    """
    by_id = {u.id: u for u in utterances}
    parts = {name: [by_id[i] for i in bytewise(ids) if i in by_id] for name, ids in split.items()}
    _refuse_empty(parts)
    measured, seconds = measure([u for part in parts.values() for u in part], trim_db, allow_partial)
    by_id = {u.id: u for u in measured}
    parts = {name: [by_id[u.id] for u in part if u.id in by_id] for name, part in parts.items()}
    _refuse_empty(parts)
    data = {name: DataDir(tuple(part), genders, {"utt2dur": durations(part, seconds)}) for name, part in parts.items()}
    write_data_dirs(data_dir, data)
    return data


def _refuse_empty(parts: Mapping[str, Sequence[Utterance]]) -> None:
    for name, part in parts.items():
        if not part:
            total = sum(map(len, parts.values()))
            raise BadDataError(f"nothing of {total} utterances is for {name}; choose another split or other speakers")


def durations(utterances: Iterable[Utterance], seconds: Mapping[str, float]) -> dict[str, str]:
    """The table utt2dur."""
    return {u.id: f"{seconds[u.id]:.6f}" for u in utterances}


def write_data_dirs(data_dir: Path, data: Mapping[str, DataDir]) -> None:
    """Write `data_dir`/NAME for each, which must have utt2dur, and print one line on each; what is the same stays.

    All are written under temporary names first. While files are exchanged, the old directories have no wav.scp, and
    the new one comes last: an interrupted run leaves nothing that passes for a data directory, nor new beside old.
    """
    _refuse_odd_paths(data.values())
    partials = {name: data_dir / f".{name}.partial" for name in data}
    try:
        for name, partial in partials.items():
            shutil.rmtree(partial, ignore_errors=True)  # left over from a killed run
            data[name].write(partial)
        changed = [name for name, partial in partials.items() if _tables(partial) != _tables(data_dir / name)]
        for name in changed:
            (data_dir / name / "wav.scp").unlink(missing_ok=True)
        for name in changed:
            _exchange(partials[name], data_dir / name)
    finally:
        for partial in partials.values():
            shutil.rmtree(partial, ignore_errors=True)
    for name, directory in data.items():
        hours = sum(map(float, directory.tables["utt2dur"].values())) / 3600
        count, speakers = len(directory.utterances), len(directory.speakers)
        state = "" if name in changed else " (as before)"
        print(f"{data_dir / name}: {count} utterances, {speakers} speakers, {hours:.3f} h{state}")


def _tables(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*") if keys_of(file.name)}


def _exchange(new: Path, old: Path) -> None:
    old.mkdir(parents=True, exist_ok=True)
    names = sorted(_tables(new), key=lambda name: (name == "wav.scp", name))
    for stale in _tables(old).keys() - set(names):
        (old / stale).unlink()  # segments of an earlier run would cut this one's recordings
    for name in names:
        os.replace(new / name, old / name)


def _refuse_odd_paths(data: Iterable[DataDir]) -> None:
    for u in (u for directory in data for u in directory.utterances):
        if u.recording != u.recording.strip() or u.recording.endswith("|"):
            raise BadDataError(f"{u.recording!r}: wav.scp can't hold this path; rename the file")


# --- the programs -----------------------------------------------------------------------------------------------


def corpus_parser(doc: str | None, *, auto_trim: str | None = None) -> argparse.ArgumentParser:
    """A parser with the options of all programs; `auto_trim`, where it depends on the corpus, says what auto does."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db-root", type=Path, required=True, help="the corpus; it is only read")
    add_output_options(parser)
    default = f"auto: {auto_trim}" if auto_trim else "none"
    parser.add_argument(
        "--trim", dest="trim_db", type=_decibels if auto_trim is None else _decibels_or_auto,
        default="auto" if auto_trim else "none", metavar="auto|none|DB" if auto_trim else "none|DB",
        help=f"cut silence DB under the loudest frame but for 0.1 s, as segments [{default}]",
    )  # fmt: skip
    return parser


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """--data-dir and --allow-partial."""
    parser.add_argument("--data-dir", type=Path, required=True, help="where the data directories are written")
    parser.add_argument(
        "--allow-partial", type=boolean, nargs="?", const=True, default=False, metavar="true|false",
        help="go on with other counts than expected, and without audio that can't be read [false]",
    )  # fmt: skip


def boolean(value: str) -> bool:
    """true or false, as Kaldi's scripts take them."""
    if value not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"'{value}' is neither true nor false")
    return value == "true"


def words(value: str) -> list[str]:
    """Words between blanks or commas."""
    return value.replace(",", " ").split()


def _decibels(value: str) -> float | None:
    if value == "none":
        return None
    try:
        decibels = float(value)
    except ValueError:
        decibels = 0.0
    if not 0 < decibels < 1000:
        raise argparse.ArgumentTypeError(f"'{value}' is no number of dB above 0")
    return decibels


def _decibels_or_auto(value: str) -> float | str | None:
    return value if value == "auto" else _decibels(value)


def refuse_writing_into(corpus: Path, data_dir: Path) -> None:
    """OutputError if `data_dir` lies in the corpus."""
    if data_dir.resolve().is_relative_to(corpus.resolve()):
        raise OutputError(f"{data_dir}: lies in the corpus {corpus}, which is never written to; choose another place")


def run_program(prepare: Callable[..., Any], **options: Any) -> None:
    """Call `prepare`; what a user can mend ends in one line on stderr and exit status 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # so that counts and warnings keep their order in a log
    try:
        prepare(**options)
    except (AudioVQError, OSError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
