"""The value of one entry of a Kaldi archive, told by its full magic.

kaldiio's own reader looks at the magic too, and unpickles what begins with `PKL`. It is not called: only its functions
for one format each are, of which none unpickles, and numpy's and our own reader for the rest.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiovq.data.audio import read_audio
from audiovq.errors import BadAudioError, BadDataError

_MAGIC = {0: 3, ord("N"): 3, ord("P"): 3, ord("R"): 4, ord("f"): 4, ord("A"): 5}  # bytes of it, by the first
_PIECE = 1 << 20  # bytes read at once, as no size in a file is believed before as much is there
_TEXT = b" \n[+-.0123456789"  # how a matrix in text, or a vector, may begin


def read_value(
    file: io.BufferedReader, name: str, *, allow_short: bool = False
) -> NDArray[Any] | tuple[NDArray[np.float32], int]:
    """The value that an open archive stands at: a matrix `[T, D]`, a vector, or sound (float32 `[C, T]`, rate in Hz).

    Raises BadDataError if it can't be read, or is of another format: above all one that would have to be unpickled.
    """
    source = _Entry(file)
    magic = source.peek(1)
    magic = source.peek(_MAGIC.get(magic[0], 1)) if magic else b""  # no more: a text entry may end after one letter
    try:
        if magic[:2] == b"\0B":
            matio = kaldi_matio()
            read = matio.read_int32vector if magic[2:3] == b"\4" else matio.read_matrix_or_vector
            return np.asarray(read(source))
        if magic[:3] == b"NPY":
            source.read(3)
            return np.lib.format.read_array(io.BytesIO(source.read(_length(source))), allow_pickle=False)
        if magic == b"AUDIO":
            source.read(5)
            return _sound(source.read(_length(source)), name, allow_short)
        if magic[:4] == b"RIFF":
            head = source.read(8)
            return _sound(head + source.read(int.from_bytes(head[4:], "little")), name, allow_short)
        if magic[:4] == b"fLaC":  # says no size: the rest of the archive
            return _sound(source.read_all(), name, allow_short)
        if magic and magic[0] in _TEXT:
            return np.asarray(kaldi_matio().read_ascii_mat(source))
    except (BadDataError, BadAudioError):
        raise
    except Exception as error:  # kaldiio has no errors of its own: assertions, struct.error and more
        said = str(error) or type(error).__name__
        raise BadDataError(f"{name}: no entry of an archive that can be read ({said}); make it again") from None
    if magic.startswith(b"PKL"):
        raise BadDataError(f"{name}: holds a pickle, which could run any code; store it as a matrix")
    raise BadDataError(f"{name}: no entry of an archive that can be read ({magic!r}); make it again")


def kaldi_matio() -> Any:
    """kaldiio's functions, each for one format."""
    try:
        import kaldiio.matio
    except ImportError:
        raise BadDataError("archives need kaldiio; pip install 'audiovq[kaldi]'") from None
    return kaldiio.matio


def _length(source: _Entry) -> int:
    """Of what follows, as kaldiio writes it: the number of its bytes, then these."""
    return int.from_bytes(source.read(source.read(1)[0]), "little")


def _sound(data: bytes, name: str, allow_short: bool) -> tuple[NDArray[np.float32], int]:
    file = io.BytesIO(data)
    file.name = name
    return read_audio(file, allow_short=allow_short)


class _Entry:
    """A file that gives as many bytes as it is asked for, or says that it ends; some may be looked at before."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ahead = b""

    def peek(self, number: int) -> bytes:
        """The next bytes, fewer only at the end of the file, however few the file gives at once."""
        while len(self._ahead) < number and (piece := self._file.read(number - len(self._ahead))):
            self._ahead += piece
        return self._ahead

    def read(self, number: int) -> bytes:
        if number < 0:
            raise EOFError(f"a size of {number} bytes")
        data = bytearray(self._ahead[:number])
        self._ahead = self._ahead[number:]
        while len(data) < number and (piece := self._file.read(min(_PIECE, number - len(data)))):
            data += piece
        if len(data) < number and number > 1:  # single bytes are how the end of a text is found
            raise EOFError(f"the archive ends after {len(data)} of its {number} bytes")
        return bytes(data)

    def read_all(self) -> bytes:
        data, self._ahead = self._ahead + self._file.read(), b""
        return data
