"""Arrays that others saved with numpy: opened without pickle, and every way in which that may fail is one error."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from audiovq.errors import AudioVQError, BadDataError


@contextmanager
def open_arrays(path: str | Path, error: type[AudioVQError] = BadDataError) -> Iterator[NDArray[Any] | NpzFile]:
    """An .npy file, mapped, or the arrays of an .npz file, read as they are asked for inside the block.

    Raises `error` for a file that is missing or holds no such arrays.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait, a device never end
            raise error(f"{path}: is no regular file")
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(loaded, np.ndarray | NpzFile):
            raise error(f"{path}: holds no arrays; save it again with numpy.save")
        yield loaded
        if isinstance(loaded, NpzFile):
            loaded.close()
    except AudioVQError:
        raise
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except Exception as problem:  # numpy and the zip library raise many types, depending on where a file is damaged
        reason = " ".join(str(problem).split())[:200]
        raise error(f"{path}: can't be read as arrays ({reason}); save it again with numpy.save") from None
