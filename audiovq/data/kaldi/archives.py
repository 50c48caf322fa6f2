"""Kaldi's archives through kaldiio (the `kaldi` extra): `ark:` and `scp:` specifiers, entries in and out.

kaldiio parses only the value of one entry. This module opens files, runs commands and splits off ids, so that an exit
status counts, a repeated id is refused, and no entry is unpickled.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiovq.data.files import atomic_output
from audiovq.data.tables import Table, read_pairs
from audiovq.errors import BadDataError, OutputError

_PLACE = re.compile(r"(.+):([0-9]+)")
_KINDS = ("ark", "scp")
_FLAGS = ("t",)  # text; Kaldi's other flags change nothing here


@dataclass(frozen=True)
class Specifier:
    """`ark:FILE`, `scp:FILE` or `ark,scp:ARK,SCP` taken apart; a file may be `-`."""

    ark: str | None
    scp: str | None
    text: bool = False

    @staticmethod
    def parse(text: str) -> Specifier | None:
        """None if `text` is no specifier but a plain name; ValueError for one that can't be understood."""
        kinds, colon, rest = text.partition(":")
        words = kinds.split(",")
        if not colon or not set(words) & set(_KINDS) or Path(text).exists():
            return None
        named = [word for word in words if word in _KINDS]
        files = rest.split(",", 1) if len(named) == 2 else [rest]
        unknown = set(words) - set(_KINDS) - set(_FLAGS)
        if unknown or len(files) != len(named) or len(set(named)) != len(named) or not all(files):
            raise ValueError(
                f"{text}: can't be understood; write ark:FILE, scp:FILE or ark,scp:ARK,SCP (ark,t: is text)"
            )
        place = dict(zip(named, files, strict=True))
        return Specifier(place.get("ark"), place.get("scp"), "t" in words)


def archive_place(value: str) -> tuple[str, int] | None:
    """(file, offset) of `file.ark:123`; None for anything else, as a file of that very name."""
    match = _PLACE.fullmatch(value)
    return (match[1], int(match[2])) if match and not Path(value).exists() else None


def read_value(file: io.BufferedReader, name: str) -> Any:
    """The value that an open archive stands at: a matrix `[T, D]` or vector, or (rate, samples) of sound.

    Raises BadDataError if it can't be read, or would have to be unpickled.
    """
    matio = _kaldiio().matio
    if file.peek(3)[:3] == b"PKL":
        raise BadDataError(f"{name}: holds a pickle, which could run any code; store it as a matrix")
    try:
        return matio.read_kaldi(file)
    except Exception as error:  # it has no errors of its own: assertions, struct.error, wave.Error and more
        said = str(error) or type(error).__name__
    raise BadDataError(f"{name}: no entry of an archive that can be read ({said}); make it again")


def read_archive(path: str) -> Iterator[tuple[str, Any]]:
    """Ids and values of an archive in its order; `-` is standard input."""
    seen: set[str] = set()
    with ExitStack() as stack:
        file = _standard_input() if path == "-" else stack.enter_context(open_archive(path))
        while key := _read_id(file, path):
            if key in seen:
                raise BadDataError(f"{path}: id {key} is in it twice; ids must be unique")
            seen.add(key)
            yield key, read_value(file, f"{path}: {key}")


def open_archive(path: str) -> io.BufferedReader:
    try:
        return open(path, "rb")
    except OSError as error:
        raise BadDataError(f"{path}: can't be opened ({error.strerror}); check the name") from None


def _standard_input() -> io.BufferedReader:
    raw = sys.stdin.buffer
    return raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # type: ignore[arg-type]


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
    """An scp file, in its own order; `-` is standard input. Raises BadDataError that names file and line."""
    return read_pairs(path, "<id> <file>", strict=True)


class ArchiveWriter:
    """Writes matrices as an archive, and an scp file with their places if there is to be one; both appear at the end.

    Args:
        specifier: from `Specifier.parse`, with an `ark`.
        force: overwrite existing files.

    Raises OutputError if a file exists and `force` is false, or if the specifier can't be written.
    """

    def __init__(self, specifier: Specifier, *, force: bool = False):
        if specifier.ark is None or (specifier.scp is not None and "-" in (specifier.ark, specifier.scp)):
            raise OutputError("codes go to ark:FILE, ark:- or ark,scp:ARK,SCP; an scp alone has no archive to point to")
        self._matio = _kaldiio().matio
        self.specifier = specifier
        self._stack = ExitStack()
        self._places: dict[str, str] = {}
        self._force = force

    def __enter__(self) -> ArchiveWriter:
        spec = self.specifier
        assert spec.ark is not None
        with ExitStack() as stack:
            self._scp = stack.enter_context(atomic_output(spec.scp, force=self._force)) if spec.scp else None
            if spec.ark == "-":
                self._file: BinaryIO = sys.stdout.buffer
            else:
                temporary = stack.enter_context(atomic_output(spec.ark, force=self._force))
                self._file = stack.enter_context(temporary.open("wb"))
            self._stack = stack.pop_all()
        return self

    def write(self, key: str, matrix: NDArray[np.int32]) -> None:
        """Append `[T, D]`. Integers stay integers: numpy's own format within the archive, or digits in a text one."""
        if key in self._places:
            raise BadDataError(f"id {key} is there twice; ids must be unique")
        # what kaldiio writes is the id, a blank and the value, which is what the scp points to
        offset = 0 if self.specifier.ark == "-" else self._file.tell() + len(key.encode()) + 1
        self._places[key] = f"{self.specifier.ark}:{offset}"
        text = self.specifier.text
        self._matio.save_ark(self._file, {key: matrix}, text=text, write_function=None if text else "numpy")

    def __exit__(self, *exception: Any) -> None:
        if self._scp is not None and exception[0] is None:
            # in the order of writing, so that a reader goes through the archive once
            self._scp.write_text("".join(f"{key} {place}\n" for key, place in self._places.items()), encoding="utf-8")
        self._file.flush()
        self._stack.__exit__(*exception)


def _kaldiio() -> Any:
    try:
        import kaldiio
        import kaldiio.matio
    except ImportError:
        raise BadDataError("archives need kaldiio; pip install 'audiovq[kaldi]'") from None
    return kaldiio
