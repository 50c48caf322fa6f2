"""Joins data directories into one, as Kaldi's combine_data.sh does. If they contradict each other, that is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.tables import keys_of
from audiovq.errors import BadDataError


def combine(sources: Sequence[tuple[Path, DataDir]]) -> tuple[DataDir, list[str]]:
    """All utterances of the sources, and the names of the tables left out because not every source has them.

    Raises BadDataError, naming both sources, for an utterance in two of them, a recording id with two meanings, or
    two values for one speaker or recording.
    """
    home: dict[str, Path] = {}
    recordings: dict[str, tuple[str, Path]] = {}
    for path, data in sources:
        for u in data.utterances:
            if u.id in home:
                raise BadDataError(f"utterance {u.id} is in both {home[u.id]} and {path}; ids must be unique")
            home[u.id] = path
            recording, first = recordings.setdefault(u.recording_id, (u.recording, path))
            if recording != u.recording:
                raise BadDataError(f"recording {u.recording_id} is {recording} in {first}, {u.recording} in {path}")
    names = sorted({name for _, data in sources for name in data.tables})
    shared = [name for name in names if all(name in data.tables for _, data in sources)]
    tables = {name: _merge(name, [(path, data.tables[name]) for path, data in sources]) for name in shared}
    utterances = sorted((u for _, data in sources for u in data.utterances), key=lambda u: u.id.encode())
    genders = _merge("spk2gender", [(path, data.spk2gender) for path, data in sources])
    return DataDir(tuple(utterances), genders, tables), [name for name in names if name not in shared]


def _merge(name: str, sources: Sequence[tuple[Path, Mapping[str, str]]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    origin: dict[str, Path] = {}
    for path, rows in sources:
        for key, value in rows.items():
            if merged.setdefault(key, value) != value:
                what = f"{keys_of(name)} {key} is '{merged[key]}' in {origin[key]}, '{value}' in {path}"
                raise BadDataError(f"{name}: {what}; make them agree")
            origin.setdefault(key, path)
    return merged
