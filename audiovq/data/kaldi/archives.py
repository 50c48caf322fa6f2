"""Kaldi's archives: `ark:` and `scp:` specifiers, entries in and out.

An entry is read by its full magic (`entries`), files and commands are opened here, and ids are taken apart here. So an
exit status counts, a repeated id is refused, and no entry is unpickled.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiovq.data.files import atomic_output
from audiovq.data.kaldi.entries import kaldi_matio, read_value
from audiovq.data.kaldi.streams import is_pipe, is_stream, open_input, open_output
from audiovq.data.tables import Table, pairs_of, read_pairs
from audiovq.errors import BadDataError, OutputError

__all__ = ["ArchiveWriter", "Specifier", "archive_place", "open_archive", "read_archive", "read_scp", "read_value"]

_PLACE = re.compile(r"(.+):([0-9]+)")
_RANGE = re.compile(r".+\[[0-9:,]+\]")
_KINDS = ("ark", "scp")
# Kaldi's other words. t writes text, p lets entries be missing; the rest promise an order or tune what we do not have
_FLAGS = ("t", "b", "p", "np", "f", "nf", "o", "no", "s", "ns", "cs", "ncs", "bg")


@dataclass(frozen=True)
class Specifier:
    """`ark:FILE`, `scp:FILE` or `ark,scp:ARK,SCP` taken apart.

    A file may be `-`, a command to read (`COMMAND |`) or one to write into (`| COMMAND`). `permissive` (`scp,p:`):
    entries that can't be read are left out.
    """

    ark: str | None
    scp: str | None
    text: bool = False
    permissive: bool = False

    @staticmethod
    def parse(text: str) -> Specifier | None:
        """None if `text` is no specifier but a plain name; ValueError for one that can't be understood."""
        kinds, colon, rest = text.partition(":")
        words = kinds.split(",")
        if not colon or not set(words) & set(_KINDS) or Path(text).exists():
            return None
        named = [word for word in words if word in _KINDS]
        files = [file.strip() for file in (rest.split(",", 1) if len(named) == 2 else [rest])]
        unknown = set(words) - set(_KINDS) - set(_FLAGS)
        if unknown or len(files) != len(named) or len(set(named)) != len(named) or not all(files):
            raise ValueError(
                f"{text}: can't be understood; write ark:FILE, scp:FILE or ark,scp:ARK,SCP (ark,t: is text)"
            )
        place = dict(zip(named, files, strict=True))
        return Specifier(place.get("ark"), place.get("scp"), "t" in words, "p" in words)


def archive_place(value: str) -> tuple[str, int] | None:
    """(file, offset) of `file.ark:123`; None for anything else, as a file of that very name."""
    match = _PLACE.fullmatch(value)
    return (match[1], int(match[2])) if match and not Path(value).exists() else None


def read_archive(path: str, *, allow_short: bool = False) -> Iterator[tuple[str, Any]]:
    """Ids and values of an archive in its order; `path` may be `-` or `COMMAND |`. `allow_short`: as `read_audio`."""
    seen: set[str] = set()
    with open_input(path) as file:
        while key := _read_id(file, path):
            if key in seen:
                raise BadDataError(f"{path}: id {key} is in it twice; ids must be unique")
            seen.add(key)
            yield key, read_value(file, f"{path}: {key}", allow_short=allow_short)


def open_archive(path: str) -> AbstractContextManager[io.BufferedReader]:
    """The archive of a place, at its start; one in a command or on standard input has no places."""
    if is_stream(path):
        raise BadDataError(f"{path}: no file, so it has no places; read it with ark:")
    return open_input(path)


def _read_id(file: io.BufferedReader, path: str) -> str:
    """The next id with the blank after it; empty at the end."""
    letters = bytearray()
    while (letter := file.read(1)) not in (b"", b" "):
        if letter != b"\n" or letters:  # a text archive may leave an empty line
            letters += letter
        if len(letters) > 4096:
            raise BadDataError(f"{path}: no archive of Kaldi's; its first id does not end")
    if letters and not letter:
        raise BadDataError(f"{path}: ends within an id; make it again")
    try:
        return letters.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise BadDataError(f"{path}: no archive of Kaldi's; an id is not UTF-8") from None


def read_scp(path: str) -> Table:
    """An scp file, in its own order; `path` may be `-`, `COMMAND |` or a FIFO. Errors: BadDataError with file and line.

    Values that no reader of ours takes, as a part of a matrix (`x.ark:9[0:3]`), are errors.
    """
    if is_pipe(path):
        with open_input(path) as file:
            data = file.read()
        table = pairs_of(path, data, "<id> <file>", strict=True)
    else:
        table = read_pairs(path, "<id> <file>", strict=True)
    for key, row in table.rows.items():
        if _RANGE.fullmatch(row.value) and not Path(row.value).exists():
            raise BadDataError(f"{table.at(key)}: '{row.value}' is a part of an entry; give the whole entry")
    return table


class ArchiveWriter:
    """Writes matrices as an archive, and an scp file with their places if there is to be one; both appear at the end.

    Args:
        specifier: from `Specifier.parse`, with an `ark`.
        force: overwrite existing files.

    Raises OutputError if a file exists and `force` is false, or if the specifier can't be written.
    """

    def __init__(self, specifier: Specifier, *, force: bool = False):
        ark, scp = specifier.ark, specifier.scp
        if ark is None or is_pipe(ark) or (scp is not None and (is_stream(ark) or is_stream(scp))):
            raise OutputError(
                "codes go to ark:FILE, ark:-, 'ark:| COMMAND' or ark,scp:ARK,SCP; an scp file points to an archive that"
                " is a file"
            )
        self._matio = kaldi_matio()
        self.specifier = specifier
        self._stack = ExitStack()
        self._places: dict[str, str] = {}
        self._force = force

    def __enter__(self) -> ArchiveWriter:
        spec = self.specifier
        assert spec.ark is not None
        with ExitStack() as stack:
            self._scp = stack.enter_context(atomic_output(spec.scp, force=self._force)) if spec.scp else None
            self._file: BinaryIO = stack.enter_context(open_output(spec.ark, force=self._force))
            self._stack = stack.pop_all()
        return self

    def write(self, key: str, matrix: NDArray[np.int32]) -> None:
        """Append `[T, D]`. Integers stay integers: numpy's own format within the archive, or digits in a text one."""
        if key in self._places:
            raise BadDataError(f"id {key} is there twice; ids must be unique")
        # what kaldiio writes is the id, a blank and the value, which is what the scp points to
        if self._scp is not None:
            self._places[key] = f"{self.specifier.ark}:{self._file.tell() + len(key.encode()) + 1}"
        else:
            self._places[key] = ""
        text = self.specifier.text
        self._matio.save_ark(self._file, {key: matrix}, text=text, write_function=None if text else "numpy")

    def __exit__(self, *exception: Any) -> None:
        if self._scp is not None and exception[0] is None:
            # in the order of writing, so that a reader goes through the archive once
            self._scp.write_text("".join(f"{key} {place}\n" for key, place in self._places.items()), encoding="utf-8")
        self._stack.__exit__(*exception)
