"""Mends a data directory in place, as Kaldi's fix_data_dir.sh does, and says what it drops and why.

It sorts files, converts line ends and blanks to Kaldi's, and writes a new `spk2utt`. An utterance that is missing or
unusable in one file is left out of all.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from audiovq.data.kaldi.checks import check_audio, number_of
from audiovq.data.kaldi.datadir import DataDir, assemble
from audiovq.data.kaldi.tables import keys_of, read_tables
from audiovq.data.kaldi.utterance import cut_problem, parse_cut
from audiovq.data.tables import BLANKS, Row, Table, table_text
from audiovq.errors import BadDataError

BACKUP = ".backup"
_LENGTHS = ("utt2dur", "utt2num_samples", "utt2num_frames")


@dataclass(frozen=True)
class Fixed:
    """What `fix` did.

    Attributes:
        data: what is in the directory now.
        dropped: utterances left out, and why.
        values: genders and durations of recordings that were left out, as `file:line: what`.
        rewritten: names of the files that were written anew or removed.
        backup: the folder with the files as they were; None if there was nothing to do.
    """

    data: DataDir
    dropped: Mapping[str, str]
    values: tuple[str, ...]
    rewritten: tuple[str, ...]
    backup: Path | None


def fix(path: str | Path, *, audio: bool = False, require_text: bool = False) -> Fixed:
    """Mend a data directory.

    audio: leave out utterances whose recording can't be read as well. require_text: those that `text` does not have.

    The files as they were go to `.backup` first; an earlier one becomes `.backup.1`, `.backup.2`, .... Raises
    BadDataError, and changes nothing, if files are missing or no utterance would be left.
    """
    path = Path(path)
    if not path.is_dir():
        raise BadDataError(f"{path}: no such data directory; it should be a folder with wav.scp and utt2spk")
    tables = read_tables(path)
    for name in ("wav.scp", "utt2spk"):
        if name not in tables:
            raise BadDataError(f"{path / name}: missing, and it can't be made out of the others")
    if require_text and "text" not in tables:
        raise BadDataError(f"{path / 'text'}: missing; leave --require-text out if transcripts are not needed")
    values = tuple(_mend_values(tables))
    dropped = _to_drop(tables, require_text)
    data = assemble(tables, dropped)
    if audio:
        _, unreadable = check_audio(data.utterances, tables, one_rate=False)
        dropped |= unreadable
        data = replace(data, utterances=tuple(u for u in data.utterances if u.id not in unreadable))
    if not data.utterances:
        which = next(iter(dropped.items()), ("", "there are none"))
        raise BadDataError(f"{path}: no utterance would be left ({' '.join(which).strip()}); nothing was changed")

    wanted = {name: table_text(rows).encode() for name, rows in data.contents().items()}
    there = {p.name: p.read_bytes() for p in path.iterdir() if keys_of(p.name) and p.is_file()}
    rewritten = tuple(sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)))
    backup = _back_up(path, sorted(there)) if rewritten else None
    if rewritten:
        data.write(path)
    dropped = {u: dropped[u] for u in sorted(dropped, key=str.encode)}
    return Fixed(data, dropped, values, rewritten, backup)


def _to_drop(tables: Mapping[str, Table], require_text: bool) -> dict[str, str]:
    """Utterances that can't stay, each with the first reason."""
    listing = "segments" if "segments" in tables else "wav.scp"
    others = sorted(name for name in tables if keys_of(name) == "utterance" and name not in (listing, "utt2spk"))
    by_utterance = [tables[name] for name in (listing, "utt2spk", *others)]
    complete = [t for t in by_utterance if t.name != "text" or require_text]
    dropped: dict[str, str] = {}
    for u in dict.fromkeys(key for t in by_utterance for key in (*t.rows, *t.unusable)):
        reason = next((t.unusable[u] for t in by_utterance if u in t.unusable), None)
        reason = reason or next((f"not in {t.name}" for t in complete if u not in t.rows), None)
        reason = reason or _unusable_value(u, tables)
        if reason:
            dropped[u] = reason
    return dropped


def _unusable_value(u: str, tables: Mapping[str, Table]) -> str | None:
    """For an utterance that every file has: what is wrong with a value of its own."""
    wavs, segments, utt2spk = tables["wav.scp"], tables.get("segments"), tables["utt2spk"]
    if BLANKS.search(utt2spk.rows[u].value):
        return f"utt2spk:{utt2spk.rows[u].line} has more than two fields"
    if segments:
        row = segments.rows[u]
        if what := cut_problem(u, row.value, wavs.rows):
            return f"segments:{row.line}: {what}"
        cut = parse_cut(row.value)
        if cut and cut.recording in wavs.unusable:
            return wavs.unusable[cut.recording]
    for name in _LENGTHS:
        if name in tables and number_of(tables[name].rows[u].value) is None:
            row = tables[name].rows[u]
            return f"{name}:{row.line} has '{row.value}', not a number above 0"
    return None


def _mend_values(tables: Mapping[str, Table]) -> list[str]:
    """M and F become m and f; other genders and bad durations of recordings go, and are named. No utterance does."""
    gone = []
    for name in ("spk2gender", "reco2dur"):
        rows = tables[name].rows if name in tables else {}
        for key, row in list(rows.items()):
            if name == "spk2gender" and row.value in ("M", "F"):
                rows[key] = Row(row.line, row.value.lower())
            elif row.value not in ("m", "f") if name == "spk2gender" else number_of(row.value) is None:
                gone.append(f"{name}:{row.line}: '{row.value}' for {key}")
                del rows[key]
    return gone


def _back_up(path: Path, names: list[str]) -> Path:
    backup = path / BACKUP
    if backup.exists():
        number = 1
        while (path / f"{BACKUP}.{number}").exists():
            number += 1
        backup.rename(path / f"{BACKUP}.{number}")
    copy = path / f"{BACKUP}.copying"
    shutil.rmtree(copy, ignore_errors=True)  # of a run that was interrupted
    copy.mkdir()
    for name in names:
        shutil.copy2(path / name, copy / name)
    copy.rename(backup)
    return backup
