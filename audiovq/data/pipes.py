"""Sound from a pipe, which can't seek: kept in memory, once it is seen to be sound at all."""

from __future__ import annotations

import io
from typing import BinaryIO

import soundfile

from audiovq.data.quiet import quiet_mp3

_FIRST = 1 << 16  # bytes, of which libsndfile tells the format
_UNRECOGNISED = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
_TAGS = b"ID3"  # of MP3: may be longer than that


def spooled(pipe: BinaryIO) -> io.BytesIO:
    """All that comes out of `pipe`. What is no sound may never end, and is left after its beginning.

    Raises soundfile.LibsndfileError, as opening the whole would.
    """
    kept = io.BytesIO()
    while kept.tell() < _FIRST and (part := pipe.read(_FIRST - kept.tell())):
        kept.write(part)
    whole = kept.tell() < _FIRST
    if not whole and not kept.getvalue().startswith(_TAGS):
        try:
            with quiet_mp3(head := io.BytesIO(kept.getvalue())):
                soundfile.SoundFile(head).close()
        except soundfile.LibsndfileError as error:
            if error.code == _UNRECOGNISED:
                raise
    while not whole and (part := pipe.read(_FIRST)):
        kept.write(part)
    kept.seek(0)
    return kept
