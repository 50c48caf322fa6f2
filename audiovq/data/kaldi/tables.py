"""The tables of a Kaldi data directory, sorted bytewise (LC_ALL=C): which files are tables, and what their ids are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from audiovq.data.tables import Table, read_table

Keys = Literal["utterance", "recording", "speaker"]

_KEYS: dict[str, Keys] = {
    "wav.scp": "recording",  # without segments, recordings are utterances
    "segments": "utterance",
    "text": "utterance",
    "feats.scp": "utterance",
    "vad.scp": "utterance",
    "cmvn.scp": "speaker",
}
_NAMED_FOR_KEYS = re.compile(r"(utt|reco|spk)2[A-Za-z0-9_]+")
_SHORT: dict[str, Keys] = {"utt": "utterance", "reco": "recording", "spk": "speaker"}


def keys_of(name: str) -> Keys | None:
    """What the ids of a file of this name stand for; None for a file that is no table of a data directory."""
    match = _NAMED_FOR_KEYS.fullmatch(name)
    return _SHORT[match[1]] if match else _KEYS.get(name)


def read_tables(folder: Path) -> dict[str, Table]:
    """All tables of a data directory by name, in the order of their names."""
    files = [path for path in sorted(folder.iterdir()) if keys_of(path.name) and path.is_file()]
    return {path.name: read_table(path, may_lack_values=path.name == "text") for path in files}  # an empty transcript
