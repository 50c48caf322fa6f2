"""Standard input and output as binary files; a command may be started with either of them closed."""

from __future__ import annotations

import io
import os
import sys
from typing import BinaryIO

from audiovq.errors import BadDataError, OutputError


def standard_input() -> BinaryIO:
    """BadDataError if it is closed."""
    if sys.stdin is None:
        raise BadDataError("standard input is closed; name a file")
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    """A buffered file, which takes all it is given; OutputError if it is closed."""
    if sys.stdout is None:
        raise OutputError("standard output is closed; name a file")
    if isinstance(sys.stdout.buffer, io.RawIOBase):  # python -u: it may take less than it is given
        return os.fdopen(sys.stdout.fileno(), "wb", closefd=False)
    return sys.stdout.buffer
