"""Writes a data directory as a command's output: whole, and over nothing but another data directory."""

from __future__ import annotations

import re
from pathlib import Path

from audiovq.data.files import atomic_folder
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.tables import keys_of
from audiovq.errors import OutputError

_DERIVED = re.compile(r"split[0-9]+(utt)?|\.backup(\.[0-9]+)?")  # folders in a data directory that go with it


def write_new(data: DataDir, path: Path, *, force: bool) -> None:
    """Write `data` as the whole content of `path`; OutputError as `check_replaceable`."""
    check_replaceable(path, force)
    with atomic_folder(path) as temporary:
        data.write(temporary)


def check_replaceable(path: Path, force: bool) -> None:
    """OutputError if `path` exists and `force` is false, or if it holds what no data directory holds.

    `force` does not extend to sound or results that happen to lie in the folder.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir():
        raise OutputError(f"{path}: exists and is no data directory; choose another name")
    there = list(path.iterdir())
    if not there:
        return
    if not force:
        raise OutputError(f"{path}: exists already; use --force to replace it")
    for entry in there:
        known = _DERIVED.fullmatch(entry.name) if entry.is_dir() else keys_of(entry.name)
        if not known:
            raise OutputError(
                f"{path}: holds {entry.name}, which is no table, and --force would delete it; move it away"
            )


def check_replaceable_parts(path: Path, force: bool) -> None:
    """The same for a folder of data directories 1, 2, ..., such as `split4`."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise OutputError(f"{path}: exists and is no folder; choose another name")
    if not force:
        raise OutputError(f"{path}: exists already; use --force to replace it")
    for entry in path.iterdir():
        if not entry.name.isdigit():
            raise OutputError(f"{path}: holds {entry.name}, so it is no split of a data directory; move it away")
        check_replaceable(entry, force)
