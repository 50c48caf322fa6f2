"""A cache on disk for compiled functions, so that only the first start on a machine compiles."""

import contextlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import IndexDataCacheFile


def sources_stamp(folder: Path) -> int:
    """Changes with any file of this folder or ours: numba itself looks only at the file that a function stands in."""
    paths = [*sorted(folder.glob("*.py")), *sorted(Path(__file__).parent.glob("*.py"))]
    return zlib.crc32(b"".join(path.read_bytes() for path in paths))


def compiled_and_kept(function: Callable[..., Any]) -> Any:
    """Compile a function; it is kept beside its file, or where that can't be written, in the user's cache folder.

    What is kept has checksums: damaged files are compiled and written anew, and never run.
    """
    try:
        compiled: Any = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither can be written
        return numba.njit(nogil=True)(function)
    compiled._cache._cache_file.__class__ = _Checked
    return compiled


class _Checked(IndexDataCacheFile):
    """numba's files, each with its CRC-32 at the end, where unpickling does not look."""

    def load(self, key: Any) -> Any:
        paths = [Path(self._index_path), *Path(self._cache_path).glob(f"{Path(self._index_name).stem}.*.nbc")]
        with contextlib.suppress(OSError):
            for path in paths:
                data = path.read_bytes()
                if zlib.crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
                    path.unlink()  # as if it had never been: numba compiles, and writes it again
        return super().load(key)

    @contextlib.contextmanager
    def _open_for_write(self, filepath: Any) -> Any:
        with super()._open_for_write(filepath) as file:
            yield (checked := _Summed(file))
            file.write(checked.sum.to_bytes(4, "little"))


class _Summed:
    """A file to write to that keeps the CRC-32 of what was written."""

    def __init__(self, file: Any) -> None:
        self.file, self.sum = file, 0

    def write(self, data: Any) -> int:
        self.sum = zlib.crc32(data, self.sum)
        written: int = self.file.write(data)
        return written
