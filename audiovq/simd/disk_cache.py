"""A cache on disk for compiled functions, so that only the first start on a machine compiles."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def sources_stamp(folder: Path) -> int:
    """Changes with any file of this folder or ours: numba itself looks only at the file that a function stands in."""
    paths = [*sorted(folder.glob("*.py")), *sorted(Path(__file__).parent.glob("*.py"))]
    return zlib.crc32(b"".join(path.read_bytes() for path in paths))


def compiled_and_kept(function: Callable[..., Any]) -> Any:
    """Compile a function; it is kept beside its file, or where that can't be written, in the user's cache folder."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither can be written
        return numba.njit(nogil=True)(function)
