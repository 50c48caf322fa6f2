"""Writes a file or a folder so that no half of it is ever visible: a temporary name in the same folder, then a rename.

Every command that leaves a file behind writes it through `atomic_output`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from audiovq.errors import AudioVQError, OutputError

_HEX = 12  # letters that tell temporary names apart
_OLD = ".old"  # ends the name of a folder that is being replaced
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_BLOCK = 4096  # bytes: what is asked for to see whether a file can still grow


@contextlib.contextmanager
def atomic_output(path: str | Path, *, force: bool = False, source: object = None) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix, existing, empty); rename it to `path` when the block ends.

    On any exception, KeyboardInterrupt included, the temporary file is removed and `path` is as it was.

    Args:
        force: overwrite `path`.
        source: what is read meanwhile; if it is a path, it is not overwritten, even with `force`.

    Raises OutputError if `path` exists and `force` is false, if its folder is missing or not writable, or if the file
    can't grow any more (a full disk, a limit), whatever a library made of that.
    """
    path = Path(path)
    _refuse_existing(path, force, source)
    temporary = _temporary(path)
    try:
        _create(temporary, path)
        yield temporary
        _sync(temporary)
        _refuse_existing(path, force, source)  # it may have appeared meanwhile
        os.replace(temporary, path)
    except AudioVQError:
        temporary.unlink(missing_ok=True)
        raise
    except Exception as error:
        reason = _why_it_can_not_grow(temporary)
        temporary.unlink(missing_ok=True)
        if reason is not None:
            raise OutputError(f"{path}: can't be written ({reason}); make room or choose another place") from error
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # some file systems can't sync a folder; the file itself is safe
        _sync(path.parent)


def check_target(path: str | Path, *, force: bool = False, source: object = None) -> None:
    """Raise now what `atomic_output` would on entering: for a command that opens its output after its work."""
    path = Path(path)
    _refuse_existing(path, force, source)
    temporary = _temporary(path)
    try:
        _create(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming_output(path: str | Path) -> Iterator[None]:
    """A full disk, which the system tells without a name, becomes an OutputError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        reason = f"({error.strerror}); make room or choose another place"
        raise OutputError(f"{path}: can't be written {reason}") from error


def write_all(file: IO[bytes], data: bytes) -> None:
    """Write every byte, to a raw file or socket too, which may take less than it is given."""
    view = memoryview(data)
    while view:
        written = file.write(view)
        if written is None:
            raise BlockingIOError(f"{getattr(file, 'name', 'the output')}: non-blocking and full; give a blocking file")
        view = view[written:]


@contextlib.contextmanager
def open_output(
    target: str | os.PathLike[str] | IO[bytes], *, force: bool = False, source: object = None
) -> Iterator[IO[bytes]]:
    """What to write bytes to: a file object as it is, of a path a temporary file that becomes it at the end.

    Of a path everything is as with `atomic_output`, its errors too.
    """
    if isinstance(target, (str, os.PathLike)):
        with atomic_output(Path(target), force=force, source=source) as temporary, temporary.open("wb") as file:
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
    temporary = _temporary(path)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{path}: can't write in {path.parent} ({error.strerror}); choose another place") from None
    try:
        yield temporary
        replace_folder(path, temporary)
    except Exception as error:
        reason = _why_it_can_not_grow(temporary / "room") if temporary.is_dir() else None
        shutil.rmtree(temporary, ignore_errors=True)
        if reason is not None:
            raise OutputError(f"{path}: can't be written ({reason}); make room or choose another place") from error
        raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def replace_folder(path: Path, temporary: Path) -> None:
    """Put a finished folder in the place of `path`, beside it; at no moment does part of one stand there."""
    old = temporary.with_name(temporary.name + _OLD)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(temporary, path)
    shutil.rmtree(old, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """A hidden name beside `path`, with its suffix; no longer than its own, which may be as long as names can be."""
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _HEX else ""
    room = len(os.fsencode(path.name)) - len(os.fsencode(suffix)) - _HEX - 2 - len(_OLD)
    stem = os.fsencode(path.stem)[: max(0, room)].decode("utf-8", "ignore")  # no half letters
    return path.with_name(f".{stem}{'.' * bool(stem)}{secrets.token_hex(_HEX // 2)}{suffix}")


def _create(temporary: Path, path: Path) -> None:
    try:
        # os.open rather than tempfile: mode 0o666 less the umask, which a renamed file should have
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        if not path.parent.is_dir():
            raise OutputError(f"{path}: folder {path.parent} does not exist; create it first") from None
        raise OutputError(f"{path}: can't write in {path.parent} ({error.strerror}); choose another place") from None


def _why_it_can_not_grow(temporary: Path) -> str | None:
    """The system's reason; None if the file can. A library may only have said that something failed."""
    try:
        with temporary.open("ab", buffering=0) as file:
            write_all(file, bytes(_BLOCK))
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror
    return None


def _refuse_existing(path: Path, force: bool, source: object) -> None:
    refuse_input(source, path)
    try:
        if path.is_dir():
            raise OutputError(f"{path}: is a folder, a file name is needed")
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: is not a regular file; use - to write to standard output")
        if not force and (path.exists() or path.is_symlink()):
            raise OutputError(f"{path}: exists already; use --force to overwrite it")
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise OutputError(f"{path}: can't be written ({error.strerror}); choose another name") from None


def refuse_input(source: object, target: object) -> None:
    """OutputError if both are paths to one file: an output would take the place of its own input."""
    if isinstance(source, str | os.PathLike) and isinstance(target, str | os.PathLike):
        with contextlib.suppress(OSError, ValueError):
            if os.path.samefile(source, target):
                raise OutputError(
                    f"{target}: is the input itself, which --force does not overwrite; choose another name"
                )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
