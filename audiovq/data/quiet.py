"""Keeps the remarks of libmpg123, which reads MP3 for libsndfile, off the user's standard error."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# [src/libmpg123/layer3.c:...] error: ..., Note: Illegal Audio-MPEG-Header ..., Warning: Xing stream size ...
_REMARK = re.compile(rb"\[[^]]*libmpg123[^]]*\]|Note: |Warning: |\s*$")
_LOCK = threading.Lock()  # standard error is one for all threads


@contextlib.contextmanager
def quiet_mp3(source: str | Path | BinaryIO) -> Iterator[None]:
    """While the block reads an MP3 file, what the library writes to descriptor 2 is held back and its remarks dropped.

    The library can't be told to be quiet through libsndfile. All else that is written meanwhile appears at the end.
    """
    with hold_remarks() if _is_mp3(source) else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def hold_remarks() -> Iterator[None]:
    """The same, whatever the block reads."""
    with _LOCK, contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(tempfile.TemporaryFile())
            standard_error = os.dup(2)
        except OSError:  # no room for it, or standard error is closed
            yield
            return
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
            held.seek(0)
            for line in held:
                if not _REMARK.match(line):
                    with contextlib.suppress(OSError):
                        os.write(2, line)


def _is_mp3(source: str | Path | BinaryIO) -> bool:
    """By its first bytes: an ID3 tag, or the eleven ones that begin each frame."""
    try:
        if isinstance(source, str | Path):
            if not os.path.isfile(source):
                return False
            with open(source, "rb") as file:
                head = file.read(3)
        else:
            place = source.tell()
            head = source.read(3)
            source.seek(place)
    except (OSError, ValueError):
        return False
    return head == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
