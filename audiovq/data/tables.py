"""Text tables of two columns: lines of `<id> <value>`, each id once.

A table is read together with a list of its mistakes by line: a validator prints the list, a fixer keeps what is usable.
`read_pairs` is for other callers, and raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from audiovq.data.files import atomic_output
from audiovq.data.standard import standard_input
from audiovq.errors import BadDataError

UNSORTED = "; sort the file with LC_ALL=C sort"  # how the problem of an order ends
BLANKS = re.compile(r"[ \t]+")
COLUMNS = "<id> <value>"


class Row(NamedTuple):
    """What follows an id, and the number of its line from 1."""

    line: int
    value: str


@dataclass
class Table:
    """The content of a file.

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

    @property
    def values(self) -> dict[str, str]:
        """The value of each id, in the order of the lines."""
        return {key: row.value for key, row in self.rows.items()}

    def at(self, key: str) -> str:
        """`file:line` of an id."""
        return f"{self.path}:{self.rows[key].line}"

    def problem(self, key: str, what: str) -> None:
        """Note what is wrong with the line of an id."""
        self.problems.append(f"{self.at(key)}: {what}")


def read_pairs(
    path: str | Path,
    columns: str = COLUMNS,
    *,
    split: Callable[[str], tuple[str, str]] | None = None,
    strict: bool = False,
) -> Table:
    """A table in its own order; `-` is standard input. Raises BadDataError that names file and line.

    Args:
        columns: what they are called, for messages.
        split, strict: as in `parse_table`.
    """
    try:
        name, data = ("<stdin>", standard_input().read()) if str(path) == "-" else (path, Path(path).read_bytes())
    except OSError as error:
        raise BadDataError(f"{path}: can't be read ({error.strerror}); give lines of {columns}") from None
    return pairs_of(name, data, columns, split=split, strict=strict)


def pairs_of(
    path: str | Path,
    data: bytes,
    columns: str = COLUMNS,
    *,
    split: Callable[[str], tuple[str, str]] | None = None,
    strict: bool = False,
) -> Table:
    """The same of the content of a file."""
    table = parse_table(Path(path), data, columns, split=split, strict=strict)
    for problem in table.problems:
        if not problem.endswith(UNSORTED):
            raise BadDataError(problem)
    if not table.rows:
        raise BadDataError(f"{path}: lists nothing; write {columns} lines")
    return table


def read_table(path: Path, *, may_lack_values: bool = False) -> Table:
    """One file; whatever is in it, this does not fail, but says so in `problems`."""
    return parse_table(path, path.read_bytes(), may_lack_values=may_lack_values)


def parse_table(
    path: Path,
    data: bytes,
    columns: str = COLUMNS,
    *,
    split: Callable[[str], tuple[str, str]] | None = None,
    strict: bool = True,
    may_lack_values: bool = False,
) -> Table:
    """The same of the content of a file.

    Args:
        columns: what they are called, for messages.
        split: a line -> its id and its value; by default the value begins after the first blanks.
        strict: empty or repeated lines, carriage returns and a missing newline at the end are problems too.
        may_lack_values: a line may be an id alone.
    """
    table = Table(path)
    previous = ""
    for number, line in _lines(table, data, strict):
        where = f"{path}:{number}"
        key, value = (split or _at_blanks)(line)
        if not key or not (value or may_lack_values):
            table.problems.append(f"{where}: malformed line '{line[:60]}'; write {columns}")
            if key and key not in table.rows:
                table.unusable[key] = f"{table.name}:{number} has no value"
        elif key in table.rows:
            first = table.rows[key]
            if not strict and first.value == value:
                continue
            table.problems.append(f"{where}: id {key} is on line {first.line} already; ids must be unique")
            if first.value != value:
                table.unusable[key] = f"{table.name} has two different lines for it, {first.line} and {number}"
        else:
            if key.encode() < previous.encode():
                table.problems.append(f"{where}: {key} comes after {previous}{UNSORTED}")
            table.rows[key] = Row(number, value)
            previous = key
    return table


def _lines(table: Table, data: bytes, strict: bool) -> Iterator[tuple[int, str]]:
    """Lines and their numbers, no blanks at their end, none empty unless strict; notes what is wrong with the ends."""
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError as error:
        table.problems.append(f"{table.path}: not UTF-8 at byte {error.start}; convert it")
        return
    # a byte order mark, as Windows' editors write it, may begin each of the files that were joined
    lines = [line.removeprefix("\ufeff") for line in content.removesuffix("\n").split("\n")] if content else []
    if strict and lines and not content.endswith("\n"):
        table.problems.append(f"{table.path}:{len(lines)}: the last line has no newline; add one")
    returns = [number for number, line in enumerate(lines, start=1) if line.endswith("\r")] if strict else []
    for number, line in enumerate(lines, start=1):
        if number in returns[:1]:  # said once, as it is mended once
            more = f" (as {len(returns) - 1} more do)" if len(returns) > 1 else ""
            table.problems.append(
                f"{table.path}:{number}: ends in a carriage return{more}; convert the file to Unix line ends"
            )
        line = line.rstrip(" \t\r")
        if line or strict:
            yield number, line


def _at_blanks(line: str) -> tuple[str, str]:
    key, _, value = BLANKS.sub(" ", line, count=1).partition(" ")
    return key, value


def table_text(rows: Mapping[str, str]) -> str:
    """The content of a file with these rows, sorted."""
    return "".join(f"{key} {rows[key]}".rstrip(" ") + "\n" for key in sorted(rows, key=str.encode))


def write_table(path: Path, rows: Mapping[str, str]) -> None:
    """Write a file whole, or leave it as it was."""
    with atomic_output(path, force=True) as temporary:
        temporary.write_text(table_text(rows), encoding="utf-8", newline="\n")
