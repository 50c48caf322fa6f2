"""Kaldi data directories: `wav.scp` with `segments`, `utt2spk`, `spk2utt`, `text`, `spk2gender` and further tables.

Reading is strict: a mistake raises BadDataError with file and line (`checks` says what is checked). Writing sorts
bytewise (LC_ALL=C) whatever the locale, and each file appears whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audiovq.data.kaldi.checks import check_audio, check_tables
from audiovq.data.kaldi.tables import Keys, keys_of, read_tables
from audiovq.data.kaldi.utterance import Utterance, parse_cut, segment_value
from audiovq.data.tables import Table, write_table
from audiovq.errors import BadDataError

_OWN = ("wav.scp", "segments", "utt2spk", "spk2utt", "text", "spk2gender")  # what `Utterance` and `DataDir` spell out


@dataclass(frozen=True)
class DataDir:
    """The utterances of a data directory, sorted bytewise by id, and what else its files say.

    Attributes:
        utterances: all of them.
        spk2gender: m or f, of speakers of whom it is known.
        tables: other files by name, as {id: value}: those by utterance (`utt2*`, `feats.scp`, `vad.scp`), by recording
            (`reco2*`) and by speaker (`spk2*`, `cmvn.scp`).
    """

    utterances: tuple[Utterance, ...]
    spk2gender: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @staticmethod
    def read(path: str | Path) -> DataDir:
        """Read and check a data directory (not its audio: see `validate`); BadDataError names file and line."""
        tables = _tables_of(Path(path))
        problems = check_tables(Path(path), tables)
        if problems:
            more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
            raise BadDataError(problems[0] + more)
        return assemble(tables)

    @property
    def speakers(self) -> tuple[str, ...]:
        return tuple(sorted({u.speaker for u in self.utterances}, key=str.encode))

    def write(self, path: str | Path) -> None:
        """Write the directory's files, each atomically; the same data gives the same bytes. Makes the folder.

        Tables there that this data does not have are removed, as they would be of other data. Raises BadDataError for
        what such files can't hold: two utterances of one id, a blank in an id, a line break.
        """
        path = Path(path)
        contents = self.contents()
        path.mkdir(parents=True, exist_ok=True)
        for file in path.iterdir():
            if keys_of(file.name) and file.name not in contents:
                file.unlink()  # else one of an earlier run would speak for this one
        for name, rows in contents.items():
            write_table(path / name, rows)

    def contents(self) -> dict[str, dict[str, str]]:
        """The files that `write` writes, as {name: {id: value}}."""
        utterances = sorted(self.utterances, key=lambda u: u.id.encode())
        _check_writable(utterances)
        spk2utt: dict[str, list[str]] = {}
        for u in utterances:
            spk2utt.setdefault(u.speaker, []).append(u.id)
        wavs = {(u.recording_id or u.id): u.recording for u in utterances}
        contents = {
            "wav.scp": wavs,
            "utt2spk": {u.id: u.speaker for u in utterances},
            "spk2utt": {speaker: " ".join(ids) for speaker, ids in spk2utt.items()},
        }
        known: dict[Keys, Mapping[str, object]] = {
            "utterance": contents["utt2spk"],
            "recording": wavs,
            "speaker": spk2utt,
        }
        optional: dict[str, Mapping[str, str]] = {
            "text": {u.id: u.text for u in utterances if u.text is not None},
            "spk2gender": self.spk2gender,
            **self.tables,
        }
        if any(u.is_segment for u in utterances):
            optional["segments"] = {u.id: segment_value(u) for u in utterances}
        for name, rows in optional.items():
            kind = keys_of(name)
            if kind is None:
                raise BadDataError(f"{name}: no table of a data directory has such a name")
            if kept := {key: value for key, value in rows.items() if key in known[kind]}:
                contents[name] = kept
        return contents


def validate(
    path: str | Path,
    *,
    audio: bool = True,
    one_rate: bool = True,
    require_text: bool = False,
    spk_sort: bool = True,
) -> list[str]:
    """Every problem of a data directory as `file:line: what is wrong`, in order; empty if it is sound.

    audio: open each recording, read its last sample, and run each pipe; segments must end within their recording, and
        lengths that tables state must be those of the audio.
    one_rate: all recordings must have the same sample rate.
    require_text: `text` must have every utterance.
    spk_sort: the order of the utterances must also be one of their speakers, as Kaldi demands.
    """
    try:
        tables = _tables_of(Path(path))
    except BadDataError as error:
        return [str(error)]
    problems = check_tables(Path(path), tables, require_text=require_text, unused=True, spk_sort=spk_sort)
    if audio and not problems:
        problems, _ = check_audio(assemble(tables).utterances, tables, one_rate=one_rate)
    return problems


def assemble(tables: Mapping[str, Table], drop: Mapping[str, object] | None = None) -> DataDir:
    """Tables that agree, or do so once the utterances in `drop` are left out, as a DataDir."""
    wavs, speakers, texts = tables["wav.scp"].rows, tables["utt2spk"].rows, tables.get("text", Table(Path())).rows
    segments = tables.get("segments")
    utterances = []
    for u in sorted(segments.rows if segments else wavs, key=str.encode):
        if drop and u in drop:
            continue
        recording_id, start, end = u, 0.0, None
        if segments and (cut := parse_cut(segments.rows[u].value)):
            recording_id, start, end = cut
        text = texts[u].value if u in texts else None
        utterances.append(Utterance(u, speakers[u].value, wavs[recording_id].value, start, end, text, recording_id))
    others = {name: {k: r.value for k, r in t.rows.items()} for name, t in tables.items() if name not in _OWN}
    genders = tables.get("spk2gender", Table(Path())).rows
    return DataDir(tuple(utterances), {s: row.value for s, row in genders.items()}, others)


def _tables_of(path: Path) -> dict[str, Table]:
    if not path.is_dir():
        raise BadDataError(f"{path}: no such data directory; it should be a folder with wav.scp and utt2spk")
    return read_tables(path)


def _check_writable(utterances: Iterable[Utterance]) -> None:
    ids: set[str] = set()
    recordings: dict[str, str] = {}
    for u in utterances:
        recording_id = u.recording_id or u.id
        if u.id in ids:
            raise BadDataError(f"utterance {u.id}: two have this id; ids must be unique")
        if recordings.setdefault(recording_id, u.recording) != u.recording:
            raise BadDataError(f"recording {recording_id}: is both {recordings[recording_id]} and {u.recording}")
        for what, name in (("utterance", u.id), ("speaker", u.speaker), ("recording", recording_id)):
            if not name or re.search(r"\s", name):
                raise BadDataError(f"utterance {u.id}: its {what} id '{name}' is empty or holds a blank; rename it")
        if re.search(r"[\r\n]", u.recording + (u.text or "")):
            raise BadDataError(f"utterance {u.id}: its recording's name or text goes over several lines; join them")
        ids.add(u.id)
