"""The text tables of a Kaldi data directory: lines of `<id> <value>`, sorted bytewise (LC_ALL=C), each id once.

A table is read with all that is wrong in it noted by line: who validates shows it, who mends takes what can be used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from audiovq.data.files import atomic_output

Keys = Literal["utterance", "recording", "speaker"]

UNSORTED = "; sort the file with LC_ALL=C sort"  # how the problem of an order ends
BLANKS = re.compile(r"[ \t]+")
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


class Row(NamedTuple):
    """What follows an id, and the number of its line from 1."""

    line: int
    value: str


@dataclass
class Table:
    """A file of a data directory.

    Attributes:
        path: of the file.
        rows: of each id; of a repeated one, the first.
        problems: what is wrong, as `file:line: what`, in the order of the lines.
        unusable: ids that have no value, or two different ones, and why.
    """

    path: Path
    rows: dict[str, Row] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.name

    def at(self, key: str) -> str:
        """`file:line` of an id."""
        return f"{self.path}:{self.rows[key].line}"

    def problem(self, key: str, what: str) -> None:
        """Note what is wrong with the line of an id."""
        self.problems.append(f"{self.at(key)}: {what}")


def keys_of(name: str) -> Keys | None:
    """What the ids of a file of this name stand for; None for a file that is no table of a data directory."""
    match = _NAMED_FOR_KEYS.fullmatch(name)
    return _SHORT[match[1]] if match else _KEYS.get(name)


def read_tables(folder: Path) -> dict[str, Table]:
    """All tables of a data directory by name, in the order of their names."""
    return {path.name: read_table(path) for path in sorted(folder.iterdir()) if keys_of(path.name) and path.is_file()}


def read_table(path: Path) -> Table:
    """One file; whatever is in it, this does not fail, but says so in `problems`."""
    return parse_table(path, path.read_bytes())


def parse_table(path: Path, data: bytes) -> Table:
    """The same of the content of a file."""
    table = Table(path)
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError as error:
        table.problems.append(f"{path}: not UTF-8 at byte {error.start}; convert it")
        return table
    if not content:
        return table
    # a byte order mark, as Windows' editors write it, may begin each of the files that were joined
    lines = [line.removeprefix("\ufeff") for line in content.removesuffix("\n").split("\n")]
    if not content.endswith("\n"):
        table.problems.append(f"{path}:{len(lines)}: the last line has no newline; add one")
    previous = ""
    returns = [number for number, line in enumerate(lines, start=1) if line.endswith("\r")]
    for number, line in enumerate(lines, start=1):
        if number in returns[:1]:  # said once, as it is mended once
            more = f" (as {len(returns) - 1} more do)" if len(returns) > 1 else ""
            table.problems.append(
                f"{path}:{number}: ends in a carriage return{more}; convert the file to Unix line ends"
            )
        previous = _read_line(table, number, line.rstrip("\r"), previous)
    return table


def _read_line(table: Table, number: int, line: str, previous: str) -> str:
    """Take a line into the table; returns the id that the next one has to follow."""
    key, _, value = BLANKS.sub(" ", line.rstrip(" \t"), count=1).partition(" ")
    where = f"{table.path}:{number}"
    if not key or not (value or table.name == "text"):  # an empty transcript is one
        table.problems.append(f"{where}: malformed line '{line[:60]}'; write <id> <value>")
        if key and key not in table.rows:
            table.unusable[key] = f"{table.name}:{number} has no value"
    elif key in table.rows:
        first = table.rows[key]
        table.problems.append(f"{where}: id {key} is on line {first.line} already; ids must be unique")
        if first.value != value:
            table.unusable[key] = f"{table.name} has two different lines for it, {first.line} and {number}"
    else:
        if key.encode() < previous.encode():
            table.problems.append(f"{where}: {key} comes after {previous}{UNSORTED}")
        table.rows[key] = Row(number, value)
        return key
    return previous


def table_text(rows: Mapping[str, str]) -> str:
    """The content of a file with these rows, sorted."""
    return "".join(f"{key} {rows[key]}".rstrip(" ") + "\n" for key in sorted(rows, key=str.encode))


def write_table(path: Path, rows: Mapping[str, str]) -> None:
    """Write a file whole, or leave it as it was."""
    with atomic_output(path, force=True) as temporary:
        temporary.write_text(table_text(rows), encoding="utf-8", newline="\n")
