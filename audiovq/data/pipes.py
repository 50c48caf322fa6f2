"""Sound from a pipe, which can't seek: kept in memory or on disk, once it is seen to be sound at all."""

from __future__ import annotations

import io
import tempfile
from typing import BinaryIO

import soundfile

from audiovq.data.quiet import quiet_mp3

_FIRST = 1 << 16  # bytes, of which libsndfile tells the format
_IN_MEMORY = 1 << 24  # bytes; more are kept in a file without a name
_UNRECOGNISED = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
_TAGS = b"ID3"  # of MP3: may be longer than that


def spooled(pipe: BinaryIO) -> BinaryIO:
    """A file with all that comes out of `pipe`. What is no sound may never end, and is left after its beginning.

    Raises soundfile.LibsndfileError, as opening the whole would.
    """
    first = b""
    while len(first) < _FIRST and (part := pipe.read(_FIRST - len(first))):
        first += part
    whole = len(first) < _FIRST
    if not whole and not first.startswith(_TAGS):
        try:
            with quiet_mp3(head := io.BytesIO(first)):
                soundfile.SoundFile(head).close()
        except soundfile.LibsndfileError as error:
            if error.code == _UNRECOGNISED:
                raise
    kept: BinaryIO = io.BytesIO(first)
    kept.seek(0, io.SEEK_END)
    while not whole and (part := pipe.read(_FIRST)):
        if kept.tell() > _IN_MEMORY and isinstance(kept, io.BytesIO):
            memory, kept = kept, tempfile.TemporaryFile()  # noqa: SIM115 (whoever reads it closes it)
            kept.write(memory.getbuffer())
        kept.write(part)
    kept.seek(0)
    return kept
