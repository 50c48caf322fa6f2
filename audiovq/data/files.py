"""Writes a file or a folder so that no half of it is ever visible: a temporary name in the same folder, then a rename.

Every command that leaves a file behind writes it through `atomic_output`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from audiovq.errors import OutputError


@contextlib.contextmanager
def atomic_output(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix, existing, empty); rename it to `path` when the block ends.

    On any exception, KeyboardInterrupt included, the temporary file is removed and `path` is as it was.
    Raises OutputError if `path` exists and `force` is false, or if its folder is missing or not writable.
    """
    path = Path(path)
    _refuse_existing(path, force)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}{path.suffix}")
    try:
        # os.open rather than tempfile: mode 0o666 less the umask, which a renamed file should have
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileNotFoundError:
        raise OutputError(f"{path}: folder {path.parent} does not exist; create it first") from None
    except OSError as error:
        raise OutputError(f"{path}: can't write in {path.parent} ({error.strerror}); choose another place") from None
    try:
        yield temporary
        _sync(temporary)
        _refuse_existing(path, force)  # it may have appeared meanwhile
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # some file systems can't sync a folder; the file itself is safe
        _sync(path.parent)


@contextlib.contextmanager
def open_output(target: str | os.PathLike[str] | IO[bytes], *, force: bool = False) -> Iterator[IO[bytes]]:
    """What to write bytes to: a file object as it is, of a path a temporary file that becomes it at the end.

    Of a path everything is as with `atomic_output`, its errors too.
    """
    if isinstance(target, (str, os.PathLike)):
        with atomic_output(Path(target), force=force) as temporary, temporary.open("wb") as file:
            yield file
    else:
        yield target


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; it takes the place of `path` when the block ends.

    On any exception the temporary folder is removed and `path` is as it was. Whether what is there may be replaced
    is for the caller to say. Makes the folders above; raises OutputError if they can't be made or written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{path}: can't write in {path.parent} ({error.strerror}); choose another place") from None
    try:
        yield temporary
        replace_folder(path, temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def replace_folder(path: Path, temporary: Path) -> None:
    """Put a finished folder in the place of `path`, beside it; at no moment does part of one stand there."""
    old = temporary.with_name(f"{temporary.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(temporary, path)
    shutil.rmtree(old, ignore_errors=True)


def _refuse_existing(path: Path, force: bool) -> None:
    if path.is_dir():
        raise OutputError(f"{path}: is a folder, a file name is needed")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is not a regular file; use - to write to standard output")
    if not force and (path.exists() or path.is_symlink()):
        raise OutputError(f"{path}: exists already; use --force to overwrite it")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
